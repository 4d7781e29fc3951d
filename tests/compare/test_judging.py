"""Steps judged at once are judged as one by one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import handgrad.manual.network
from handgrad.compare.experiment import judging
from handgrad.compare.experiment.data import load
from handgrad.compare.experiment.exceptions import quietly
from handgrad.compare.experiment.judging import Judging
from handgrad.compare.experiment.recording import Training
from handgrad.compare.experiment.run import differs
from handgrad.compare.experiment.twin import allowances
from handgrad.compare.verdict import batched as agreeing
from handgrad.compare.verdict import rule as verdict
from handgrad.compare.verdict.conventions import AS_IN_THE_NOTES
from tests.compare.test_parity import N, experiment
from tests.support import edited, small_data


def steps_of(run, count=6):
    return Training(run, load(small_data(5, 2, N, seed=7))).advance(count, AS_IN_THE_NOTES)


@pytest.mark.parametrize("optimizer", ["momentum", "gradient-descent"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_at_once_and_singly_give_the_same_rows(optimizer, dtype):
    run = experiment(depth=4, optimizer=optimizer, dtype=dtype)
    steps, whole = steps_of(run), Judging(run)
    assert len({step.printed.recorded["X"].shape for step in steps}) == 2, "a short last batch is among them"
    together = whole.window(steps, AS_IN_THE_NOTES)
    for step, (judged, _) in zip(steps, together, strict=True):
        alone = whole._singly(step, AS_IN_THE_NOTES)
        assert [j.row.name for j in judged] == [j.row.name for j in alone]
        scale = {name: np.abs(array).max() for name, array in step.printed.recorded.items()}
        for a, b in zip(judged, alone, strict=True):
            assert (a.row.verdict, a.differs) == (b.row.verdict, b.differs)
            # torch rounds differently in stacks of other sizes, by a few units
            few = 8 * np.finfo(dtype).eps
            np.testing.assert_allclose(a.row.max_abs_diff, b.row.max_abs_diff, atol=few * scale[a.row.name])


@pytest.mark.parametrize("block", [agreeing.BLOCK, 64, 8], ids=["end to end", "some alone", "all alone"])
@pytest.mark.parametrize("optimizer", ["momentum", "gradient-descent"])
def test_at_once_a_tensor_comes_as_close_as_by_itself(optimizer, block, monkeypatch):
    """On the same references of torch, which rounds differently in stacks: rho of each tensor, step and precision."""
    seen = []

    def spy(*given):
        seen.append((given, agreeing.agreeing(*given)))
        return seen[-1][1]

    monkeypatch.setattr(agreeing, "BLOCK", block)
    monkeypatch.setattr(judging, "agreeing", spy)
    run = experiment(depth=2, optimizer=optimizer, l2=0.01)
    steps = [step for step in steps_of(run) if step.printed.recorded["X"].shape[1] == 4]
    Judging(run).window(steps, AS_IN_THE_NOTES)
    (((labelled, _, dtypes, stacked, *_), found),) = seen
    for k, (step, judged) in enumerate(zip(steps, found, strict=True)):
        rho = {row.name: row.rho for row, *_ in judged}
        for _, name, _ in labelled:
            by_itself = []
            for d, dtype in enumerate(dtypes):
                side = step.sides[dtype]
                at = d * len(steps) + k
                local = verdict.Local(stacked.records[name][at], stacked.local[name][at])
                allowed = allowances(run, side.params, side.velocities, side.recorded)[name]
                by_itself.append(verdict.judge({dtype: local}, {dtype: allowed}).rho)
            assert rho[name] == pytest.approx(max(by_itself), rel=1e-9), name
    assert sum(each > 0.01 for each in rho.values()) > len(rho) / 2, "most are told apart from nothing"


@pytest.mark.parametrize("torchs", ["float64", "float32"])
def test_how_far_tensors_are_apart_end_to_end_is_told_of_each_step(torchs):
    """Laid end to end, a tensor's largest difference is found in it, and equal infinities are no difference."""
    rng = np.random.default_rng(5)
    shapes = {"W": (3, 4), "J": (), "b": (3, 1), "X": (2, 5)}
    hand = {name: rng.standard_normal((6, *shape)).astype(torchs).astype(float) for name, shape in shapes.items()}
    torch = {name: (array + rng.standard_normal(array.shape)).astype(torchs) for name, array in hand.items()}
    for finite in (True, False):
        if not finite:
            hand["b"][2, 1], torch["b"][2, 1] = np.inf, np.inf
        with quietly():
            told = agreeing._apart(hand, torch)
        for (name, shape), *of_tensor in zip(shapes.items(), *told, strict=True):
            for k, (apart, index, ours, theirs, _) in enumerate(zip(*of_tensor, strict=True)):
                unlike = np.where(hand[name][k] == torch[name][k], 0, torch[name][k])
                difference = np.abs(np.where(unlike == 0, 0, hand[name][k]) - unlike)
                assert len(index) == len(shape)
                assert (ours, theirs) == (hand[name][k][index], torch[name][k][index])
                assert apart == difference.max() == difference[index]
    *_, differs = told
    assert all(differs[0])
    with quietly():
        *_, differs = agreeing._apart(hand, {name: array.astype(torchs) for name, array in hand.items()})
    assert not any(map(any, differs))


def test_a_step_that_is_not_whole_ends_a_window_and_loses_no_batch():
    run = experiment()
    whole = [step.printed.batch["X"] for step in steps_of(run, 6)]
    with edited(
        handgrad.manual.network, ("    return gradients\n", "    gradients['extra'] = X\n    return gradients\n")
    ):
        training = Training(run, load(small_data(5, 2, N, seed=7)))
        found = [training.advance(count, AS_IN_THE_NOTES) for count in (6, 1, 3, 2)]
    assert [[step.number for step in steps] for steps in found] == [[1], [2], [3], [4]]
    for (step,), X in zip(found, whole[:4], strict=True):
        np.testing.assert_array_equal(step.printed.batch["X"], X)


def test_blocks_and_the_screen_give_the_same_rows(monkeypatch):
    """Large tensors are judged a few steps at a time, and by products at single entries; here small ones are too."""
    run = experiment(depth=4, l2=0.3)
    steps, judging = steps_of(run), Judging(run)
    whole = judging.window(steps, AS_IN_THE_NOTES)
    for module, name, value in ((agreeing, "BLOCK", 64), (verdict, "SMALL", 8)):
        monkeypatch.setattr(module, name, value)
        again = judging.window(steps, AS_IN_THE_NOTES)
        for (first, _), (second, _) in zip(whole, again, strict=True):
            for a, b in zip(first, second, strict=True):
                assert a.row.rho == pytest.approx(b.row.rho, rel=1e-9), (name, a.row.name)
                assert a.row.max_abs_diff == b.row.max_abs_diff


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_beside_what_is_recorded_torch_goes_its_own_way(dtype, at_once, monkeypatch):
    """Records that are wrong reach the local references and none of the end-to-end values."""
    run = experiment(depth=4, dtype=dtype)
    steps, judging = steps_of(run, 2), Judging(run)
    wrong = ("A1", "dZ3", "dW2", "vW2")

    def scaled(side, factor):
        return replace(side, recorded=side.recorded | {name: side.recorded[name] * factor for name in wrong})

    def evaluated(factor):
        """The local references and torch's own values that are judged."""
        made = [replace(step, sides={d: scaled(side, factor) for d, side in step.sides.items()}) for step in steps]
        handed = []
        name = "agreeing" if at_once else "judge_step"
        monkeypatch.setattr(
            f"handgrad.compare.experiment.judging.{name}", lambda *arguments: handed.extend(arguments) or []
        )
        if at_once:
            judging._at_once(made, AS_IN_THE_NOTES)
            return handed[3].local, handed[5][1]
        judging._singly(made[0], AS_IN_THE_NOTES)
        return handed[1]["float64"].local, handed[2][1]

    (local, own), (local_of_wrong, own_of_wrong) = evaluated(1.0), evaluated(1.5)
    for name in steps[0].due:
        np.testing.assert_array_equal(own_of_wrong[name], own[name])
    for name in ("Z2", "dA2", "vW2", "W2_next"):
        assert not np.allclose(local_of_wrong[name], local[name], rtol=1e-3), name


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_run_needs_no_gradient_mode_of_its_callers(mode):
    run, data = experiment(), small_data(5, 2, N, seed=7)
    with mode():
        report = run.run(data)
        assert not differs(run, data)
    assert report.rows == run.run(data).rows


def test_a_window_finds_the_one_step_that_is_wrong():
    """A fault that acts at step 4 alone is found there, the steps around it staying rows."""
    wrong = ("dW = dZ @ A_prev.T", "dW = dZ @ A_prev.T * (1 + 1e-6 * (COUNT[0] == 4))")
    counting = ("cache = {}", "cache = {}; COUNT[0] += 1")
    handgrad.manual.network.COUNT = [0]
    try:
        with edited(handgrad.manual.network, wrong, counting):
            found = []
            for dtype in ("float64",):
                handgrad.manual.network.COUNT[0] = 0
                run = experiment(depth=2, dtype=dtype)
                training = Training(run, load(small_data(5, 2, N, seed=7)))
                training.sides = training.sides[:1]
                steps = training.advance(6, AS_IN_THE_NOTES)
                judging = Judging(run)
                at_once = judging._at_once([step for step in steps if step.number not in (3, 6)], AS_IN_THE_NOTES)
                found = [rows is None for rows in at_once]
    finally:
        del handgrad.manual.network.COUNT
    assert found == [False, False, True, False]


def test_a_nan_in_float64_is_not_outvoted_by_a_finite_float32():
    run = experiment(depth=2)
    steps, judging = steps_of(run, 2), Judging(run)
    broken = dict(steps[1].sides["float64"].recorded)
    broken["dZ2"] = np.where(np.arange(broken["dZ2"].size).reshape(broken["dZ2"].shape) == 1, np.nan, broken["dZ2"])
    steps[1].sides["float64"].recorded.update(broken)
    judged = judging._at_once(steps, AS_IN_THE_NOTES)
    assert judged[0] is not None
    assert judged[1] is None
