"""Which files are the user's: neither of handgrad nor of a library."""

import functools
import sysconfig
from pathlib import Path

OURS = tuple(str(Path(__file__).resolve().parents[1] / name) for name in ("compare", "torchref", "handgrad"))
BY_HAND = str(Path(__file__).resolve().parents[1] / "manual")  # also where it is installed: to be edited
LIBRARIES = tuple(sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib"))


@functools.lru_cache(maxsize=256)
def is_theirs(filename: str) -> bool:
    """Whether a file is the user's: neither ours, nor of a library, nor made up by one."""
    if filename.startswith("<"):
        return filename.startswith(("<stdin", "<string", "<ipython"))
    path = str(Path(filename).resolve())
    return path.startswith(BY_HAND) or not path.startswith(OURS + LIBRARIES)
