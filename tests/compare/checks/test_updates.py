"""Optimisers by hand against torch.optim: every form told from its neighbours, at the step where they part."""

import numpy as np
import pytest
import torch

from handgrad import InputError, check_updates
from handgrad.compare.checks.updates import exposing_gradients
from handgrad.compare.facts.causes import Scaled, Unknown
from handgrad.compare.facts.failures import (
    Mutates,
    NeverMoves,
    NotComputed,
    NotFinite,
    NothingMoves,
    NotReal,
    Raised,
    ReturnedInstead,
    TwoAnswers,
    WrongShape,
)
from handgrad.compare.facts.remarks import Float32Only, FromZero, NoBuffer, VelocityTimes
from handgrad.compare.facts.updates import (
    Counted,
    DecayForm,
    EpsilonPlace,
    LeftOut,
    OptimizerReset,
    OtherDecay,
    OtherMomentum,
    OtherUpdate,
)
from handgrad.compare.ownership import named
from tests.compare.checks.optimizers import (
    PARAMS,
    RIGHT,
    RNG,
    adam,
    heavy_ball,
    in_place,
    momentum,
    nadam,
    nesterov,
    notes,
    per_parameter,
    scaled,
    sgd,
)


@pytest.mark.parametrize(("update", "optimizer"), RIGHT.values(), ids=RIGHT)
def test_right_updates_are_left_in_peace(update, optimizer):
    report = check_updates(update, optimizer, PARAMS)
    assert report.findings == (), str(report)
    assert len({row.step for row in report.rows}) == 5
    assert max(row.rho for row in report.rows if row.rho is not None) < 1


def test_a_velocity_in_another_convention_is_a_note():
    (note,) = check_updates(*RIGHT["the notes' average"], PARAMS).notes
    assert isinstance(note, VelocityTimes)
    assert note.factor == pytest.approx(0.1)


RMSPROP_INSIDE = scaled(lambda s: np.sqrt(s + 1e-8), 0.0, 0.99, 0.01)


def without_bias(p, g, s):
    return {n: w - 0.1 * g[f"d{n}"] * (n != "b1") for n, w in p.items()}, s


WRONG = {
    "epsilon inside the root": (adam(inside=True), RIGHT["Adam"][1], 1, "W1_next", EpsilonPlace),
    "epsilon ten times too large": (adam(eps=1e-7), RIGHT["Adam"][1], 1, "W1_next", OtherUpdate),
    "no bias correction": (adam(corrected=False), RIGHT["Adam"][1], 1, "W1_next", Counted),
    "decoupled for L2": (adam(decay=0.1, decoupled=True), RIGHT["Adam with L2"][1], 1, "W1_next", DecayForm),
    "L2 for decoupled": (adam(decay=0.1), RIGHT["AdamW"][1], 1, "W1_next", DecayForm),
    "counter per parameter": (per_parameter, RIGHT["Adam"][1], 1, "b1_next", Counted),
    "Nesterov for heavy ball": (momentum(nesterov), sgd(momentum=0.9), 1, "W1_next", OtherMomentum),
    "heavy ball for Nesterov": (momentum(heavy_ball), sgd(momentum=0.9, nesterov=True), 1, "W1_next", OtherMomentum),
    "the notes' average for heavy ball": (momentum(notes), sgd(momentum=0.9), 1, "vW1", Scaled),
    "no memory": (momentum(lambda mu, v, g: (g, g)), sgd(momentum=0.9), 2, "vW1", OptimizerReset),
    "ascent": (in_place(-1), sgd(), 1, "W1_next", OtherUpdate),
    "rate twice": (in_place(0.1), sgd(), 1, "W1_next", OtherUpdate),
    "update lost": (lambda p, g, s: None, sgd(), 1, "W1_next", NeverMoves),
    "decay missing": (RIGHT["gradient descent"][0], sgd(weight_decay=0.5), 1, "W1_next", OtherDecay),
    "bias left out": (without_bias, sgd(), 1, "b1_next", LeftOut),
    "epsilon of RMSprop inside": (RMSPROP_INSIDE, RIGHT["RMSprop"][1], 1, "W1_next", EpsilonPlace),
    "dampening left out": (momentum(heavy_ball), sgd(momentum=0.9, dampening=0.1), 2, "vW1", OtherMomentum),
    "a factor at the first step alone": (
        momentum(heavy_ball, mu=0.8),
        sgd(momentum=0.9, nesterov=True),
        1,
        "W1_next",
        Unknown,
    ),
    "a millionth off": (momentum(heavy_ball, mu=0.9 * (1 + 1e-6)), sgd(momentum=0.9), 2, "vW1", Unknown),
}


@pytest.mark.parametrize(("update", "optimizer", "step", "name", "cause"), WRONG.values(), ids=WRONG)
def test_each_wrong_update_is_found_where_it_first_acts(update, optimizer, step, name, cause):
    report = check_updates(update, optimizer, PARAMS)
    assert not report.ok
    assert (*report.first.where, type(report.first.cause)) == (step, "update", name, cause), str(report)


def test_a_velocity_that_is_a_multiple_has_the_rule_that_explains_the_update_beside_it():
    """The notes' average for Nesterov's momentum: that the velocity is 0.1 times torch's is not the mistake."""
    first = check_updates(momentum(notes, lr=1.0), sgd(momentum=0.9, nesterov=True), PARAMS).first
    assert (first.where.name, first.cause) == ("vW1", Scaled(first.factor, first.cause.names))
    assert first.factor == pytest.approx(0.1)
    assert [type(cause) for cause in first.others] == [OtherMomentum]


def test_what_is_only_visible_from_zero_is_said_so():
    tiny = [{f"d{name}": np.full(w.shape, 1e-14) for name, w in PARAMS.items()}] * 5
    report = check_updates(in_place(1.01), sgd(), PARAMS, gradients=tiny)
    assert report.first.cause.code == "scale"
    assert all(FromZero() in finding.circumstances for finding in report.findings)
    assert {row.verdict for row in report.rows} == {"FAULT"}, "the rows are those that show it"
    plain = check_updates(in_place(1.01), sgd(), PARAMS)
    assert not any(FromZero() in finding.circumstances for finding in plain.findings)


def test_the_drawn_gradients_hold_what_exposes_optimisers():
    drawn = exposing_gradients({"W": np.zeros((5, 20))}, 6)
    stack = np.abs([gradients["dW"] for gradients in drawn])
    assert (stack == 0).any()
    assert ((0 < stack) & (stack < 1e-6)).any()
    assert (stack > 1e3).any()
    signs = np.sign([gradients["dW"] for gradients in drawn])
    assert (signs[0] == -signs[1]).any()
    assert [bool(step.max() < 1) for step in stack] == [False, False, False, True, False, False]


def test_given_gradients_that_move_nothing_compare_nothing():
    zeros = {f"d{name}": np.zeros(w.shape) for name, w in PARAMS.items()}
    first = check_updates(in_place(1.01), sgd(), PARAMS, gradients=[zeros] * 3).first
    assert (first.verdict, first.where.name, type(first.cause)) == ("FAULT", "W1_next", NothingMoves)
    report = check_updates(in_place(1.0), sgd(), PARAMS, gradients=[{**zeros, "db1": np.ones((3, 1))}] * 3)
    assert report.ok, str(report)
    assert {spot.code: spot.of for spot in report.blind_spots}["unmoved"] == ("W1", "W2")


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_rate_that_is_a_hundred_times_too_large_is_no_momentum(steps):
    """Within one step, or on gradients that stay, momentum at another rate would explain it as well."""
    given = [{f"d{name}": np.full(w.shape, 0.3) for name, w in PARAMS.items()}] * steps
    first = check_updates(in_place(100), sgd(), PARAMS, gradients=given).first
    assert (first.cause.code, first.factor) == ("scale", pytest.approx(100)), first.cause


def test_the_settings_that_are_named_are_all_that_the_rule_has():
    def twice(params, grads, state):
        m = {n: 0.9 * (state[n] if state else 0) + grads[f"d{n}"] for n in params}
        return {n: w - 0.2 * (grads[f"d{n}"] + 0.9 * m[n]) for n, w in params.items()}, m

    cause = check_updates(twice, sgd(momentum=0.9, nesterov=True), PARAMS).first.cause
    assert cause == OtherUpdate("torch.optim.SGD(lr=0.2, momentum=0.9, nesterov=True)")
    cause = check_updates(in_place(1.0), sgd(maximize=True), PARAMS).first.cause
    assert cause == OtherUpdate("torch.optim.SGD(lr=0.1, maximize=False)", reverses="descends")


class Clipped(torch.optim.SGD):
    """Gradient descent on gradients whose norm, over all parameters, is at most 1."""

    def step(self):
        torch.nn.utils.clip_grad_norm_(self.param_groups[0]["params"], 1.0)
        super().step()


@pytest.mark.parametrize(("least", "wrong"), [(1.0, set()), (0.0, {4})], ids=["where it is exceeded", "always"])
def test_clipping_although_the_norm_is_below_the_threshold_is_found(least, wrong):
    def update(params, grads, state):
        norm = np.sqrt(sum((g.astype(float) ** 2).sum() for g in grads.values()))
        for name in params:
            params[name] -= 0.1 * grads[f"d{name}"] / max(least, norm + 1e-6)  # torch adds 1e-6

    report = check_updates(update, lambda tensors: Clipped(tensors, lr=0.1), PARAMS)
    assert {row.step for row in report.rows if row.verdict != "OK"} == wrong, str(report)


@pytest.mark.parametrize("shown", [False, True])
def test_a_state_that_is_lost_is_called_reset_and_the_update_only_follows(shown):
    def update(params, grads, state):
        t, v = state["t"] if state else 0, {}
        for name in params:
            v[name] = grads[f"d{name}"] + (0.9 * state["v"][name] if t % 3 else 0)
            params[name] -= 0.1 * v[name]
        return params, {"t": t + 1, "v": v, **({f"v{name}": v[name] for name in v} if shown else {})}

    report = check_updates(update, sgd(momentum=0.9), PARAMS)
    names = [f"v{name}" if shown else f"{name}_next" for name in PARAMS]
    (finding,) = report.findings
    assert (finding.where.step, finding.cause) == (4, OptimizerReset()), str(report)
    assert [finding.where.name, *finding.together] == names


def test_an_update_that_is_wrong_where_its_velocity_is_right_is_a_finding_of_its_own():
    def update(params, grads, state):
        v = {f"v{n}": 0.9 * (state[f"v{n}"] if state else 0) + grads[f"d{n}"] for n in params}
        return {n: w - 0.1 * (1 if n == "W1" else -7) * v[f"v{n}"] for n, w in params.items()}, v

    report = check_updates(update, sgd(momentum=0.9), PARAMS)
    assert {name for f in report.findings for name in (f.where.name, *f.together)} == {"b1_next", "W2_next"}


def test_what_is_wrong_at_another_step_than_a_lost_velocity_is_not_taken_to_follow_from_it():
    """In the same step an update follows from its velocity, which is wrong: one mistake is one finding."""

    def ascending_later(params, grads, state):
        t, v = state["t"] if state else 0, {}
        for name in params:
            v[name] = grads[f"d{name}"] + (0.9 * state[f"v{name}"] if t not in (0, 2) else 0)
            params[name] = params[name] - (-7 if t == 3 else 0.1) * v[name]
        return params, {"t": t + 1, **{f"v{name}": v[name] for name in v}}

    report = check_updates(ascending_later, sgd(momentum=0.9), PARAMS)
    by_cause = {
        (f.cause == OptimizerReset(), f.where.step, name)
        for f in report.findings
        for name in (f.where.name, *f.together)
    }
    resets, others = {(True, 3, f"v{name}") for name in PARAMS}, {(False, 4, f"{name}_next") for name in PARAMS}
    assert by_cause == resets | others, str(report)


def test_a_gradient_that_is_changed_beside_a_lost_velocity_is_a_finding_of_its_own():
    def update(params, grads, state):
        t, v = state["t"] if state else 0, {}
        for name in params:
            v[name] = grads[f"d{name}"] + (0.9 * state[f"v{name}"] if t not in (0, 2) else 0)
            params[name] = params[name] - 0.1 * v[name]
        if t == 2:
            grads["dW1"] *= 0
        return params, {"t": t + 1, **{f"v{name}": v[name] for name in v}}

    report = check_updates(update, sgd(momentum=0.9), PARAMS)
    changed = [finding for finding in report.findings if isinstance(finding.cause, Mutates)]
    assert [(f.where.step, f.where.name, f.cause.name) for f in changed] == [(3, "W1_next", "dW1")], str(report)
    assert OptimizerReset() in {finding.cause for finding in report.findings}


def test_what_ends_a_run_comes_after_what_was_wrong_before():
    def update(params, grads, state):
        if state == 2:
            raise RuntimeError("no more")
        return {n: w - 0.3 * grads[f"d{n}"] for n, w in params.items()}, (state or 0) + 1

    findings = check_updates(update, sgd(), PARAMS).findings
    assert [(f.where.step, len(f.together)) for f in findings] == [(1, 2), (3, 0)]
    assert isinstance(findings[-1].cause, Raised)


class Late(torch.optim.SGD):
    """Gradient descent in the first step, which keeps no velocity, and then momentum."""

    def step(self):
        super().step()
        self.param_groups[0]["momentum"] = 0.9


def test_a_velocity_that_torch_does_not_have_from_the_first_step_on_is_no_crash():
    def update(params, grads, state):
        v = {f"v{name}": 0.8 * state[f"v{name}"] + grads[f"d{name}"] if state else 0 * w for name, w in params.items()}
        return {n: w - 0.1 * (v[f"v{n}"] if state else grads[f"d{n}"]) for n, w in params.items()}, v

    report = check_updates(update, lambda tensors: Late(tensors, lr=0.1), PARAMS)
    assert not report.ok


@pytest.mark.parametrize("rate", [1e-9, 1e-18])
def test_a_rate_that_moves_next_to_nothing_is_no_fault_where_torch_moves(rate):
    def update(params, grads, state):
        return {name: w - w.dtype.type(rate) * grads[f"d{name}"] for name, w in params.items()}, None

    gradients = [{f"d{name}": RNG.standard_normal(w.shape) for name, w in PARAMS.items()} for _ in range(3)]
    optimizer = lambda tensors: torch.optim.SGD(tensors, lr=rate)  # noqa: E731  # it reads the rate
    assert check_updates(update, optimizer, PARAMS, gradients=gradients, precisions=("float32",)).ok


def test_hidden_state_of_an_object_does_not_reach_the_next_run():
    class Momentum:
        def __init__(self):
            self.v = {}

        def step(self, params, grads, state):
            for name in params:
                self.v[name] = 0.9 * self.v.get(name, 0.0) + grads[f"d{name}"]
                params[name] -= 0.1 * self.v[name]

    assert check_updates(Momentum().step, sgd(momentum=0.9), PARAMS).findings == ()


def test_state_in_a_closure_is_not_repeatable():
    v = {}

    def update(params, grads, state):
        for name in params:
            v[name] = 0.9 * v.get(name, 0.0) + grads[f"d{name}"]
            params[name] -= 0.1 * v[name]

    report = check_updates(update, sgd(momentum=0.9), PARAMS)
    (finding,) = report.findings
    assert isinstance(finding.cause, TwoAnswers)
    assert (finding.cause.who, report.rows) == ("update", ()), "nothing else is said of it"


MISBEHAVING = {
    "raises": (lambda p, g, s: p["V"], Raised),
    "returns params alone": (lambda p, g, s: dict(p), ReturnedInstead),
    "drops a parameter": (lambda p, g, s: ({"W1": p["W1"] - 0.1 * g["dW1"]}, s), NotComputed()),
    "another shape": (lambda p, g, s: ({n: w.T for n, w in p.items()}, s), WrongShape((4, 3), (3, 4))),
    "words": (lambda p, g, s: (dict.fromkeys(p, "x"), s), NotReal("a str")),
    "changes the gradient": (
        lambda p, g, s: [g.update({n: v * 0}) or v.fill(0) for n, v in g.items()] and None,
        Mutates("update", "gradient", "dW1"),
    ),
    "nan": (lambda p, g, s: ({n: w * np.nan for n, w in p.items()}, s), NotFinite),
}


@pytest.mark.parametrize(("update", "cause"), MISBEHAVING.values(), ids=MISBEHAVING)
def test_misbehaviour_is_a_finding(update, cause):
    report = check_updates(update, sgd(), PARAMS)
    first = report.first.cause
    assert type(first) is cause if isinstance(cause, type) else first == cause, str(report)
    assert report.first.verdict == {"not-finite": "NONFINITE", "missing": "MISSING"}.get(first.code, "FAULT")


def test_an_exception_is_placed_and_what_came_instead_is_named():
    raised = check_updates(lambda p, g, s: p["V"], sgd(), PARAMS).first.cause
    assert (raised.exception, raised.message, raised.file) == ("KeyError", "'V'", named(__file__))
    instead = check_updates(lambda p, g, s: dict(p), sgd(), PARAMS).first.cause
    assert (instead.who, instead.did, instead.instead) == ("update", "returned", "a dict")


def test_float32_inside_is_recognised():
    def single(params, grads, state):
        return {n: np.float32(w) - np.float32(0.1) * np.float32(grads[f"d{n}"]) for n, w in params.items()}, state

    report = check_updates(single, sgd(), PARAMS)
    assert report.findings == (), str(report)
    assert report.notes == (Float32Only(),)
    assert "one-precision" in {spot.code for spot in report.blind_spots}


BAD = {
    "no optimiser": (lambda: check_updates(in_place(1), lambda t: None, PARAMS), "optimizer returns None"),
    "raises": (
        lambda: check_updates(in_place(1), lambda t: t.x, PARAMS),
        r"the optimizer raises AttributeError in \S*test_up",
    ),
    "closure": (lambda: check_updates(in_place(1), torch.optim.LBFGS, PARAMS), "LBFGS raises TypeError"),
    "steps": (
        lambda: check_updates(in_place(1), sgd(), PARAMS, steps=0),
        "steps is 0; it must be a whole number from 1",
    ),
    "gradients": (lambda: check_updates(in_place(1), sgd(), PARAMS, gradients=[{}]), "dW1 is missing in the gradients"),
    "no list": (lambda: check_updates(in_place(1), sgd(), PARAMS, gradients={}), "gradients must be a list"),
    "a stranger": (
        lambda: check_updates(in_place(1), sgd(), PARAMS, gradients=[{"dV": np.ones(3)}]),
        "'dV' in the gradients of step 1 is of no parameter",
    ),
    "another shape": (
        lambda: check_updates(in_place(1), sgd(), {"w": np.ones(3)}, gradients=[{"dw": np.ones(2)}]),
        r"dw has shape \(2,\)",
    ),
    "params": (lambda: check_updates(in_place(1), sgd(), {}), "params is empty"),
    "update": (lambda: check_updates(None, sgd(), PARAMS), "update is None"),
}


@pytest.mark.parametrize(("act", "words"), BAD.values(), ids=BAD)
def test_what_is_handed_over_wrongly_is_one_sentence(act, words):
    with pytest.raises(InputError, match=words):
        act()


def test_one_parameter_and_few_steps_are_blind_spots():
    report = check_updates(in_place(1), sgd(), {"w": np.ones(3)}, steps=2)
    assert {"one-parameter", "few-steps"} <= {spot.code for spot in report.blind_spots}


def test_what_torch_keeps_in_its_default_dtype_is_kept_in_float64():
    assert check_updates(nadam(), lambda t: torch.optim.NAdam(t, lr=2e-3), PARAMS).findings == ()
    assert torch.get_default_dtype() == torch.float32
    wrong = check_updates(nadam(decay=4.001e-3), lambda t: torch.optim.NAdam(t, lr=2e-3), PARAMS)
    assert wrong.first.where.name == "W1_next"


def test_a_velocity_that_torch_does_not_keep_is_noted():
    def plain(params, gradients, state):
        return {n: w - 0.1 * gradients[f"d{n}"] for n, w in params.items()}, {"vW": 99.0 * np.ones_like(params["W"])}

    start = {"W": np.random.default_rng(3).standard_normal((3, 2))}
    report = check_updates(plain, sgd(), start)
    assert report.ok
    assert report.notes == (NoBuffer(("vW",), "SGD"),)
