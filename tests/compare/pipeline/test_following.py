"""One step of an optimiser by hand beside torch's: what can be asked of an update and of a velocity."""

from dataclasses import replace

import numpy as np
import torch

from handgrad import check_training
from handgrad.compare.oracle.optimizer import Followers
from handgrad.compare.pipeline.following import Following
from handgrad.compare.verdict.rule import judge

W = np.array([[1.0, -2.0], [1e-6, 3.0]])
DW = np.array([[0.5, 1.0], [2e-6, -1.0]])


def sgd(tensors):
    return torch.optim.SGD(tensors, lr=0.1, momentum=0.9)


def following(off=0.0, velocity=0.0, dtype="float64", elsewhere=lambda by: ()):
    followers = Followers(sgd, {"W": W})
    result = followers.step({"W": W}, {"dW": DW}, lambda params: {})
    records = {"W_next": result["W"] + off, "vW": result["vW"] + velocity}
    records = {name: array.astype(dtype) for name, array in records.items()}
    local = {"W_next": result["W"], "vW": result["vW"]}
    return Following(dtype, {"W": W}, records, local, followers, elsewhere)


def stays(off):
    """Both sides elsewhere, the difference being the same."""
    return lambda by: [
        ({"W_next": W * (1 + k * by) - 0.1 * DW + off, "vW": DW}, {"W_next": W * (1 + k * by) - 0.1 * DW, "vW": DW})
        for k in (1, -1, 2)
    ]


def test_updates_and_velocities_stand_beside_torchs():
    both = following().beside("W_next")
    np.testing.assert_array_equal(both.recorded, both.reference)
    np.testing.assert_array_equal(following().beside("vW").reference, DW)
    assert following().beside("b_next") is None


def test_what_agrees_passes_the_screen_and_the_roundings_of_float32_too():
    assert judge("W_next", {"float64": following()}).basis == "screen"
    assert judge("W_next", {"float64": following(), "float32": following(dtype="float32")}).verdict == "OK"


def test_each_entry_is_judged_by_its_own_size():
    """The roundings of a large weight do not hide what is wrong with a small one."""
    off = np.array([[0, 0], [1e-15, 0]])
    assert judge("W_next", {"float64": following(off, elsewhere=stays(off))}).verdict == "FAULT"
    large = np.array([[0, 1e-15], [0, 0]])
    assert judge("W_next", {"float64": following(large)}).verdict == "OK"
    assert judge("vW", {"float64": following(velocity=off, elsewhere=stays(0))}).verdict != "OK"


def test_its_spread_is_that_of_steps_with_roundings_of_their_own():
    spread = following().spread("W_next")
    size = np.abs(W) + 0.1 * np.abs(DW)
    assert (spread > 0).all()
    assert (spread < 3 * size).all()  # of the small weight as well


def test_what_is_asked_of_gradients_alone_is_no():
    step = following()
    assert (step.again("W_next"), step.put_right("W_next"), step.allowance("W_next")) == (None, (None, ()), None)
    assert (step.is_nothing("W_next"), step.contradicts("W_next", W), step.overflows) == (False, False, False)
    assert step.torch_is_finite
    assert step.reach("W_next") == 0.0
    assert step.records["vW"].shape == (2, 2)


def test_where_all_has_moved_torch_goes_on_with_the_recorded_velocities_too():
    """A mistake at step 2 stays from place to place beside another one at step 1, which the velocity carries on."""
    rng = np.random.default_rng(4)
    params, batches = {"W": rng.standard_normal((2, 3))}, [(rng.standard_normal((3, 5)),) for _ in range(3)]

    def twice_wrong(params, batches):
        params, v = dict(params), 0.0
        for step, (X,) in enumerate(batches, start=1):
            dW = params["W"] @ X @ X.T
            v = {1: 1.0, 2: 1.001}.get(step, 1.0) * (0.9 * v + dW) + (step == 1)
            params["W"] = params["W"] - 0.01 * v
            yield {"W": params["W"], "dW": dW, "vW": v}

    report = check_training(
        twice_wrong,
        lambda p, X: ((p["W"] @ X) ** 2).sum() / 2,
        lambda tensors: torch.optim.SGD(tensors, lr=0.01, momentum=0.9),
        params,
        batches,
    )
    assert [row.verdict for row in report.rows if row.name == "vW"] == ["FAULT", "FAULT", "OK"]


def test_an_update_is_as_large_as_what_it_was_and_became():
    step = following()
    np.testing.assert_array_equal(step.scale("W_next"), abs(W) + abs(step.local["W_next"]))
    np.testing.assert_array_equal(step.scale("vW"), abs(DW))


def test_a_spread_by_chance_too_small_is_half_that_of_all_entries():
    class Drawn:
        def noisy(self, _, by):
            return [{"W": step.local["W_next"] + by * np.array([[0.0, 2.0], [0.0, 2.0]])}]

    step = replace(following(), followers=Drawn())
    spread, scale = step.spread("W_next"), step.scale("W_next")
    usual = np.sqrt(np.mean((np.array([[0.0, 2.0], [0.0, 2.0]]) / scale) ** 2)) * scale
    np.testing.assert_allclose(spread[:, 0], usual[:, 0] / np.sqrt(2), rtol=1e-3)
    np.testing.assert_allclose(spread[:, 1], np.hypot(2.0, usual[:, 1]) / np.sqrt(2), rtol=1e-3)
