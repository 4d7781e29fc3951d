"""What makes two runs differ: versions, BLAS, processor, threads, precision, seed, determinism and TF32 settings."""

import os
import platform
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

from handgrad.compare.facts.remarks import Note, judged_alone

THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def environment(
    check: str, precisions: Sequence[str], seed: int | None = None, notes: Iterable[Note] = (), **more: Any
) -> dict[str, Any]:
    """A report's environment: the check in a sentence, what is particular to it, then what the machine contributes.

    `precisions` are those asked for, the printed one first; `notes` may say that one was judged alone. `seed` is None
    where the check draws nothing from one.
    """
    alone = judged_alone(tuple(notes))
    return {
        "check": check,
        **more,
        "dtype": precisions[0],
        "precisions": [alone] if alone else list(precisions),
        "seed": seed,
        **_versions(),
        "blas_threads": _blas_threads(),
        "threads": torch.get_num_threads(),
        "processor": _processor(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "tf32": _tf32(),
    }


@cache
def _versions() -> dict[str, str]:
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "blas": f"{blas['name']} {blas['version']}",
    }


@cache
def _processor() -> str:
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def _blas_threads() -> str:
    """The number of threads that a variable sets for NumPy's BLAS, or else the number of processors that it takes."""
    setting = next((f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if os.environ.get(name)), None)
    return setting or f"one per processor ({_processors()})"


@cache
def _processors() -> int | None:
    return os.cpu_count()


def _tf32() -> bool:
    """Whether matrix products on a GPU may round float32 to 10 bits; reading the older name may raise."""
    matmul = torch.backends.cuda.matmul
    if hasattr(matmul, "fp32_precision"):
        return bool(matmul.fp32_precision == "tf32")
    return bool(matmul.allow_tf32)
