"""Checks a backward pass derived by hand in NumPy against PyTorch."""

from typing import TYPE_CHECKING, Any

from compare.errors import InputError, ParityError
from compare.experiment import Experiment
from compare.report import Finding, Report, Row

if TYPE_CHECKING:
    from compare.examples import per_example
    from compare.gradients import check_gradients
    from compare.initialization import check_initializer
    from compare.training import check_training
    from compare.updates import check_updates

__all__ = [
    "Experiment",
    "Finding",
    "InputError",
    "ParityError",
    "Report",
    "Row",
    "check_gradients",
    "check_initializer",
    "check_training",
    "check_updates",
    "per_example",
]

_ON_USE = {
    "check_gradients": "compare.gradients",
    "check_initializer": "compare.initialization",
    "check_training": "compare.training",
    "check_updates": "compare.updates",
    "per_example": "compare.examples",
}


def __getattr__(name: str) -> Any:
    """The checks, imported on first use: they need NumPy and torch, and `handgrad --help` does not."""
    from importlib import import_module

    if name not in _ON_USE:
        raise AttributeError(f"module 'compare' has no attribute {name!r}")
    return getattr(import_module(_ON_USE[name]), name)
