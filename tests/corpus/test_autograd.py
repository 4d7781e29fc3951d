"""The corpus itself: its right derivations agree with autograd, its wrong ones are wrong where they say."""

import numpy as np
import pytest

from tests.corpus.autograd import autograd, complaints_about_faults, complaints_about_records
from tests.corpus.operations import BUILDERS

SEED = 34


@pytest.mark.parametrize("name", BUILDERS)
def test_an_operation_is_what_it_says(name):
    case = BUILDERS[name](np.random.default_rng(SEED))
    complaints = [*complaints_about_records(case, autograd(case)), *complaints_about_faults(case, {})]
    assert complaints == []
