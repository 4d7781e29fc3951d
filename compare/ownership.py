"""Which files are the user's, neither of handgrad nor of a library, and how a person names one."""

import functools
import sysconfig
from pathlib import Path

OURS = tuple(str(Path(__file__).resolve().parents[1] / name) for name in ("compare", "torchref", "handgrad"))
BY_HAND = str(Path(__file__).resolve().parents[1] / "manual")  # also where it is installed: to be edited
LIBRARIES = tuple(str(Path(sysconfig.get_paths()[key]).resolve()) for key in ("stdlib", "purelib", "platlib"))


@functools.lru_cache(maxsize=256)
def is_theirs(filename: str) -> bool:
    """Whether a file is the user's: neither ours, nor of a library, nor made up by one."""
    if filename.startswith("<"):
        return filename.startswith(("<stdin", "<string", "<ipython"))
    path = str(Path(filename).resolve())
    return path.startswith(BY_HAND) or not path.startswith(OURS + LIBRARIES)


def named(filename: str) -> str:
    """A file as a person here names it: its path from the current folder, or its name where it lies elsewhere.

    Of the side by hand it is manual/network.py wherever that lies, as the labels of its lines have it.
    """
    path = Path(filename)
    root = Path(BY_HAND).parent if path.resolve().is_relative_to(BY_HAND) else Path.cwd()
    return path.resolve().relative_to(root).as_posix() if path.resolve().is_relative_to(root) else path.name
