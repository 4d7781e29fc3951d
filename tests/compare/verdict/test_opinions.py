"""The second opinions: each is needed by the test that its row names, and none is asked where rounding explains."""

import re
import sys

import numpy as np
import pytest

from handgrad.compare.errors import InputError
from handgrad.compare.facts.failures import FewerDigits, OverflowsInside, SpecialPoint
from handgrad.compare.facts.remarks import NothingButRounding, Persists, TorchInexact
from handgrad.compare.thresholds import MOVE, MOVE_FAR, MOVE_LESS
from handgrad.compare.verdict.moves import behaviour
from handgrad.compare.verdict.opinions import OPINIONS, second_opinion, where_blind
from handgrad.compare.verdict.rounding import Flagged
from tests.compare.verdict.witnesses import Told

RNG = np.random.default_rng(11)
G = RNG.standard_normal((4, 5))
SIGNS = RNG.choice([-1.0, 1.0], (4, 5))


@pytest.fixture(autouse=True)
def same_draws():
    """Each test draws the same, whichever ran before it."""
    RNG.bit_generator.state = np.random.default_rng(12).bit_generator.state


def witness(off, **more):
    """dW is off by so much."""
    return Told({"dW": G + off}, {"dW": G}, **more)


def flagged(told, fine=None):
    return Flagged.of("dW", told, told.beside("dW"), fine)


def at_places(off, spread=1e-6, places=3):
    """Both sides where everything has moved: the reference by a share, the difference given by off(place)."""
    moved = [G * (1 + spread * RNG.uniform(-1, 1, G.shape)) for _ in range(places)]
    return {0: [({"dW": g + off(i, g)}, {"dW": g}) for i, g in enumerate(moved)]}


def noise(size):
    return at_places(lambda i, g: size * RNG.standard_normal(g.shape))


def verdict_of(told, fine=None):
    outcome = second_opinion(flagged(told, fine))
    return outcome.verdict, outcome.why


def test_every_question_says_when_it_answers_why_and_which_test_needs_it():
    for ask, precisions in OPINIONS:
        told = dict(re.findall(r"(Symptom|Reason|Figure|Test): (.+)", ask.__doc__))
        assert {*told} == {"Symptom", "Reason", "Figure", "Test"}, ask
        assert hasattr(sys.modules[__name__], told["Test"]), told["Test"]
        assert {*precisions} <= {"float64", "float32"}
    assert len({*OPINIONS}) == len(OPINIONS)


def test_a_reference_that_answers_twice_is_an_error_of_the_input():
    told = witness(1e-6 * SIGNS, once_more={"dW": G + 3e-7})
    with pytest.raises(InputError, match="dW"):
        verdict_of(told)
    assert verdict_of(witness(1e-6 * SIGNS, once_more={"dW": G + 3e-9}))[0] == "FAULT"
    assert verdict_of(witness(1e-14 * SIGNS, once_more={"dW": G + 5e-15}))[0] == "FAULT"  # another order of summation


def test_torch_is_named_where_it_is_inexact():
    off = 1e-9 * SIGNS
    assert verdict_of(witness(off, exact=({"dW": G + off}, ("softplus",)))) == ("OK", TorchInexact("dW", ("softplus",)))
    assert verdict_of(witness(off, exact=({"dW": G + off}, ())))[0] == "FAULT"  # nothing was put right
    assert verdict_of(witness(2 * off, exact=({"dW": G + off}, ("softplus",))))[0] == "FAULT"  # it is wrong besides


def test_digits_that_an_addition_swallowed_are_ok():
    tiny = 1e-13
    record = {"dW": np.zeros(3)}

    def swallowed(records):
        places = [(records, {"dW": np.full(3, tiny * (1 + 1e-6 * i))}) for i in range(3)]
        return Told(records, {"dW": np.full(3, tiny)}, reaches=1e3, elsewhere={0: places})

    assert verdict_of(swallowed(record))[0] == "OK"
    assert verdict_of(swallowed({"dW": np.full(3, 1e-3)}))[0] == "FAULT"  # more than 4 roundings of what it is of
    moving = Told({"dW": np.full(3, 2 * tiny)}, {"dW": np.full(3, tiny)}, reaches=1e3)
    assert verdict_of(moving)[0] == "FAULT"  # neither side stands still


def test_what_overflows_on_the_way_is_weak():
    told = witness(1e-3 * SIGNS, dtype="float32", overflowing=True)
    assert verdict_of(told) == ("WEAK", OverflowsInside())
    assert verdict_of(witness(1e-3 * SIGNS, dtype="float32"))[0] == "FAULT"
    assert verdict_of(witness(1e-3 * SIGNS, overflowing=True))[0] == "FAULT"  # asked in float32 alone


def test_a_difference_at_a_kink_alone_is_a_fault():
    special = witness(0.5 * (np.arange(5) == 2), elsewhere=at_places(lambda i, g: 0 * g))
    assert verdict_of(special) == ("FAULT", SpecialPoint())
    coarse = witness(0.5 * (np.arange(5) == 2), dtype="float32", elsewhere=at_places(lambda i, g: 0 * g))
    assert verdict_of(coarse)[0] == "FAULT"
    assert verdict_of(coarse, 0.0)[0] == "OK"  # float64 does not have it
    digits = witness(1e-10 * (np.arange(5) == 2), elsewhere=at_places(lambda i, g: 0 * g))
    assert verdict_of(digits)[0] == "WEAK"  # last digits of what it is computed from


def test_digits_that_an_addition_may_have_swallowed_must_stay_at_every_place():
    """Of one entry in 1e-14, quantised by the roundings of 1."""
    g, off = np.array([1.0, 2e-14]), np.array([0.0, 6e-18])
    near = [({"dW": g * (1 + 1e-6) + off}, {"dW": g * (1 + 1e-6)})] * 3

    def far(*changes):
        return [({"dW": 1.01 * g + change * off}, {"dW": 1.01 * g}) for change in changes]

    def told(*changes):
        return Told({"dW": g + off}, {"dW": g}, elsewhere={MOVE: near, MOVE_FAR: far(*changes)})

    assert verdict_of(told(1.0, 1.1, 0.9))[0] == "FAULT"
    assert verdict_of(told(1.0, 1.1, -1.5))[0] == "OK"
    assert verdict_of(told(1.0, 1.1, 0.5))[0] == "OK"


def test_a_constant_ratio_is_a_fault_under_chaos():
    told = witness(0.25 * G, elsewhere=at_places(lambda i, g: 0.25 * g, spread=0.9))
    assert verdict_of(told) == ("FAULT", Persists("ratio"))
    other = witness(0.25 * G, elsewhere=at_places(lambda i, g: (0.25 + 0.1 * i) * g, spread=0.9))
    assert verdict_of(other)[1] != Persists("ratio")


def test_fewer_digits_inside_are_weak_and_named():
    cast = G.astype(np.float32).astype(float)
    standing = at_places(lambda i, g: cast - g)
    assert verdict_of(witness(cast - G, elsewhere=standing, roundings=1.0)) == ("WEAK", FewerDigits("float32"))
    wrong = cast + 1e-3
    assert verdict_of(witness(wrong - G, elsewhere=at_places(lambda i, g: wrong - g), roundings=1.0))[0] == "FAULT"


@pytest.mark.parametrize(("off", "verdict"), [(0.0, "WEAK"), (1e-6, "FAULT")])
def test_a_format_rounds_equal_numbers_alike(off, verdict):
    """All of a row are off by the same, which is one rounding; a factor in numbers that are not equal is none."""
    g = np.repeat([[0.54202338218], [0.54202338217]], 195, axis=1)
    cast = (g * (1 + off)).astype(np.float32).astype(float)
    elsewhere = {0: [({"dW": cast}, {"dW": g * (1 + by)}) for by in (3e-8, -2e-8, 1e-8)]}
    told = Told({"dW": cast}, {"dW": g}, elsewhere=elsewhere)
    assert flagged(told).at(2.0**-24).along > 8
    assert verdict_of(told)[0] == verdict
    g = np.linspace(0.5, 0.9, 390)
    wrong = (g * (1 + 5e-8)).astype(np.float32).astype(float)
    elsewhere = {0: [({"dW": wrong}, {"dW": g * (1 + by)}) for by in (3e-8, -2e-8, 1e-8)]}
    assert flagged(Told({"dW": wrong}, {"dW": g})).at(2.0**-24).largest < 8
    assert verdict_of(Told({"dW": wrong}, {"dW": g}, elsewhere=elsewhere))[0] == "FAULT"


STILL = np.linspace(0.48937, 0.50211, 12)[:, None]


@pytest.mark.parametrize(
    ("record", "verdict"),
    [
        (STILL.astype("f4").astype(float), "WEAK"),
        (STILL * (1 + 1e-8), "FAULT"),  # of a cast's size, but with float64's digits
        ((STILL * 1.000001).astype("f4").astype(float), "FAULT"),  # what a cast does not explain
    ],
)
def test_what_nothing_moves_is_weak_where_its_digits_are_float32_s(record, verdict):
    assert verdict_of(Told({"dW": record}, {"dW": STILL}))[0] == verdict
    for few, expected in ((slice(2), verdict), (slice(12), "FAULT")):  # a difference that stays of so few, or of many
        moving = {0: [({"dW": record[few] * by}, {"dW": STILL[few] * by}) for by in (1 + 1e-6, 1 - 1e-6, 1 + 2e-6)]}
        assert verdict_of(Told({"dW": record[few]}, {"dW": STILL[few]}, elsewhere=moving))[0] == expected


def test_what_stays_where_everything_moves_is_a_fault():
    off = 1e-6 * SIGNS
    assert verdict_of(witness(off, elsewhere=at_places(lambda i, g: off))) == ("FAULT", Persists("moves"))
    assert verdict_of(witness(off, elsewhere=noise(1e-6))) == ("WEAK", None)
    quarter = at_places(lambda i, g: off * (1 + 0.2 * SIGNS))
    assert verdict_of(witness(off, elsewhere=quarter))[0] == "FAULT"


def test_the_last_digits_of_large_operands_are_asked_once_more_further_away():
    off = 1e-12 * SIGNS
    near = at_places(lambda i, g: off)[0]
    far = noise(1e-12)[0]
    told = witness(off, reaches=1e3, elsewhere={MOVE: near, MOVE_FAR: far})
    assert verdict_of(told)[0] == "OK"
    assert verdict_of(witness(off, reaches=1e3, elsewhere={MOVE: near, MOVE_FAR: near}))[0] == "FAULT"


def test_what_a_format_would_explain_is_a_fault_where_no_place_so_far_away_can_be_used():
    """Close to the end of a domain, as of arccosh at 1, the larger move leads out of it."""
    off = 1e-3 * abs(G) * SIGNS
    near = at_places(lambda i, g: off)[0]
    assert verdict_of(witness(off, elsewhere={MOVE: near}, roundings=1.0)) == ("FAULT", Persists("moves"))
    far = noise(1e-3)[0]
    sixteen_bits = witness(off, elsewhere={MOVE: near, 16 * 2.0**-11: far}, roundings=1.0)
    assert verdict_of(sixteen_bits) == ("WEAK", FewerDigits("float16 or TF32"))


def test_what_cannot_be_moved_is_judged_by_its_size():
    assert verdict_of(witness(1e-4 * SIGNS, elsewhere={})) == ("FAULT", Persists("unmoved"))
    assert verdict_of(witness(1e-9 * SIGNS, elsewhere={})) == ("WEAK", None)
    assert verdict_of(witness(1e-6 * SIGNS, dtype="float32", elsewhere={})) == ("WEAK", None)
    assert verdict_of(witness(1e-4 * SIGNS, dtype="float32", elsewhere={})) == ("FAULT", Persists("unmoved"))


def test_what_rounding_moves_as_much_is_untold():
    told = witness(0.5 * SIGNS, roundings=2.0**100, elsewhere=noise(0.5))
    assert flagged(told).is_blind
    assert where_blind(flagged(told)).verdict == "UNTOLD"
    assert where_blind(flagged(witness(1e-3 * SIGNS, roundings=2.0**100, elsewhere=noise(1e-3)))).verdict == "OK"
    ratio = witness(0.5 * G, roundings=2.0**100, elsewhere=at_places(lambda i, g: 0.5 * g, spread=0.9))
    assert where_blind(flagged(ratio)).verdict == "FAULT"
    large = witness(10 * SIGNS, roundings=2.0**95, elsewhere=noise(10))
    assert verdict_of(large)[0] == "UNTOLD"
    assert verdict_of(witness(10 * SIGNS, roundings=2.0**95, elsewhere=noise(10), nothing=("dW",)))[0] == "OK"


def test_the_own_loss_accuses():
    told = witness(1e-3 * SIGNS, elsewhere=noise(1e-3), own_loss=True)
    assert verdict_of(told) == ("FAULT", Persists("own-loss"))
    assert verdict_of(witness(1e-3 * SIGNS, elsewhere=noise(1e-3)))[0] == "WEAK"


def test_what_float32_explains_is_weak():
    """The own loss sees the roundings of a gradient that is cast to float32 as well as a mistake."""
    told = witness(2.0**-25 * abs(G) * SIGNS, elsewhere=noise(2.0**-25), own_loss=True)
    assert verdict_of(told) == ("WEAK", FewerDigits("float32"))
    assert "own loss" not in told.asked
    assert verdict_of(witness(2.0**-15 * SIGNS, elsewhere=noise(2.0**-15), own_loss=True))[0] == "FAULT"


def test_arithmetic_of_another_order_is_ok():
    assert verdict_of(witness(1e-13 * SIGNS, elsewhere=noise(1e-13)))[0] == "OK"
    assert verdict_of(witness(1e-9 * SIGNS, elsewhere=noise(1e-9)))[0] == "WEAK"
    coarse = {"dtype": "float32", "elsewhere": noise(1e-6)}
    assert verdict_of(witness(1e-6 * SIGNS, **coarse))[0] == "OK"
    assert verdict_of(witness(1e-2 * SIGNS, dtype="float32", elsewhere=noise(1e-2)))[0] == "WEAK"


def test_what_is_nothing_but_rounding_is_ok():
    told = witness(1e-3 * SIGNS, elsewhere=noise(1e-3), nothing=("dW",))
    assert verdict_of(told) == ("OK", NothingButRounding("dW"))
    assert "own loss" not in told.asked
    off = 1000 * 2.0**-53 * abs(G) * SIGNS
    near = witness(off, elsewhere=at_places(lambda i, g: off), nothing=("dW",), roundings=100.0)
    assert verdict_of(near) == ("OK", NothingButRounding("dW"))  # it stays, and is next to nothing
    far = witness(1e-3 * SIGNS, elsewhere=at_places(lambda i, g: 1e-3 * SIGNS), nothing=("dW",))
    assert verdict_of(far)[0] == "FAULT"


def test_float32_that_rounds_as_float64_does_is_ok():
    told = witness(3e-3 * SIGNS, dtype="float32", elsewhere=noise(3e-3))
    rho = flagged(told).rho
    assert verdict_of(told, rho)[0] == "OK"
    assert verdict_of(told, rho / 100)[0] == "WEAK"
    assert verdict_of(told, 0.0)[0] == "WEAK"


def test_float32_that_holds_no_digit_is_ok():
    told = witness(0.5 * SIGNS, dtype="float32", roundings=2.0**36, elsewhere=noise(0.5))
    assert verdict_of(told, 0.0)[0] == "OK"
    assert verdict_of(told)[0] == "UNTOLD", "float32 alone"


def test_a_wrong_formula_shows_where_the_mathematics_amplifies():
    """Over the usual move the reference swings, over smaller ones the difference stays and the record moves evenly."""
    off = 0.3 * abs(G) * SIGNS
    wild = [({"dW": g + 0.3 * RNG.standard_normal(G.shape)}, {"dW": g}) for g in (RNG.standard_normal(G.shape),) * 3]
    steps = [1e-6 * RNG.standard_normal(G.shape) for _ in range(3)]

    def smooth(t):
        return [({"dW": G + t * step + off}, {"dW": G + t * step}) for step in steps]

    def jumps(t):
        return [({"dW": G + 100 * step + off}, {"dW": G + t * step}) for step in steps]

    def near(move, **more):
        elsewhere = {MOVE: wild, MOVE_LESS: move(1), 2 * MOVE_LESS: move(2)}
        return witness(off, elsewhere=elsewhere, **more)

    assert verdict_of(near(smooth))[0] == "FAULT"
    assert verdict_of(near(jumps))[0] == "WEAK"
    assert behaviour(flagged(near(smooth, nothing=("dW",))), MOVE) == "noise"


def test_a_place_that_is_not_finite_or_of_another_shape_is_no_place():
    bad = [({"dW": G * np.nan}, {"dW": G}), ({"dW": G[:2]}, {"dW": G[:2]})]
    assert behaviour(flagged(witness(1e-3 * SIGNS, elsewhere={0: bad})), MOVE) == "unknown"


def test_a_derivation_in_float32_is_asked_the_questions_of_both():
    accused = {"dtype": "float32", "elsewhere": noise(1e-2), "own_loss": True}
    alone = witness(1e-2 * SIGNS, **accused)
    assert verdict_of(alone) == ("FAULT", Persists("own-loss"))
    assert verdict_of(alone, 0.0)[0] == "WEAK", "beside float64 that is asked there"


def test_a_format_is_not_named_where_a_difference_is_far_below_its_roundings():
    off = 1e-6 * abs(G) * SIGNS
    near, far = at_places(lambda i, g: off)[0], noise(1e-6)[0]
    told = witness(off, elsewhere={MOVE: near, 2.0**-4: far}, roundings=1.0)
    assert verdict_of(told) == ("FAULT", Persists("moves"))


@pytest.mark.parametrize(("stands", "expected"), [
    (True, ("WEAK", FewerDigits("float16 or TF32"))), (False, ("FAULT", Persists("stands")))
])  # fmt: skip
def test_what_is_kept_in_16_bits_stands_over_moves_that_those_do_not_see(stands, expected):
    record = G + 1e-4 * abs(G) * SIGNS
    still, far = at_places(lambda i, g: record - g)[0], noise(1e-4)[0]
    elsewhere = {MOVE: still, 2.0**-17: still if stands else far, 2.0**-4: far}
    assert verdict_of(witness(record - G, elsewhere=elsewhere, roundings=1.0)) == expected


@pytest.mark.parametrize(("size", "verdict"), [(2.0**-10, "OK"), (2.0**-5, "UNTOLD")])
def test_another_order_of_arithmetic_leaves_the_most_of_a_tensor(size, verdict):
    off = size * abs(G) * SIGNS
    assert verdict_of(witness(off, elsewhere=noise(size), roundings=2.0**64)) == (verdict, None)


def test_float32_explains_nothing_where_its_roundings_are_most_of_a_tensor():
    assert verdict_of(witness(1e-3 * SIGNS, elsewhere=noise(1e-3), roundings=2.0**40)) == ("WEAK", None)


@pytest.mark.parametrize(("share", "told"), [(0.6, True), (0.3, False)])
def test_a_ratio_to_within_rounding_is_told_where_without_it_more_is_left(share, told):
    g, ratio = (1e-2 * 2.0**53) ** 2, at_places(lambda i, g: share * (1 + 1e-3 * i) * g, spread=0.1)
    assert (behaviour(flagged(witness(0.6 * G, elsewhere=ratio, roundings=g)), MOVE) == "ratio") == told
