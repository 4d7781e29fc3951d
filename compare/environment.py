"""What makes two runs differ: versions, BLAS, threads, determinism and TF32 settings."""

import platform
from functools import cache
from typing import Any

import numpy as np
import torch

__all__ = ["versions"]


def versions() -> dict[str, Any]:
    """The part of a report's environment that does not depend on what is checked."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "blas": _blas(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "tf32": torch.backends.cuda.matmul.allow_tf32,
    }


@cache
def _blas() -> str:
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}"
