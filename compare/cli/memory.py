"""The memory of the process of a check, which takes and frees tensors of the same sizes again and again."""

import ctypes
import sys

MOST_MAPPED, TRIM_FROM = -4, -1  # M_MMAP_MAX and M_TRIM_THRESHOLD of glibc's malloc.h
KEPT = 2**31 - 1  # bytes


def keep_freed_memory() -> None:
    """Let glibc keep what is freed, which it would hand back to the system page by page; elsewhere nothing is done.

    Source: mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(MOST_MAPPED, 0)
        mallopt(TRIM_FROM, KEPT)
