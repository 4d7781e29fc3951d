"""One step of the notes' network as a witness: rounding has a closed form, and the run is repeated where all moves."""

import numpy as np
import pytest

from handgrad.compare.experiment.judging import NetworkJudge
from handgrad.compare.experiment.recording import recorded
from handgrad.compare.sandbox import quietly
from handgrad.compare.thresholds import MOVE, ROUNDINGS
from handgrad.compare.verdict.bounds import PRECISIONS
from tests.compare.experiment.test_judging import LOADED, experiment


@pytest.fixture(scope="module")
def witness():
    settings = experiment()
    step, judge = next(recorded(settings, LOADED)), NetworkJudge(settings, LOADED)
    with quietly():
        return judge.evaluated(step, "float64")


def test_its_spread_is_the_closed_form_of_the_operation(witness):
    for name in ("Z1", "dW1", "J", "W1_next"):
        allowed = witness.allowance(name).everywhere(PRECISIONS["float64"])
        deviation = witness.spread(name) * 2.0**-53
        np.testing.assert_allclose(ROUNDINGS * deviation, np.broadcast_to(allowed, deviation.shape), rtol=1e-12)
    assert not witness.allowance("X").everywhere(PRECISIONS["float64"]).any()


def test_elsewhere_the_whole_run_is_taken_again_and_torch_agrees_there(witness):
    for name in ("Z1", "dW1", "W1_next"):
        here, places = witness.beside(name), [*witness.places(name, MOVE)]
        assert len(places) == 3
        for place in places:
            assert (place.recorded != here.recorded).any()
            np.testing.assert_allclose(place.recorded, place.reference, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(place.recorded, here.recorded, rtol=1e-2, atol=1e-4)


def test_labels_stay_where_they_are(witness):
    for place in witness.places("Y", MOVE):
        np.testing.assert_array_equal(place.recorded, witness.records["Y"])


def test_what_is_asked_of_users_references_alone_is_no(witness):
    assert (witness.again("Z1"), witness.put_right("Z1")) == (None, (None, ()))
    assert (witness.contradicts("dW1", np.ones(1)), witness.overflows, witness.torch_is_finite) == (0, 0, 1)
    assert not witness.is_nothing("W1_next")
    assert witness.reach("W1_next") == np.abs(witness.local["W1_next"]).max()
