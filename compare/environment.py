"""What makes two runs differ: versions, BLAS, threads, determinism and TF32 settings."""

import platform
from typing import Any

import numpy as np
import torch

__all__ = ["versions"]


def versions() -> dict[str, Any]:
    """The part of a report's environment that does not depend on what is checked."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "blas": f"{blas['name']} {blas['version']}",
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "tf32": torch.backends.cuda.matmul.allow_tf32,
    }
