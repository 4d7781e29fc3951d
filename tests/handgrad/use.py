"""The public API as users call it, for mypy: it must be right under --strict, and the last line wrong."""

from collections.abc import Mapping

import numpy as np
import torch

from handgrad import Experiment, Report, check_function, check_gradients, tap

Arrays = dict[str, np.ndarray]


def derivation(params: Mapping[str, np.ndarray], X: np.ndarray) -> Arrays:
    """By hand."""
    Z = params["w"] @ X
    return {"Z": Z, "J": (Z**2).sum() / 2, "dw": Z @ X.T}


def reference(params: Mapping[str, torch.Tensor], X: torch.Tensor) -> torch.Tensor:
    """In torch."""
    return (tap("Z", params["w"] @ X) ** 2).sum() / 2


rng = np.random.default_rng(0)
report: Report = check_gradients(derivation, reference, {"w": rng.standard_normal((2, 3))}, (np.ones((3, 4)),))
ok: bool = report.ok
names: list[str] = [finding.where.name for finding in report.findings]
codes: list[str] = [finding.cause.code for finding in report.findings]
check_function(torch.nn.functional.silu, lambda x: x * torch.sigmoid(x), (torch.ones(3),)).raise_if_failed()
trained: Report = Experiment(optimizer="adam", steps=2).run("synthetic")
wrong: int = report.findings
