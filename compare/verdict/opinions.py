"""The second opinions on a tensor that rounding does not explain: an ordered table of questions.

The first that answers decides; where none does, the difference is drawn anew with every move, and the tensor is WEAK.
Each row says when it answers, why that is so, and what figure it rests on; none is asked of a tensor that the screen or
its rounding clears.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from handgrad.compare.errors import InputError
from handgrad.compare.facts.failures import FewerDigits, OverflowsInside, SpecialPoint
from handgrad.compare.facts.remarks import NothingButRounding, Persists, TorchInexact
from handgrad.compare.thresholds import (
    ALIKE,
    BLIND,
    CUT,
    FEW_ENTRIES,
    FORMATS,
    LARGE,
    MOST_MOVED,
    MOVE,
    MOVE_FAR,
    MOVE_OF_FORMAT,
    NOTHING_FAR,
    OF_FORMAT,
    REPEATED,
    ROUNDINGS,
    SAME,
    SAME_FAR,
    SAME_SUM,
    SCREEN,
    SCREEN_FLOAT32,
    STANDS,
    STANDS_OVER,
    STEADY,
    SWALLOWED,
    TELLING,
    TINY,
    UNIT_ROUNDOFF,
    UNMOVED,
)
from handgrad.compare.trace import is_float32
from handgrad.compare.verdict.closeness import Local
from handgrad.compare.verdict.moves import behaves, moved, step_of
from handgrad.compare.verdict.rounding import Flagged, Outcome, largest, size

Array = np.ndarray
FINE, COARSE = UNIT_ROUNDOFF["float64"], UNIT_ROUNDOFF["float32"]

Opinion = Callable[[Flagged], Outcome | None]


# --- the questions


def _answers_twice(flagged: Flagged) -> Outcome | None:
    """Symptom: the reference, run once more on the same, differs by a hundredth of the difference.

    Reason: the reference is not repeatable: an error of the input.
    Figure: 64 roundings, what another order of summation leaves.
    Test: test_a_reference_that_answers_twice_is_an_error_of_the_input
    """
    again = flagged.witness.again(flagged.name)
    apart = 0.0 if again is None else largest(again - flagged.local.reference)
    if apart <= max(REPEATED * largest(flagged.difference), SAME_SUM * FINE * largest(flagged.local.reference)):
        return None
    raise InputError(
        f"the reference, called twice, gives two answers for {flagged.name}; "
        "it must be repeatable, so put a module in eval() or pass dropout masks in the batch"
    )


def torch_is_inexact(flagged: Flagged) -> Outcome | None:
    """Symptom: a replay with torch's inexact kernels and constants put right agrees.

    Reason: torch is a witness, not the truth.
    Figure: softplus beyond 20, hardsigmoid, digamma, constants in float32, nan behind a mask.
    Test: test_torch_is_named_where_it_is_inexact
    """
    exact, met = flagged.witness.put_right(flagged.name)
    if not met or exact is None:
        return None
    again = Flagged.of(flagged.name, flagged.witness, Local(flagged.local.recorded, exact), flagged.fine)
    return again.outcome("OK", TorchInexact(flagged.name, met)) if again.rho <= 1 else None


def _is_swallowed(flagged: Flagged) -> Outcome | None:
    """Symptom: one side stands still, and no entry is off by more than 4 roundings of what it is computed from.

    Reason: an addition to the largest number leaves no more digits: (1 + tanh z)/2.
    Figure: weights x30: 10 FAULT of 1,302 right checks without it, 0 of 3,158 with it.
    Test: test_digits_that_an_addition_swallowed_are_ok
    """
    at = np.abs(flagged.roundings) > ROUNDINGS
    allowed = SWALLOWED * flagged.witness.unit * flagged.witness.reach(flagged.name)
    if not at.any() or (np.abs(flagged.difference[at]) > allowed).any():
        return None
    places = moved(flagged, step_of(flagged))
    stand = sum(any(place.stands) for place in places)
    return flagged.outcome("OK") if not places or 2 * stand > len(places) else None


def _is_at_a_kink(flagged: Flagged) -> Outcome | None:
    """Symptom: nothing of the difference is left where anything moves, and it was more than last digits.

    Reason: a kink or a tie, where the derivative is a convention.
    Figure: 2^-20 of it; last digits of what it is computed from may round alike elsewhere.
    Test: test_a_difference_at_a_kink_alone_is_a_fault
    """
    if behaves(flagged) != "gone" or _is_tiny(flagged):
        return None
    return flagged.outcome("FAULT", SpecialPoint()) if flagged.fine is None else flagged.outcome("OK")


def _is_a_constant_ratio(flagged: Flagged) -> Outcome | None:
    """Symptom: the reference moves, and the difference is the same share of it everywhere.

    Reason: noise has no constant ratio: it shows a factor under chaos and cancellation too.
    Figure: constant to 2^-20, or to within rounding at all places.
    Test: test_a_constant_ratio_is_a_fault_under_chaos
    """
    return flagged.outcome("FAULT", Persists("ratio")) if behaves(flagged) == "ratio" else None


def _stands_still(flagged: Flagged) -> Outcome | None:
    """Symptom: the reference moves, and half of the entries or more are the same to the bit.

    Reason: fewer digits inside: a format whose rounding explains the difference, or else a mistake.
    Figure: right code in 16 bits reaches 0.2 to 4.9 deviations of its format, wrong code 83.
    Test: test_fewer_digits_inside_are_weak_and_named
    """
    if behaves(flagged) != "stands":
        return None
    held = flagged.witness.digits or np.inf
    for name, unit in FORMATS.items():
        is_shown = unit <= COARSE or unit >= held or _stands_over(flagged, unit * STANDS_OVER)
        if unit <= flagged.witness.unit or not is_shown:
            continue
        if _is_within(flagged.at(unit)) if unit >= held else _explains(flagged, unit):
            far = MOST_MOVED if unit >= held else min(MOVE_OF_FORMAT * unit, MOST_MOVED)
            every = flagged.difference.size <= FEW_ENTRIES  # of one number some places agree by chance
            is_wrong = unit > COARSE and _changes_over(flagged, unit, far, np.max if every else np.median) <= STEADY
            return (
                flagged.outcome("FAULT", Persists("moves")) if is_wrong else flagged.outcome("WEAK", FewerDigits(name))
            )
    return flagged.outcome("FAULT", Persists("stands"))


def _explains(flagged: Flagged, unit: float) -> bool:
    """Whether the rounding of a format explains a difference, and leaves enough of the tensor not to explain any."""
    coarse = flagged.at(unit)
    is_telling = OF_FORMAT * size(coarse.deviation) <= TELLING * size(coarse.local.reference)
    return is_telling and _is_within(coarse)


def _is_within(coarse: Flagged) -> bool:
    """Whether a difference is within the rounding of a format; along the reference equal records count as one."""
    lengths = coarse.local.reference / coarse.deviation
    _, alike = np.unique(coarse.local.recorded, return_inverse=True)
    together = size(np.bincount(alike.ravel(), lengths.ravel()))
    along = abs(float(np.sum(coarse.roundings * lengths)))
    return coarse.largest <= OF_FORMAT and along <= OF_FORMAT * together


def _stands_over(flagged: Flagged, by: float) -> bool:
    """Whether a good part of the entries are the same where everything has moved by a share."""
    same = [float(np.mean(place.local.recorded == flagged.local.recorded)) for place in moved(flagged, by)]
    return bool(same) and float(np.median(same)) > STANDS


def _changes_over(flagged: Flagged, unit: float, by: float, of_places: Callable[[list[float]], Any]) -> float:
    """The share of a difference from a format's roundings that changes where all moves by a share; nan if unknown."""
    many = np.abs(flagged.at(unit).roundings)
    at = many > many.max() / 4
    changes = []
    for place in moved(flagged, by):
        here, there = flagged.difference[at], place.difference[at]
        changes.append(size(there - here) / max(size(here), size(there), np.finfo(float).tiny))
    return float(of_places(changes)) if changes else np.nan


def _stays(flagged: Flagged) -> Outcome | None:
    """Symptom: the difference changes by less than a quarter over every move.

    Reason: a mistake stays where roundings are drawn anew.
    Figure: mistakes change by 0.05 as a rule, rounding by 0.3 to 1.8.
    Test: test_what_stays_where_everything_moves_is_a_fault
    """
    if behaves(flagged) != "systematic":
        return None
    witness, is_fine = flagged.witness, flagged.witness.unit == FINE
    if is_fine and witness.is_nothing(flagged.name) and flagged.rho < NOTHING_FAR:
        return flagged.outcome("OK", NothingButRounding(flagged.name))
    if is_fine and _is_tiny(flagged) and _is_drawn_anew_far(flagged):
        return None
    if is_fine and _is_cast(flagged) and _explains(flagged, COARSE):
        return flagged.outcome("WEAK", FewerDigits("float32"))
    half = FORMATS["float16 or TF32"]
    is_of_format = is_fine and flagged.at(half).largest > STANDS and _explains(flagged, half)
    if is_of_format and _changes_over(flagged, half, MOVE_OF_FORMAT * half, np.median) > STEADY:
        return flagged.outcome("WEAK", FewerDigits("float16 or TF32"))
    return flagged.outcome("FAULT", Persists("moves"))


def _is_cast(flagged: Flagged) -> bool:
    """Whether a record has float32's digits alone, and too few entries move for a difference to stay but by chance."""
    at = flagged.stands_out
    most = max(np.count_nonzero(place.moves & at) for place in moved(flagged, MOVE))
    return bool(most <= FEW_ENTRIES) and is_float32(flagged.local.recorded[at])


def _is_tiny(flagged: Flagged) -> bool:
    """Whether a difference is among the last digits of what the tensor is computed from."""
    return largest(flagged.difference[flagged.stands_out]) <= TINY * flagged.witness.reach(flagged.name)


def _is_drawn_anew_far(flagged: Flagged) -> bool:
    """Whether a large move draws a difference anew, which a small one does not: digits that are swallowed inside.

    One that an addition to the largest numbers around it may have swallowed must stay at every place.
    """
    changes = [place.change for place in moved(flagged, MOVE_FAR)]
    witness, at = flagged.witness, flagged.stands_out
    swallowed = np.maximum(SCREEN * witness.scale(flagged.name), SWALLOWED * witness.reach(flagged.name)) * FINE
    if (np.abs(flagged.difference) <= swallowed)[at].all():
        return max(changes, default=1.0) > SAME
    return bool(changes) and float(np.median(changes)) > SAME_FAR


def _cannot_be_moved(flagged: Flagged) -> Outcome | None:
    """Symptom: the derivation or the reference does not run at moved parameters.

    Reason: only the size is left to judge by.
    Figure: 2^-20 of the largest entry; in float32 64 times what rounding explains.
    Test: test_what_cannot_be_moved_is_judged_by_its_size
    """
    if behaves(flagged) != "unknown":
        return None
    if flagged.witness.unit == FINE:
        is_large = largest(flagged.difference) > UNMOVED * largest(flagged.local.reference)
    else:
        is_large = flagged.rho > ALIKE
    return flagged.outcome("FAULT", Persists("unmoved")) if is_large else flagged.outcome("WEAK")


def _rounding_moves_as_much(flagged: Flagged) -> Outcome | None:
    """Symptom: rounding moves the reference by a tenth, and the difference is a tenth.

    Reason: neither side knows the number.
    Figure: 48 deviations.
    Test: test_what_rounding_moves_as_much_is_untold
    """
    if not flagged.is_blind or flagged.witness.is_nothing(flagged.name):
        return None
    is_large = size(flagged.difference) > BLIND * size(flagged.local.reference)
    return flagged.outcome("UNTOLD") if is_large else None


def _own_loss_contradicts(flagged: Flagged) -> Outcome | None:
    """Symptom: the slope of the derivation's own J along the difference is another than its gradient says.

    Reason: a second kind of evidence, which can only accuse: its error must be below 5 % of the gap.
    Figure: without a third, tiny step 20 false FAULT under chaos.
    Test: test_the_own_loss_accuses
    """
    cast = SCREEN_FLOAT32 * COARSE * largest(flagged.local.reference)  # which the own loss would see as well
    if largest(flagged.difference) <= cast or not flagged.witness.contradicts(flagged.name, flagged.difference):
        return None
    return flagged.outcome("FAULT", Persists("own-loss"))


def _is_another_order(flagged: Flagged) -> Outcome | None:
    """Symptom: the difference is what float32's rounding of the reference shrinks to in float64.

    Reason: arithmetic of another order, in more steps than the reference's.
    Figure: 2^-14.5, the geometric midpoint of 1 and 2^-29; in float32 2^6 times what rounding explains.
    Test: test_arithmetic_of_another_order_is_ok
    """
    if flagged.witness.unit == COARSE:
        return flagged.outcome("OK") if flagged.rho <= ALIKE else None
    reference, difference = largest(flagged.local.reference), largest(flagged.difference)
    if difference > CUT * (COARSE * reference + 4 * largest(flagged.at(COARSE).deviation)):
        return None
    return flagged.outcome("UNTOLD" if difference > LARGE * reference else "OK")


def _is_nothing(flagged: Flagged) -> Outcome | None:
    """Symptom: the tensor is 2^-30 of J and the gradients, or 2^-48 of the numbers handed over.

    Reason: it is what rounding leaves of a sum that cancels.
    Figure: half of the digits of float64.
    Test: test_what_is_nothing_but_rounding_is_ok
    """
    if not flagged.witness.is_nothing(flagged.name):
        return None
    return flagged.outcome("OK", NothingButRounding(flagged.name))


def _is_of_float32(flagged: Flagged) -> Outcome | None:
    """Symptom: it is drawn anew, and no more than a few roundings of float32.

    Reason: something is computed in float32 inside.
    Figure: 8 deviations; a gradient cast to float32 0.2 to 4.
    Test: test_what_float32_explains_is_weak
    """
    is_of_float32 = flagged.witness.unit == FINE and _explains(flagged, COARSE)
    return flagged.outcome("WEAK", FewerDigits("float32")) if is_of_float32 else None


def _rounds_alike(flagged: Flagged) -> Outcome | None:
    """Symptom: in units of rounding, float32 is no further off than float64, 2^6 times at most.

    Reason: the arithmetic is of another order, and rounds alike in both precisions.
    Figure: right code of another order: up to 2^5.
    Test: test_float32_that_rounds_as_float64_does_is_ok
    """
    is_alike = flagged.fine and flagged.rho <= ALIKE * max(1.0, flagged.fine)
    return flagged.outcome("OK") if is_alike else None


def _float32_says_nothing(flagged: Flagged) -> Outcome | None:
    """Symptom: one rounding of float32 moves the reference by a tenth.

    Reason: float32 holds no digit of it.
    Figure: 48 deviations.
    Test: test_float32_that_holds_no_digit_is_ok
    """
    return flagged.outcome("OK") if flagged.fine is not None and flagged.is_blind else None


def _overflows_inside(flagged: Flagged) -> Outcome | None:
    """Symptom: the run in float32 overflows or divides 0 by 0 on its way to a finite number.

    Reason: exp of large numbers, which float32 does not hold.
    Figure: softmax without its maximum, weights x30.
    Test: test_what_overflows_on_the_way_is_weak
    """
    return flagged.outcome("WEAK", OverflowsInside()) if flagged.witness.overflows else None


BOTH, FINE_ONLY, COARSE_ONLY = ("float64", "float32"), ("float64",), ("float32",)
OPINIONS: tuple[tuple[Opinion, tuple[str, ...]], ...] = (
    (_answers_twice, FINE_ONLY),
    (_rounds_alike, COARSE_ONLY),
    (_float32_says_nothing, COARSE_ONLY),
    (torch_is_inexact, FINE_ONLY),
    (_is_swallowed, BOTH),
    (_overflows_inside, COARSE_ONLY),
    (_is_at_a_kink, BOTH),
    (_is_a_constant_ratio, BOTH),
    (_stands_still, BOTH),
    (_stays, BOTH),
    (_cannot_be_moved, BOTH),
    (_rounding_moves_as_much, FINE_ONLY),
    (_is_nothing, FINE_ONLY),
    (_own_loss_contradicts, FINE_ONLY),
    (_is_another_order, BOTH),
    (_is_of_float32, FINE_ONLY),
)
"""The questions in their order, and the precisions in which each is asked; all where there is float32 alone."""


def second_opinion(flagged: Flagged) -> Outcome:
    """The answer of the first row that has one; without one, WEAK."""
    is_alone = flagged.witness.dtype == "float32" and flagged.fine is None
    answers = (ask(flagged) for ask, precisions in OPINIONS if flagged.witness.dtype in precisions or is_alone)
    return next((answer for answer in answers if answer is not None), flagged.outcome("WEAK"))


def where_blind(flagged: Flagged) -> Outcome:
    """Of a tensor that rounding explains only because it moves the reference as much: a factor shows all the same."""
    outcome = None
    if size(flagged.difference) > LARGE * size(flagged.local.reference):
        outcome = _is_a_constant_ratio(flagged)
    return outcome or _rounding_moves_as_much(flagged) or flagged.outcome("OK")
