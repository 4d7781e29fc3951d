"""What a statement's evidence holds: figures of any kind of number, and curves."""

import numpy as np
import torch

from handgrad.compare.notes.evidence import Figure, curves, evidence, figure
from handgrad.compare.results import Curve


def test_figures_are_plain_numbers():
    made = figure("a", np.float32(0.5), torch.tensor(2.0))
    assert made == Figure("a", 0.5, 2.0)
    assert (type(made.by_hand), type(made.torch)) == (float, float)
    assert figure("a", None) == Figure("a", None, None)


def test_curves_count_their_steps():
    assert curves({"a": [0.5, 0.25]}, first=1) == (Curve("a", (1.0, 2.0), (0.5, 0.25)),)


def test_evidence_lists_its_figures_in_order():
    one, two = figure("a", 1), figure("b", 2, 3)
    shown = evidence("text", one, two)
    assert (shown.text, shown.figures, shown.plots) == ("text", (one, two), ())
