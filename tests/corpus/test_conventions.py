"""A factor, a sign or an orientation in one line of an operation is a fault; of what is only returned, a convention."""

import numpy as np
import pytest

from handgrad import check_gradients
from handgrad.compare.facts.remarks import MeanLeftOut, Undone
from tests.corpus.conventions import planted
from tests.corpus.operations import BUILDERS


def are_conventions(report):
    return [note for note in report.notes if isinstance(note, (MeanLeftOut, Undone))]


@pytest.mark.parametrize("operation", BUILDERS)
def test_no_factor_that_something_is_computed_with_is_a_convention(operation):
    rng = np.random.default_rng(5)
    case, tried = BUILDERS[operation](rng), 0
    for plant in [plant for plant in planted(case, rng) if plant.is_fault][::2]:  # all 312 take a minute
        tried += 1
        report = check_gradients(plant.wrong, case.reference, case.params, case.batch, precisions=("float64",))
        assert not are_conventions(report), (plant.name, plant.form)
        assert report.first.where.name == plant.name, (plant.form, str(report))
    assert tried >= 6


@pytest.mark.parametrize("operation", BUILDERS)
def test_every_factor_that_is_undone_is_a_convention(operation):
    rng = np.random.default_rng(5)
    case, tried = BUILDERS[operation](rng), 0
    for plant in [plant for plant in planted(case, rng) if plant.is_convention][::3]:
        tried += 1
        report = check_gradients(plant.undone, case.reference, case.params, case.batch, precisions=("float64",))
        assert report.findings == (), (plant.name, plant.form, str(report))
        (note,) = are_conventions(report)
        assert plant.name in getattr(note, "tensors", (plant.name,))
    assert tried >= 3
