"""Which files are the user's, neither of handgrad nor of a library, and how a person names one."""

import functools
import re
import sys
import sysconfig
from pathlib import Path

OURS = tuple(str(Path(__file__).resolve().parents[1] / name) for name in ("compare", "torchref", "handgrad"))
BY_HAND = str(Path(__file__).resolve().parents[1] / "manual")  # also where it is installed: to be edited
LIBRARIES = tuple(str(Path(sysconfig.get_paths()[key]).resolve()) for key in ("stdlib", "purelib", "platlib"))
MADE_UP = re.compile(r"<ipython-input-(\d+)-\w+>$|ipykernel_\d+[/\\]\d+\.py$")  # names of cells
CELL = "cell"  # what one is called whose number is not known


@functools.lru_cache(maxsize=256)
def is_theirs(filename: str) -> bool:
    """Whether a file is the user's: neither ours, nor of a library, nor made up by one."""
    if filename.startswith("<"):
        return filename.startswith(("<stdin", "<string", "<ipython"))
    path = str(Path(filename).resolve())
    return path.startswith(BY_HAND) or not path.startswith(OURS + LIBRARIES)


def named(filename: str) -> str:
    """A file as a person here names it: its path from the current folder, or its name where it lies elsewhere.

    Of the side by hand it is manual/network.py wherever that lies, as the labels of its lines have it. A cell of a
    notebook, for which IPython makes up a file, is cell 3.
    """
    if MADE_UP.search(filename):
        return cell(filename)
    path = Path(filename)
    root = Path(BY_HAND).parent if path.resolve().is_relative_to(BY_HAND) else Path.cwd()
    return path.resolve().relative_to(root).as_posix() if path.resolve().is_relative_to(root) else path.name


def cell(filename: str) -> str:
    """The cell that a made-up file stands for, by the number that IPython, where it runs, has given it."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    known = getattr(getattr(shell, "compile", None), "format_code_name", lambda _: None)(filename)  # "Cell", "In[3]"
    made_up = MADE_UP.search(filename)
    number = re.search(r"\d+", known[1]) if known else None
    told = number[0] if number else (made_up[1] if made_up else None)
    return CELL if told is None else f"{CELL} {told}"


def place(file: str, line: int) -> str:
    """A line as a person here names it: mine.py:41, or cell 3, line 41."""
    return f"{file}, line {line}" if re.fullmatch(rf"{CELL}( \d+)?", file) else f"{file}:{line}"
