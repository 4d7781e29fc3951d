"""README.md and docs/: their blocks, run from top to bottom in a folder of their own, as a reader would.

    python   a file, if its first line is `# name.py`; else run, in one session for the whole document
    c        a file, as its first line, `// name.c`, says
    text     what the snippet before it prints
    console  `$ command` and what that prints, any number of times; `| head -N` shows the first N lines; with
             `TRITON_INTERPRET=1` before it, it is run where there is Triton
    sh       commands; those of handgrad and cc are run and exit 0, or 1 where `# exit 1` stands behind
    diff     lines to take out and put in: of the file that it names, or of the one shown last; of manual/, in a copy
             of the package that the next block alone is run with

`python -m tests.documents --update` writes what commands and snippets print now into the documents.
"""

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from unittest.mock import patch

from handgrad.compare.cli.commands import main
from tests.repository import ROOT
from tests.rules.sources import FOLDERS

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SLOW = {"handgrad audit --data synthetic --steps 3"}  # half a minute; its own tests run it
INTERPRETED = "TRITON_INTERPRET=1 "  # before a command; Triton reads it when it is first imported
ROWS = "\n".join(f"{i % 7},{i % 3},{i % 2}" for i in range(40))
FILES = {"measurements.csv": f"a,b,y\n{ROWS}\n"}  # that a document speaks of and a reader has


class Block(NamedTuple):
    """A fenced block: its language, its text, and where that begins in the document."""

    language: str
    text: str
    start: int = 0


def blocks_of(text: str) -> list[Block]:
    """The fenced blocks of a document's text, in their order."""
    fences = re.finditer(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [Block(fence[1], fence[2], fence.start(2)) for fence in fences]


def blocks(document: str, language: str) -> list[str]:
    """The texts of a document's blocks of a language."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [block.text for block in blocks_of(text) if block.language == language]


def masked(text: str) -> str:
    """The text without what machines differ in: numbers, widths, which entry is worst, which tensor nearest."""
    counted = r"\d+ (?:of|entr|step|tensor|compared|later|check)"
    number = rf"(?<![\d.])(?!{counted})[-+]?\d+(\.\d+)?(e[-+]\d+)?"
    text = re.sub(r"(explains(?:: | \())\w+", r"\1TENSOR", re.sub(number, "#", text))
    text = re.sub(r"at (?:#|\(#(?:, #)*\)): by hand", "at ENTRY: by hand", text)
    return re.sub(r"\[ ", "[", re.sub(r"[-\s]+", " ", text)).strip()


def change_of(diff: str) -> tuple[str, str, str]:
    """The file that a diff names, or "", the lines before it, and those after it."""
    lines = diff.splitlines(keepends=True)
    (name,) = [line[4:].strip() for line in lines if line.startswith("--- ")] or [""]
    lines = [line for line in lines if not line.startswith(("---", "+++"))]
    before, after = ("".join(line[1:] for line in lines if line[0] in signs) for signs in ("- ", "+ "))
    return name, before, after


class Reader:
    """Somebody who follows a document: the folder, the Python session and what that printed last, an edited package."""

    def __init__(self, folder: Path, text: str) -> None:
        """The folder begins with what the document takes for granted."""
        self.folder, self.session, self.printed, self.file = folder, dict[str, object](), "", folder
        self.package: Path | None = None
        for name, content in FILES.items():
            (folder / name).write_text(content, encoding="utf-8")
        commands = {line.partition("  ")[0] for block in blocks_of(text) for line in block.text.splitlines()}
        if "handgrad init my_derivation.py" not in commands:
            self._ran("handgrad init my_derivation.py")

    def follow(self, block: Block) -> str:
        """The text of a block as it would be now."""
        printed, self.printed = self.printed, ""
        assert block.language == "text" or not printed, f"what is printed before {block.text!r} is not shown: {printed}"
        match block.language:
            case "text":
                assert printed, f"nothing is printed before {block.text!r}"
                return printed
            case "console":
                return self._console(block.text)
            case "python":
                self._python(block.text)
            case "c":
                self._file(block.text)
            case "sh":
                self._sh(block.text)
            case "diff":
                self._diff(block.text)
            case language:
                assert language in ("yaml", "json", "toml"), f"a block in {language or 'no language'}: {block.text}"
        return block.text

    def _file(self, text: str) -> bool:
        """Whether a text names its file, which it is written to."""
        named = re.match(r"(?:#|//) (\S+\.(?:py|c))\n", text)
        if named:
            self.file = self.folder / named[1]
            self.file.write_text(text, encoding="utf-8")
        return named is not None

    def _python(self, text: str) -> None:
        if self._file(text):
            return
        output = io.StringIO()
        with redirect_stdout(output):
            exec(text, self.session)
        self.printed = output.getvalue()

    def _console(self, text: str) -> str:
        commands = [line for line in text.splitlines() if line.startswith("$ ")]
        if commands[0].startswith(f"$ {INTERPRETED}") and find_spec("triton") is None:
            return text
        outputs = [f"{command}\n{self._ran(command[2:])[1]}" for command in commands]
        self.package = None
        return "\n".join(outputs)

    def _sh(self, text: str) -> None:
        for command in text.splitlines():
            if command.startswith(("handgrad ", "cc ")) and command not in SLOW:
                code, output = self._ran(command)
                assert code == ("# exit 1" in command), f"{command} exits {code}: {output}"

    def _diff(self, text: str) -> None:
        name, before, after = change_of(text)
        file = self.folder / name if name else self.file
        if name.startswith("manual/"):
            self.package = _copy_of_the_package(self.folder / "edited")
            file = self.package / name
        content = file.read_text(encoding="utf-8")
        assert content.count(before) == 1, f"{file.name} holds {content.count(before)} times {before}"
        file.write_text(content.replace(before, after), encoding="utf-8")

    def _ran(self, command: str) -> tuple[int, str]:
        """The exit status of a command and what it prints."""
        command, _, lines = command.partition(" | head -")
        name, *words = shlex.split(command.removeprefix(INTERPRETED), comments=True)
        match name:
            case "cc":
                done = subprocess.run([name, *words], capture_output=True, text=True)
                code, output = done.returncode, done.stderr
            case "handgrad" if self.package is not None:
                code, output = _python_of(self.package.parent, "-m", "handgrad", *words)
            case "handgrad":
                code, output = _handgrad(words)
            case "pytest":
                code, output = _pytest(words)
            case "diff":
                done = subprocess.run([name, *words], capture_output=True, text=True, cwd=ROOT)
                code, output = done.returncode, done.stdout
            case _:
                raise AssertionError(f"{command} is not run")
        shown = output.replace("+cpu", "").splitlines()[: int(lines) if lines else None]
        return code, "\n".join(line.rstrip() for line in shown).rstrip() + "\n"


def _handgrad(words: list[str]) -> tuple[int, str]:
    output = io.StringIO()
    with redirect_stdout(output), redirect_stderr(output):
        try:
            code = main(words)
        except SystemExit as stop:
            code = int(stop.code or 0)
    return code, output.getvalue()


def _pytest(words: list[str]) -> tuple[int, str]:
    """The first lines of a session name the machine, and the last one its time."""
    options = ("-p", "handgrad.pytest_plugin", "-p", "no:cacheprovider")
    code, output = _python_of(ROOT, "-m", "pytest", *options, *words)
    begin = re.search(r"^=+ (FAILURES|parity) =+$", output, flags=re.MULTILINE)
    assert begin, output
    return code, re.split(r"^=+ (?:short|\d)", output[begin.start() :], flags=re.MULTILINE)[0]


def _python_of(folder: Path, *arguments: str) -> tuple[int, str]:
    """Python in a process of its own, that finds handgrad in a folder."""
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment)
    return done.returncode, done.stdout + done.stderr


def _copy_of_the_package(folder: Path) -> Path:
    """The package as it is installed, to be edited."""
    for part in FOLDERS:
        target = folder / "handgrad" / ("" if part == "handgrad" else part)
        shutil.copytree(ROOT / part, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    return folder / "handgrad"


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """As in a shell and a Python session that were started in a folder; modules from there are forgotten afterwards."""
    shell = {"COLUMNS": "80", "NO_COLOR": "1", "TRITON_INTERPRET": "1"}
    with chdir(folder), patch.dict(os.environ, shell), patch.object(sys, "path", [str(folder), *sys.path]):
        yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(folder)):
            del sys.modules[name]


def followed(text: str, folder: Path) -> list[tuple[Block, str]]:
    """The blocks of a document, each with its text as it would be now."""
    with _inside(folder):
        reader = Reader(folder, text)
        return [(block, reader.follow(block)) for block in blocks_of(text)]


def updated(text: str, folder: Path) -> str:
    """A document with what its commands and snippets print now."""
    for block, now in reversed(followed(text, folder)):
        text = f"{text[: block.start]}{now}{text[block.start + len(block.text) :]}"
    return text


def update() -> None:
    """Write what commands and snippets print now into all documents."""
    for path in DOCUMENTS:
        before = path.read_text(encoding="utf-8")
        with TemporaryDirectory() as folder:
            after = updated(before, Path(folder))
        path.write_text(after, encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)}: {'as it was' if after == before else 'updated'}\n")


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit("usage: python -m tests.documents --update")
    update()
