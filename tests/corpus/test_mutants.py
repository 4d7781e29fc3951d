"""Every labelled line of the hand-written side, broken in every small way, is found and named by its own label."""

import numpy as np
import pytest

from handgrad.compare.experiment.run import Experiment, run
from handgrad.compare.facts.failures import Raised, WrongShape
from handgrad.compare.faults.planting import planted
from tests.corpus.mutants import EQUIVALENT, MODULES, labelled_lines, mutants
from tests.support import small_data

COMMON = {"activations": ("tanh", "tanh", "sigmoid"), "l2": 0.3, "bias_scale": 0.5, "seed": 5}
STEPS = {"batch_size": 4, "steps": 3}  # of 11 examples: the last batch is a short one
DISTINCT, SQUARE = (3, 7, 5, 2), (4, 4, 4, 4)
REACHED_BY = {
    "L3": {"loss": "squared-error"},
    "L5": {"loss": "cross-entropy", "activations": ("tanh", "tanh", "softmax")},
    "U1": {"optimizer": "gradient-descent"},
    **{label: {"optimizer": "adam"} for label in ("O5", "O6", "O7")},
}
LINES = [(module, *line) for module in MODULES for line in labelled_lines(module)]


def data_for(label, layers):
    """Small data; one label of an example is 1 where they must add up to that."""
    X, y = small_data(layers[0], layers[-1], 11, seed=4)
    return X, np.eye(layers[-1])[y.argmax(axis=1)] if label == "L5" else y


@pytest.mark.usefixtures("no_causes")
@pytest.mark.parametrize(("module", "label", "line"), LINES, ids=lambda value: value if isinstance(value, str) else "")
def test_every_mutant_of_a_labelled_line_is_found_under_its_label(module, label, line):
    """In a network of distinct sizes; what raises there, or has another shape, in a square one too."""
    reached = REACHED_BY.get(label, {})
    runs = [
        (Experiment(layers=layers, **{**COMMON, **STEPS, **reached}), data_for(label, layers))
        for layers in (DISTINCT, SQUARE)
    ]
    assert all(run(experiment, data).ok for experiment, data in runs)
    survivors, misnamed, tried = [], {}, 0
    for text, edit in mutants(module, line):
        tried += 1
        for experiment, data in runs:
            report = run(experiment, data, hand=planted(module.__name__, [edit]))
            if report.ok:
                survivors.append(text)
            elif report.first.equation != label:
                misnamed[text] = report.first
            if report.ok or not isinstance(report.first.cause, (Raised, WrongShape)):
                break
    assert tried >= 5
    assert not misnamed
    assert [text for text in survivors if text not in EQUIVALENT] == []
