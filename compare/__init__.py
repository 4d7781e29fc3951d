"""Checks a backward pass derived by hand in NumPy against PyTorch."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compare.errors import InputError, ParityError
    from compare.examples import per_example
    from compare.experiment import Experiment
    from compare.gradients import check_gradients
    from compare.initialization import check_initializer
    from compare.report import Finding, Report, Row
    from compare.report.json import load_report, load_reports
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
    "load_report",
    "load_reports",
    "per_example",
]

__version__ = "0.1.0"

_MODULES = {
    "Experiment": "experiment",
    "Finding": "report",
    "InputError": "errors",
    "ParityError": "errors",
    "Report": "report",
    "Row": "report",
    "check_gradients": "gradients",
    "check_initializer": "initialization",
    "check_training": "training",
    "check_updates": "updates",
    "load_report": "report.json",
    "load_reports": "report.json",
    "per_example": "examples",
}


def __getattr__(name: str) -> Any:
    """Everything is imported on first use: the checks need NumPy and torch, `handgrad --help` and pytest do not."""
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module 'compare' has no attribute {name!r}")
    return getattr(import_module(f"compare.{_MODULES[name]}"), name)
