"""What is handed in: files, folders and notebooks, each as one submission, and the code of it, read and never run."""

from __future__ import annotations

import ast
import linecache
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import CellType, CodeType, FunctionType
from typing import Any

import numpy as np

from handgrad.compare.errors import InputError
from handgrad.compare.grading.facts import NotOne

LARGEST, MOST = 20 * 2**20, 1000  # bytes of all files of a submission, and files
KINDS = (".py", ".ipynb")
HIDDEN = re.compile(r"[._]")  # begins what is no part of a submission
LIBRARIES = ("numpy", "torch", "autograd", "jax")  # whose names in code say something of it
READ = 2**20  # characters of code: longer code is run and not read
SPECIAL = ("__init__", "__call__")  # methods that are read beside those without underscores
NEEDED = "a notebook needs nbformat; run: pip install 'handgrad[grading]'"


@dataclass(frozen=True)
class Submission:
    """One submission: whose it is, its files by their paths in it, and which of these is run.

    `path` is where that one lies; a notebook's code is in `files` as Python, under the notebook's name. `wrong` says
    why there is nothing to run.
    """

    name: str
    path: str
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    main: str = ""
    wrong: NotOne | None = None

    @property
    def text(self) -> str:
        """The code that is run."""
        return self.files.get(self.main, b"").decode("utf-8", "replace")


def submissions(paths: Sequence[str], due: str) -> list[Submission]:
    """The submissions that files and folders are, in their order; InputError where there is none.

    A folder is one where exactly one file of it, beside no other folder, defines what is `due`; else each file and
    each folder in it is one.
    """
    found = [one for path in paths for one in _of(Path(path), due)]
    if not found:
        raise InputError(f"{', '.join(paths)} holds no .py or .ipynb file; name files, or a folder of them")
    names = [one.name for one in found]
    return [one if names.count(one.name) == 1 else _renamed(one) for one in found]


def _renamed(one: Submission) -> Submission:
    return Submission(one.path, one.path, one.files, one.main, one.wrong)


def _of(path: Path, due: str) -> Iterator[Submission]:
    if not path.exists():
        raise InputError(f"{path} does not exist; name files that were handed in, or a folder of them")
    if not path.is_dir():
        yield _of_file(path)
        return
    entries = [entry for entry in sorted(path.iterdir()) if not HIDDEN.match(entry.name) and not entry.is_symlink()]
    entries = [entry for entry in entries if entry.is_dir() or entry.suffix in KINDS]
    if len([entry for entry in entries if entry.is_dir() or _defines(entry, due)]) == 1 and not any(
        entry.is_dir() for entry in entries
    ):
        yield _of_folder(path, due)
        return
    for entry in entries:
        yield _of_folder(entry, due) if entry.is_dir() else _of_file(entry)


def _of_file(path: Path) -> Submission:
    if path.suffix not in KINDS:
        raise InputError(f"{path} is neither a .py nor an .ipynb file; name files that were handed in")
    content = _read([path], path.parent)
    if isinstance(content, str):
        return Submission(path.stem, str(path), wrong=NotOne(path.name, content))
    return Submission(path.stem, str(path), content, next(iter(content)))


def _of_folder(path: Path, due: str) -> Submission:
    """A folder as one submission: what is run is the one file that defines what is due."""
    files = [f for f in sorted(path.rglob("*")) if f.is_file() and not f.is_symlink()]
    files = [f for f in files if not any(HIDDEN.match(part) for part in f.relative_to(path).parts)]
    content = _read(files, path)
    if isinstance(content, str):
        return Submission(path.name, str(path), wrong=NotOne(path.name, content))
    mains = [f for f in files if f.suffix in KINDS and _defines(f, due)]
    if len(mains) != 1:
        which = f"{len(mains)} files of it define {due}" if mains else f"no file of it defines {due}"
        return Submission(path.name, str(path), wrong=NotOne(path.name, f"{which}; hand in one that does"))
    return Submission(path.name, str(mains[0]), content, _inside(mains[0], path))


def _inside(file: Path, folder: Path) -> str:
    """The path of a file in its submission, where code is Python's."""
    relative = file.relative_to(folder)
    return (relative.with_name(f"{relative.name}.py") if file.suffix == ".ipynb" else relative).as_posix()


def _defines(path: Path, due: str) -> bool:
    """Whether a file defines a name, as its text has it."""
    if path.suffix not in KINDS or path.stat().st_size > LARGEST:
        return False
    text = path.read_bytes().decode("utf-8", "replace")
    start = r'^\s*"?' if path.suffix == ".ipynb" else r"^"
    return re.search(rf"{start}(?:def|class)\s+{due}\b|{start}{due}\s*[:=]|import\s.*\b{due}\b", text, re.M) is not None


def _read(files: Sequence[Path], folder: Path) -> dict[str, bytes] | str:
    """The content of files by their paths in the folder, or why they cannot be used."""
    try:
        if len(files) > MOST or sum(file.stat().st_size for file in files) > LARGEST:
            return f"it holds more than {MOST} files or {LARGEST >> 20} MiB"
        return {_inside(f, folder): _code_of(f) if f.suffix == ".ipynb" else f.read_bytes() for f in files}
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    except ValueError as error:
        return f"it is no notebook ({error})"


def _code_of(notebook: Path) -> bytes:
    """The code cells of a notebook in their order, without the lines that are commands of the notebook's."""
    try:
        import nbformat
    except ImportError:
        raise InputError(NEEDED) from None
    try:
        cells = nbformat.reads(notebook.read_text(encoding="utf-8"), as_version=4).cells
    except Exception as error:  # nbformat has an exception for each kind of damage
        raise ValueError(type(error).__name__) from None
    texts = ["" if cell.source.startswith("%%") else cell.source for cell in cells if cell.cell_type == "code"]
    return "\n\n".join(re.sub(r"^(\s*)[%!].*$", r"\1pass", text, flags=re.M) for text in texts).encode()


# --- its code


@dataclass(frozen=True, eq=False)
class Likeness:
    """The code of a submission as functions and classes that nobody calls: what reads code, reads these.

    Nothing of the submission is run for it.
    """

    text: str
    file: str

    @cached_property
    def defined(self) -> dict[str, Any]:
        """What the file defines at its top: functions, classes, what it imports of LIBRARIES; else an array."""
        if len(self.text) > READ:
            return {}
        try:
            with warnings.catch_warnings(action="ignore"):  # of escapes that are none, and the like
                whole, tree = compile(self.text, self.file, "exec"), ast.parse(self.text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return {}
        linecache.cache[self.file] = (len(self.text), None, self.text.splitlines(keepends=True), self.file)
        names: dict[str, Any] = {}
        codes = {code.co_firstlineno: code for code in _codes(whole)}
        for node in tree.body:
            match node:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    code = codes.get(min([node.lineno, *(d.lineno for d in node.decorator_list)]))
                    names[name] = None if code is None else _made(code, names, is_class=isinstance(node, ast.ClassDef))
                case ast.Import(names=imported) | ast.ImportFrom(names=imported):
                    module = getattr(node, "module", None)
                    names |= {(a.asname or a.name.partition(".")[0]): _imported(module, a) for a in imported}
                case _:
                    stored = (n for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
                    names |= dict.fromkeys((n.id for n in stored), np.zeros(0))
        return names

    def of(self, name: str) -> Callable[[], Any]:
        """What is behind a name, as pieces that code can be read of; all of the file where it is no plain function."""
        own = self.defined.get(name)
        parts = (
            (own,)
            if isinstance(own, FunctionType)
            else tuple(value for value in self.defined.values() if isinstance(value, (FunctionType, type)))
        )
        numbers = np.zeros(0)  # what it may keep: whether it follows its arguments is always asked

        def behind() -> Any:
            return parts, numbers

        return behind


def _codes(code: CodeType) -> Iterator[CodeType]:
    return (constant for constant in code.co_consts if isinstance(constant, CodeType))


def _made(code: CodeType, names: dict[str, Any], *, is_class: bool) -> FunctionType | type:
    """A function of code, or a class of the functions in its body; they see the names of the file."""
    if not is_class:
        return FunctionType(code, names, closure=tuple(CellType() for _ in code.co_freevars))
    inner = {each.co_name: each for each in _codes(code) if each.co_name in SPECIAL or not HIDDEN.match(each.co_name)}
    return type(code.co_name, (), {name: _made(each, names, is_class=False) for name, each in inner.items()})


def _imported(module: str | None, alias: ast.alias) -> Any:
    """What an import of LIBRARIES brings, if it is loaded here anyway; else something of that module."""
    whole = module or alias.name
    if whole.partition(".")[0] not in LIBRARIES:
        return None
    name = whole if module or alias.asname else whole.partition(".")[0]
    loaded = sys.modules.get(name)
    if loaded is not None:
        return getattr(loaded, alias.name, None) if module else loaded
    return type("Imported", (), {"__module__": whole})()
