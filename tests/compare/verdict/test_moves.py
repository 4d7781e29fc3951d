"""How a difference behaves where everything moves: place by place, and what three places say together."""

import numpy as np
import pytest

from handgrad.compare.thresholds import MOVE, MOVE_FLOAT32, MOVE_LESS
from handgrad.compare.verdict.closeness import Local
from handgrad.compare.verdict.moves import Moved, behaves, behaviour, moved, step_of
from handgrad.compare.verdict.rounding import Flagged
from tests.compare.verdict.witnesses import Told

RNG = np.random.default_rng(7)
G = RNG.standard_normal((5, 6))
OFF = 1e-6 * RNG.choice([-1.0, 1.0], G.shape)


@pytest.fixture(autouse=True)
def same_draws():
    """Each test draws the same, whichever ran before it."""
    RNG.bit_generator.state = np.random.default_rng(8).bit_generator.state


def flagged(off=OFF, g=G, **more):
    told = Told({"A": g + off}, {"A": g}, **more)
    return Flagged.of("A", told, told.beside("A"))


def at(off, g=G * (1 + 1e-6)):
    return Moved(flagged(), Local(g + off, g))


def places(*pairs):
    return {0: [({"A": records}, {"A": g}) for records, g in pairs]}


@pytest.mark.parametrize(
    ("off", "change"), [(OFF, 0.0), (1.1 * OFF, 0.1 / 1.1), (-OFF, 2.0), (0 * OFF, 1.0), (3 * OFF, 2 / 3)]
)
def test_the_change_is_a_share_of_the_larger_difference(off, change):
    assert at(off).change == pytest.approx(change, abs=1e-6)


def test_each_entry_counts_in_its_own_roundings():
    """A change of a large entry by as much as it rounds says nothing of a small one that is off by far more."""
    g = np.array([1e6, 1.0])
    suspect = flagged(np.array([0.0, 1e-9]), g)
    jump = Moved(suspect, Local(g * (1 + 1e-6) + [1e-9, 1e-9], g * (1 + 1e-6)))
    assert jump.change < 1e-3


def test_what_sticks_out_along_the_reference_alone_changes_along_it():
    suspect = flagged(10 * 2.0**-53 * G)
    assert suspect.largest < 48
    noise = 2.0**-53 * G * RNG.standard_normal(G.shape)
    assert Moved(suspect, Local(G * (1 + 10 * 2.0**-53) + noise, G)).change < 0.25


@pytest.mark.parametrize(("off", "change"), [(-1.0, 2.0), (1.0, 0.0)])
def test_entries_that_no_side_moves_tell_nothing_of_the_change(off, change):
    g = np.ones(100)
    there = np.where(np.arange(100) < 98, 1.0, 1 + 1e-6)
    d = 1e-6 * np.where(np.arange(100) < 98, 1.0, off)
    here = Moved(flagged(1e-6 * g, g), Local(there + d, there))
    assert here.change == pytest.approx(change, abs=1e-6)
    still = Moved(flagged(1e-6 * g, g), Local(g + 1e-6 * g, g))
    assert still.change == 0


def test_a_place_of_another_shape_or_without_a_number_is_not_usable():
    assert at(OFF).is_usable
    assert not Moved(flagged(), Local(G[:2], G[:2])).is_usable
    assert not Moved(flagged(), Local(G * np.nan, G)).is_usable


def test_what_is_gone_relative_to_the_reference_is_gone():
    assert at(0 * OFF).is_gone
    assert at(1e-7 * OFF).is_gone
    assert not at(1e-5 * OFF).is_gone
    smaller = 1e-3 * G
    assert not Moved(flagged(), Local(smaller + 1e-3 * OFF, smaller)).is_gone  # the whole tensor is smaller there


def test_what_stays_is_not_gone_where_the_reference_was_nothing():
    """As an entry of a gradient times a one-hot label, which moves from 0 to a millionth."""
    is_nothing = RNG.random(G.shape) < 0.5
    g, off = np.where(is_nothing, 1e-30, G), np.where(is_nothing, OFF, 0.0)
    there = Moved(flagged(off, g), Local(g + 1e-6 + off, g + 1e-6))
    assert not there.is_gone


def test_which_side_stands_still():
    still = Moved(flagged(), Local(G + OFF, G * (1 + 1e-6)))
    assert still.stands == (True, False)
    other = Moved(flagged(), Local((G + OFF) * (1 + 1e-6), G))
    assert other.stands == (False, True)
    both = Moved(flagged(), Local(G + OFF, G))
    assert both.stands == (False, False)


def test_three_places_together():
    rng, off = np.random.default_rng(8), OFF * abs(G)
    g = [G * (1 + 1e-6 * rng.standard_normal(G.shape)) for _ in range(3)]
    noise = [1e-6 * G * rng.standard_normal(G.shape) for _ in range(3)]
    wild = [rng.standard_normal(G.shape) for _ in range(3)]
    behaviours = {
        "systematic": places(*((each + off, each) for each in g)),
        "noise": places(*((each + n, each) for each, n in zip(g, noise, strict=True))),
        "gone": places(*((each, each) for each in g)),
        "stands": places(*((G + off, each) for each in g)),
        "unknown": {},
    }
    for name, elsewhere in behaviours.items():
        assert behaviour(flagged(off, elsewhere=elsewhere), MOVE) == name
    ratio = flagged(0.5 * G, elsewhere=places(*((1.5 * each, each) for each in wild)))
    assert behaviour(ratio, MOVE) == "ratio"
    two_of_three = places((g[0] + off, g[0]), (g[1] + off, g[1]), (g[2] + noise[2], g[2]))
    assert behaviour(flagged(off, elsewhere=two_of_three), MOVE) == "noise"


def test_a_factor_shows_where_the_entries_that_it_is_in_change_from_place_to_place():
    """At a tie another entry is the largest as soon as anything moves."""
    first, second = np.array([2.0, 0.0, 0.0]), np.array([0.0, 2.0, 0.0])
    elsewhere = places((2 * first, first), (2 * second, second), (2 * second, second))
    with np.errstate(over="ignore"):
        assert behaviour(flagged(first, first, elsewhere=elsewhere), MOVE) == "ratio"


def amplified(curve):
    """A tensor that swings over the usual move; over small ones, t = 1 and 2 of them, its record moves by curve(t)."""
    wild = places(*((RNG.standard_normal(G.shape), RNG.standard_normal(G.shape)) for _ in range(3)))[0]
    steps = [1e-9 * RNG.standard_normal(G.shape) for _ in range(3)]

    def near(t):
        return [({"A": G + t * step + OFF + 1e-3 * curve(t) * OFF}, {"A": G + t * step}) for step in steps]

    return flagged(elsewhere={MOVE: wild, MOVE_LESS: near(1), 2 * MOVE_LESS: near(2)})


def test_the_places_are_asked_for_once_and_smaller_moves_where_the_mathematics_amplifies():
    suspect = amplified(lambda t: t)
    assert behaves(suspect) == behaves(suspect) == "systematic"
    assert suspect.witness.asked.count(f"places {MOVE:g}") == 1
    assert len(moved(suspect, MOVE_LESS)) == 3


@pytest.mark.parametrize(
    ("curve", "told"),
    [
        (lambda t: 0 * t, "systematic"),
        (lambda t: 200 * t, "systematic"),  # a formula of its own
        (lambda t: 200 * t**1.5, "systematic"),
        (lambda t: 200.0, "noise"),  # a jump
        (lambda t: 200.0 * (t == 2), "noise"),
    ],
    ids=["it follows", "another slope", "a curve", "jumps", "jumps later"],
)
def test_where_the_mathematics_amplifies_a_formula_moves_twice_as_far_over_twice_the_way(curve, told):
    assert behaves(amplified(curve)) == told


def test_what_stands_still_where_the_mathematics_amplifies_is_no_formula():
    suspect = amplified(lambda t: t)
    elsewhere = suspect.witness.elsewhere
    still = {by: [({"A": G + OFF}, g) for _, g in pairs] for by, pairs in elsewhere.items() if by != MOVE}
    assert behaves(flagged(elsewhere={**elsewhere, **still})) == "noise"


def test_the_move_draws_the_roundings_of_the_precision_anew():
    assert step_of(flagged()) == MOVE
    assert step_of(flagged(dtype="float32")) == MOVE_FLOAT32
    assert step_of(flagged(dtype="float32")) == MOVE_FLOAT32
