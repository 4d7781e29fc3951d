"""Steps judged at once come as close to what rounding explains as each by itself."""

import numpy as np
import pytest

from handgrad.compare.experiment.bounds import allowance, allowances, label_of, operands
from handgrad.compare.experiment.data import load
from handgrad.compare.experiment.recording import recorded
from handgrad.compare.experiment.stacked import StackedTwin
from handgrad.compare.experiment.stacked import stacked as stacked_runs
from handgrad.compare.sandbox import quietly
from handgrad.compare.verdict.batched import judge_stack
from handgrad.compare.verdict.bounds import Allowance
from handgrad.compare.verdict.closeness import Local
from handgrad.compare.verdict.rule import judge
from tests.compare.experiment.networks import DATA, experiment
from tests.compare.verdict.witnesses import Told

DTYPES = ("float64", "float32")


class Stack:
    """The steps of a run that have batches of four, stacked, beside torch."""

    def __init__(self, **fields):
        self.settings = experiment(**fields)
        steps = [*recorded(self.settings, load(DATA))]
        self.steps = [step for step in steps if step.printed.records["X"].shape[1] == 4]
        sides = [(step, dtype) for dtype in DTYPES for step in self.steps]
        self.records = stacked_runs([step.sides[dtype].records for step, dtype in sides])
        self.params = stacked_runs([step.sides[dtype].before for step, dtype in sides])
        self.velocities = stacked_runs([step.state[dtype] for step, dtype in sides])
        batch = stacked_runs([step.batch_in(dtype) for step, dtype in sides])
        twin, n = StackedTwin(self.settings), len(self.steps)
        with quietly():
            self.local = twin.step(self.params, self.velocities, self.records) | batch
            first = [{name: array[:n] for name, array in of.items()} for of in (self.params, self.velocities, batch)]
            self.by_torch = first[2] | twin.step(*first)
        self.labelled = [(phase, name, label_of(self.settings, name)) for name, (phase, _) in self.steps[0].due.items()]

    def judged(self):
        read, before = operands(self.params, self.records), operands(self.velocities)

        n = len(self.steps)
        parts = {"float64": slice(0, n), "float32": slice(n, 2 * n)}

        def allowed(name, dtype):
            here = ({name: array[parts[dtype]] for name, array in of.items()} for of in (read, before))
            return allowance(self.settings, name, *here)

        ours = {name: array[: len(self.steps)] for name, array in self.records.items()}
        numbers = [step.number for step in self.steps]
        with quietly():
            return judge_stack(
                self.labelled,
                numbers,
                parts,
                (self.records, self.local),
                allowed,
                (ours, self.by_torch),
            )


@pytest.mark.parametrize("optimizer", ["momentum", "gradient-descent"])
def test_at_once_a_tensor_comes_as_close_as_by_itself(optimizer):
    """On the same references of torch, which rounds differently in stacks: rho of each tensor, step and precision."""
    stack = Stack(optimizer=optimizer, l2=0.01)
    for k, (step, judged) in enumerate(zip(stack.steps, stack.judged(), strict=True)):
        rho = {row.name: row.rho for row, *_ in judged}
        assert [*rho] == [name for _, name, _ in stack.labelled]
        of_dtype = {
            dtype: allowances(stack.settings, side.before, step.state[dtype], side.records)
            for dtype, side in step.sides.items()
        }
        for name, found in rho.items():
            by_itself = []
            for d, dtype in enumerate(DTYPES):
                at = d * len(stack.steps) + k
                local = Local(stack.records[name][at], stack.local[name][at])
                told = Told({name: local.recorded}, {name: local.reference}, dtype, allowances=of_dtype[dtype])
                by_itself.append(judge(name, {dtype: told}).rho)
            assert found == pytest.approx(max(by_itself), rel=1e-9), name
    assert sum(each > 0.01 for each in rho.values()) > len(rho) / 2, "most are told apart from nothing"


def test_a_row_says_where_it_stands():
    stack = Stack()
    first, *_ = stack.judged()
    row = next(judgement.row for judgement in first if judgement.row.name == "dW2")
    assert (row.step, row.phase, row.equation, row.shape) == (1, "backward", "B2", (2, 7))
    assert (row.rho_basis, row.verdict) == ("bound", "OK")


def test_only_the_step_that_needs_a_closer_look_has_no_rows():
    stack = Stack()
    stack.records["dW2"][1] *= 1 + 1e-3
    assert [judged is None for judged in stack.judged()] == [False, True, False, False]


def test_one_precision_that_needs_a_closer_look_is_enough():
    stack = Stack()
    stack.records["A1"][-1, 0, 0] += 0.1  # of the last step in float32
    assert [judged is None for judged in stack.judged()] == [False, False, False, True]
    stack = Stack()
    stack.records["dZ2"][2, 0, 0] = np.nan  # of the third step in float64, finite in float32
    assert [judged is None for judged in stack.judged()] == [False, False, True, False]


def test_what_is_copied_must_be_the_same():
    stack = Stack()
    stack.records["X"][0, 0, 0] = np.nextafter(stack.records["X"][0, 0, 0], np.inf)
    assert [judged is None for judged in stack.judged()] == [True, False, False, False]


# --- end to end


def apart(hand, torch):
    """What is said of tensors end to end, by name and step, where they agree locally."""
    steps = len(next(iter(hand.values())))
    labelled = [("forward", name, "") for name in hand]
    records = {name: np.zeros(array.shape) for name, array in hand.items()}
    with quietly():
        judged = judge_stack(
            labelled,
            range(steps),
            {"float64": slice(0, steps)},
            (records, records),
            lambda name, dtype: Allowance(3, units=8.0),
            (hand, torch),
        )
    return {(j.row.step, j.row.name): j for step in judged for j in step}


def tensors(dtype):
    rng = np.random.default_rng(5)
    shapes = {"W": (3, 4), "J": (), "b": (3, 1), "X": (2, 5)}
    hand = {name: rng.standard_normal((6, *shape)).astype(dtype).astype(float) for name, shape in shapes.items()}
    return hand, {name: (array + rng.standard_normal(array.shape)).astype(dtype) for name, array in hand.items()}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("finite", [True, False])
def test_how_far_tensors_are_apart_end_to_end_is_told_of_each_step(dtype, finite):
    """Laid end to end, a tensor's largest difference is found in it, and equal infinities are no difference."""
    hand, torch = tensors(dtype)
    if not finite:
        hand["b"][2, 1], torch["b"][2, 1] = np.inf, np.inf
    for (k, name), (row, _, differs, *_) in apart(hand, torch).items():
        ours, theirs = hand[name][k], torch[name][k]
        difference = np.abs(np.where(ours == theirs, 0, ours) - np.where(ours == theirs, 0, theirs))
        assert len(row.index) == ours.ndim
        assert (row.by_hand, row.torch) == (ours[row.index], theirs[row.index])
        assert row.max_abs_diff == difference.max() == difference[row.index]
        assert differs == np.isfinite(theirs).all()  # beside infinity everything is small


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_is_the_same_to_within_rounding_does_not_differ(dtype):
    hand, _ = tensors(dtype)
    hand["b"][2, 1] = np.inf
    assert not any(j.differs for j in apart(hand, {name: array.astype(dtype) for name, array in hand.items()}).values())
