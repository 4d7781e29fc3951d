"""Checks a backward pass derived by hand in NumPy against PyTorch."""

from compare.errors import InputError, ParityError
from compare.experiment import Experiment
from compare.report import Finding, Report, Row

__all__ = ["Experiment", "Finding", "InputError", "ParityError", "Report", "Row"]
