"""Checks a backward pass derived by hand in NumPy against PyTorch."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from handgrad.compare.checks.function import check_function as check_function
    from handgrad.compare.checks.gradients import check_gradients as check_gradients
    from handgrad.compare.checks.initializer import check_initializer as check_initializer
    from handgrad.compare.checks.training import check_training as check_training
    from handgrad.compare.checks.updates import check_updates as check_updates
    from handgrad.compare.errors import InputError as InputError
    from handgrad.compare.errors import ParityError as ParityError
    from handgrad.compare.experiment.run import Experiment as Experiment
    from handgrad.compare.per_example import per_example as per_example
    from handgrad.compare.report.report import Report as Report
    from handgrad.compare.report.stored import load_report as load_report
    from handgrad.compare.report.stored import load_reports as load_reports
    from handgrad.compare.results import Finding as Finding
    from handgrad.compare.results import Row as Row
    from handgrad.torchref.modules import from_module as from_module
    from handgrad.torchref.network import mlp as mlp
    from handgrad.torchref.tap import tap as tap

__version__ = "0.2.0"

_MODULES = {
    "Experiment": "compare.experiment.run",
    "Finding": "compare.results",
    "InputError": "compare.errors",
    "ParityError": "compare.errors",
    "Report": "compare.report.report",
    "Row": "compare.results",
    "check_function": "compare.checks.function",
    "check_gradients": "compare.checks.gradients",
    "check_initializer": "compare.checks.initializer",
    "check_training": "compare.checks.training",
    "check_updates": "compare.checks.updates",
    "from_module": "torchref.modules",
    "load_report": "compare.report.stored",
    "load_reports": "compare.report.stored",
    "mlp": "torchref.network",
    "per_example": "compare.per_example",
    "tap": "torchref.tap",
}
__all__ = [*_MODULES]


def __getattr__(name: str) -> Any:
    """Everything is imported on first use: the checks need NumPy and torch, `handgrad --help` and pytest do not."""
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module 'handgrad' has no attribute {name!r}")
    return getattr(import_module(f"handgrad.{_MODULES[name]}"), name)
