"""Optimisers by hand against torch.optim: every form told from its neighbours, at the step where they part."""

import numpy as np
import pytest
import torch

from handgrad import InputError, check_updates
from handgrad.compare.checks.updates import exposing_gradients

RNG = np.random.default_rng(4)
PARAMS = {"W1": RNG.standard_normal((3, 4)), "b1": RNG.standard_normal((3, 1)), "W2": RNG.standard_normal((3, 4))}


def adam(lr=1e-3, b1=0.9, b2=0.999, eps=1e-8, decay=0.0, decoupled=False, inside=False, corrected=True):
    def update(params, grads, state):
        t = 1 if state is None else state["t"] + 1
        new, kept = {}, {"t": t}
        for name, w in params.items():
            m, s = (0.0, 0.0) if state is None else state[name]
            g = grads[f"d{name}"] + (0.0 if decoupled else decay * w)
            m, s = b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g * g
            mhat, shat = (m / (1 - b1**t), s / (1 - b2**t)) if corrected else (m, s)
            root = np.sqrt(shat + eps) if inside else np.sqrt(shat) + eps
            new[name] = w * (1 - lr * decay if decoupled else 1) - lr * mhat / root
            kept[name] = (m, s)
        return new, kept

    return update


def momentum(step, lr=0.1, mu=0.9):
    """`step` gives velocity and direction from (mu, velocity, gradient)."""

    def update(params, grads, state):
        state = state or {f"v{name}": np.zeros_like(w) for name, w in params.items()}
        new, kept = {}, {}
        for name, w in params.items():
            v, direction = step(mu, state[f"v{name}"], grads[f"d{name}"])
            new[name], kept[f"v{name}"] = w - lr * direction, v
        return new, kept

    return update


def heavy_ball(mu, v, g):
    return mu * v + g, mu * v + g


def nesterov(mu, v, g):
    return mu * v + g, g + mu * (mu * v + g)


def notes(mu, v, g):
    return mu * v + (1 - mu) * g, mu * v + (1 - mu) * g


def scaled(root, start=0.0, keep=1.0, new=1.0, lr=0.1):
    """RMSprop and Adagrad: the step is lr g / root(mean square)."""

    def update(params, grads, state):
        state = state or dict.fromkeys(params, start)
        squares = {name: keep * state[name] + new * grads[f"d{name}"] ** 2 for name in params}
        return {name: w - lr * grads[f"d{name}"] / root(squares[name]) for name, w in params.items()}, squares

    return update


def sgd(**settings):
    return lambda tensors: torch.optim.SGD(tensors, lr=0.1, **settings)


RIGHT = {
    "gradient descent": (lambda p, g, s: ({n: w - 0.1 * g[f"d{n}"] for n, w in p.items()}, s), sgd()),
    "weight decay": (
        lambda p, g, s: ({n: w - 0.1 * (g[f"d{n}"] + 0.5 * w) for n, w in p.items()}, s),
        sgd(weight_decay=0.5),
    ),
    "heavy ball": (momentum(heavy_ball), sgd(momentum=0.9)),
    "nesterov": (momentum(nesterov), sgd(momentum=0.9, nesterov=True)),
    "the notes' average": (momentum(notes, lr=1.0), sgd(momentum=0.9)),
    "Adam": (adam(), lambda t: torch.optim.Adam(t, lr=1e-3)),
    "Adam with L2": (adam(decay=0.1), lambda t: torch.optim.Adam(t, lr=1e-3, weight_decay=0.1)),
    "AdamW": (adam(decay=0.1, decoupled=True), lambda t: torch.optim.AdamW(t, lr=1e-3, weight_decay=0.1)),
    "RMSprop": (scaled(lambda s: np.sqrt(s) + 1e-8, 0.0, 0.99, 0.01), lambda t: torch.optim.RMSprop(t, lr=0.1)),
    "Adagrad": (scaled(lambda s: np.sqrt(s) + 1e-10), lambda t: torch.optim.Adagrad(t, lr=0.1)),
}


@pytest.mark.parametrize(("update", "optimizer"), RIGHT.values(), ids=RIGHT)
def test_right_updates_are_left_in_peace(update, optimizer):
    report = check_updates(update, optimizer, PARAMS)
    assert report.findings == (), str(report)
    assert len({row.step for row in report.rows}) == 5
    assert max(row.rho for row in report.rows) < 0.1


def test_a_velocity_in_another_convention_is_a_note():
    report = check_updates(*RIGHT["the notes' average"], PARAMS)
    assert report.notes == ("Convention: the velocity is 0.1 times torch's, and the update makes up for it.",)


def per_parameter(params, grads, state):
    """Adam whose step counter advances once per parameter."""
    step, t, new, kept = adam(), 0 if state is None else state["t"], {}, {}
    for name in params:
        inner = None if state is None else {"t": t, name: state[name]}
        inner = {"t": t, name: (0.0, 0.0)} if inner is None else inner
        one, after = step({name: params[name]}, grads, inner)
        new |= one
        kept[name] = after[name]
        t += 1
    return new, kept | {"t": t}


def in_place(sign):
    def update(params, grads, state):
        for name in params:
            params[name] -= sign * 0.1 * grads[f"d{name}"]

    return update


WRONG = {
    "epsilon inside the root": (adam(inside=True), RIGHT["Adam"][1], 1, "W1_next", "update-form"),
    "epsilon ten times too large": (adam(eps=1e-7), RIGHT["Adam"][1], 1, "W1_next", "update-form"),
    "no bias correction": (adam(corrected=False), RIGHT["Adam"][1], 1, "W1_next", "momentum-form"),
    "decoupled for L2": (adam(decay=0.1, decoupled=True), RIGHT["Adam with L2"][1], 1, "W1_next", "update-form"),
    "L2 for decoupled": (adam(decay=0.1), RIGHT["AdamW"][1], 1, "W1_next", "update-form"),
    "counter per parameter": (per_parameter, RIGHT["Adam"][1], 1, "b1_next", "unknown"),
    "Nesterov for heavy ball": (momentum(nesterov), sgd(momentum=0.9), 1, "W1_next", "momentum-form"),
    "heavy ball for Nesterov": (momentum(heavy_ball), sgd(momentum=0.9, nesterov=True), 1, "W1_next", "momentum-form"),
    "the notes' average for heavy ball": (momentum(notes), sgd(momentum=0.9), 1, "vW1", "scale"),
    "no memory": (momentum(lambda mu, v, g: (g, g)), sgd(momentum=0.9), 2, "vW1", "reset"),
    "ascent": (in_place(-1), sgd(), 1, "W1_next", "update-form"),
    "rate twice": (in_place(0.1), sgd(), 1, "W1_next", "update-form"),
    "update lost": (lambda p, g, s: None, sgd(), 1, "W1_next", "zero"),
    "decay missing": (RIGHT["gradient descent"][0], sgd(weight_decay=0.5), 1, "W1_next", "regularisation"),
    "bias left out": (
        lambda p, g, s: ({n: w - 0.1 * g[f"d{n}"] * (n != "b1") for n, w in p.items()}, s),
        sgd(),
        1,
        "b1_next",
        "update-form",
    ),
    "epsilon of RMSprop inside": (
        scaled(lambda s: np.sqrt(s + 1e-8), 0.0, 0.99, 0.01), RIGHT["RMSprop"][1], 1, "W1_next", "unknown"
    ),
    "a millionth off": (momentum(heavy_ball, mu=0.9 * (1 + 1e-6)), sgd(momentum=0.9), 2, "vW1", "unknown"),
}  # fmt: skip


@pytest.mark.parametrize(("update", "optimizer", "step", "name", "cause"), WRONG.values(), ids=WRONG)
def test_each_wrong_update_is_found_where_it_first_acts(update, optimizer, step, name, cause):
    report = check_updates(update, optimizer, PARAMS)
    assert not report.ok
    first = report.first
    assert (first.step, first.phase, first.name, first.cause) == (step, "update", name, cause), str(report)


def test_what_is_only_visible_from_zero_is_said_so():
    tiny = [{f"d{name}": np.full(w.shape, 1e-14) for name, w in PARAMS.items()}] * 5
    report = check_updates(in_place(1.01), sgd(), PARAMS, gradients=tiny)
    assert report.first.cause == "scale"
    assert "started from 0, where small steps show" in report.first.explanation


def test_the_drawn_gradients_hold_what_exposes_optimisers():
    drawn = exposing_gradients({"W": np.zeros((5, 20))}, 6)
    stack = np.abs([each["dW"] for each in drawn])
    assert (stack == 0).any()
    assert ((0 < stack) & (stack < 1e-6)).any()
    assert (stack > 1e3).any()
    signs = np.sign([each["dW"] for each in drawn])
    assert (signs[0] == -signs[1]).any()
    assert [bool(step.max() < 1) for step in stack] == [False, False, False, True, False, False]


def test_given_gradients_that_move_nothing_compare_nothing():
    zeros = {f"d{name}": np.zeros(w.shape) for name, w in PARAMS.items()}
    first = check_updates(in_place(1.01), sgd(), PARAMS, gradients=[zeros] * 3).first
    assert (first.verdict, first.name, first.cause) == ("FAULT", "W1_next", "zero")
    assert "on either side, so nothing is compared; give gradients, and a rate, that move them" in first.explanation
    report = check_updates(in_place(1.0), sgd(), PARAMS, gradients=[{**zeros, "db1": np.ones((3, 1))}] * 3)
    assert report.ok, str(report)
    assert "the update of W1, W2 (no step changes it; give gradients that are not zero)" in str(report)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_rate_that_is_a_hundred_times_too_large_is_no_momentum(steps):
    """Within one step, or on gradients that stay, momentum at another rate would explain it as well."""
    given = [{f"d{name}": np.full(w.shape, 0.3) for name, w in PARAMS.items()}] * steps
    first = check_updates(in_place(100), sgd(), PARAMS, gradients=given).first
    assert (first.cause, first.factor) == ("scale", pytest.approx(100)), first.explanation


def test_the_settings_that_are_named_are_all_that_the_rule_has():
    def twice(params, grads, state):
        m = {n: 0.9 * (state[n] if state else 0) + grads[f"d{n}"] for n in params}
        return {n: w - 0.2 * (grads[f"d{n}"] + 0.9 * m[n]) for n, w in params.items()}, m

    first = check_updates(twice, sgd(momentum=0.9, nesterov=True), PARAMS).first
    assert "torch.optim.SGD(lr=0.2, momentum=0.9, nesterov=True)" in first.explanation
    first = check_updates(in_place(1.0), sgd(maximize=True), PARAMS).first
    assert "it descends, as torch.optim.SGD(lr=0.1, maximize=False)" in first.explanation


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
    names = {f"v{name}" if shown else f"{name}_next" for name in PARAMS}
    assert {(f.step, f.name, f.cause) for f in report.findings} == {(4, name, "reset") for name in names}, str(report)


def test_what_is_wrong_beside_a_lost_velocity_is_not_taken_to_follow_from_it():
    def update(params, grads, state, beside):
        t, v = state["t"] if state else 0, {}
        for name in params:
            v[name] = grads[f"d{name}"] + (0.9 * state[f"v{name}"] if t != 2 else 0) if t else grads[f"d{name}"] * 1.0
            params[name] = params[name] - (-7 if beside == "ascent" and t == 2 else 0.1) * v[name]
        if beside == "mutated" and t == 2:
            grads["dW1"] *= 0
        return params, {"t": t + 1, **{f"v{name}": v[name] for name in v}}

    for beside, cause in (("ascent", None), ("mutated", "mutated-input")):
        report = check_updates(lambda *given, b=beside: update(*given, b), sgd(momentum=0.9), PARAMS)
        others = {finding.cause for finding in report.findings if finding.name.endswith("_next")}
        assert others, str(report)
        assert cause is None or cause in others, str(report)


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
    optimizer = lambda tensors: torch.optim.SGD(tensors, lr=rate)  # noqa: E731
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

    first = check_updates(update, sgd(momentum=0.9), PARAMS).first
    assert first.cause == "not-repeatable"
    assert "keep what the optimiser remembers in `state`" in first.explanation


MISBEHAVING = {
    "raises": (lambda p, g, s: p["V"], "exception", r"KeyError in test_updates.py line \d+: 'V'"),
    "returns params alone": (lambda p, g, s: dict(p), "missing", r"returned a dict; return \(params, state\) or None"),
    "drops a parameter": (lambda p, g, s: ({"W1": p["W1"] - 0.1 * g["dW1"]}, s), "missing", "return every parameter"),
    "another shape": (lambda p, g, s: ({n: w.T for n, w in p.items()}, s), "shape", "it looks transposed"),
    "words": (lambda p, g, s: (dict.fromkeys(p, "x"), s), "missing", "it is str after the update"),
    "changes the gradient": (lambda p, g, s: [g.update({n: v * 0}) or v.fill(0) for n, v in g.items()] and None,
                             "mutated-input", "the gradient belongs to the caller"),
    "nan": (lambda p, g, s: ({n: w * np.nan for n, w in p.items()}, s), "not-finite", "nan"),
}  # fmt: skip


@pytest.mark.parametrize(("update", "cause", "words"), MISBEHAVING.values(), ids=MISBEHAVING)
def test_misbehaviour_is_a_finding(update, cause, words):
    import re

    report = check_updates(update, sgd(), PARAMS)
    assert report.first.cause == cause, str(report)
    assert re.search(words, report.first.explanation), report.first.explanation


def test_float32_inside_is_recognised():
    def single(params, grads, state):
        return {n: np.float32(w) - np.float32(0.1) * np.float32(grads[f"d{n}"]) for n, w in params.items()}, state

    report = check_updates(single, sgd(), PARAMS)
    assert report.findings == (), str(report)
    assert any("computes in float32" in note for note in report.notes)


BAD = {
    "no optimiser": (lambda: check_updates(in_place(1), lambda t: None, PARAMS), "optimizer returns None"),
    "raises": (
        lambda: check_updates(in_place(1), lambda t: t.x, PARAMS),
        r"the optimizer raises AttributeError in test_up",
    ),
    "closure": (lambda: check_updates(in_place(1), torch.optim.LBFGS, PARAMS), "LBFGS raises TypeError"),
    "steps": (
        lambda: check_updates(in_place(1), sgd(), PARAMS, steps=0),
        "steps is 0; it must be a whole number from 1",
    ),
    "gradients": (lambda: check_updates(in_place(1), sgd(), PARAMS, gradients=[{}]), "dW1 is missing in the gradients"),
    "params": (lambda: check_updates(in_place(1), sgd(), {}), "params is empty"),
    "update": (lambda: check_updates(None, sgd(), PARAMS), "update is None"),
}


@pytest.mark.parametrize(("act", "words"), BAD.values(), ids=BAD)
def test_what_is_handed_over_wrongly_is_one_sentence(act, words):
    with pytest.raises(InputError, match=words):
        act()


def test_one_parameter_and_few_steps_are_blind_spots():
    report = check_updates(in_place(1), sgd(), {"w": np.ones(3)}, steps=2)
    assert any("step counter advanced once per parameter" in spot for spot in report.blind_spots)
    assert any("state that builds up" in spot for spot in report.blind_spots)


def nadam(lr=2e-3, b1=0.9, b2=0.999, eps=1e-8, decay=4e-3):
    """NAdam, whose torch twin keeps a running product in torch's default dtype."""

    def update(params, grads, state):
        t = 1 if state is None else state["t"] + 1
        mu, following = (b1 * (1 - 0.5 * 0.96 ** (k * decay)) for k in (t, t + 1))
        product = mu * (1.0 if state is None else state["product"])
        new, kept = {}, {"t": t, "product": product}
        for name, w in params.items():
            m, s = (0.0, 0.0) if state is None else state[name]
            g = grads[f"d{name}"]
            m, s = b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g * g
            ahead = following * m / (1 - product * following) + (1 - mu) * g / (1 - product)
            new[name] = w - lr * ahead / (np.sqrt(s / (1 - b2**t)) + eps)
            kept[name] = (m, s)
        return new, kept

    return update


def test_what_torch_keeps_in_its_default_dtype_is_kept_in_float64():
    assert check_updates(nadam(), lambda t: torch.optim.NAdam(t, lr=2e-3), PARAMS).findings == ()
    assert torch.get_default_dtype() == torch.float32
    wrong = check_updates(nadam(decay=4.001e-3), lambda t: torch.optim.NAdam(t, lr=2e-3), PARAMS)
    assert wrong.first.name == "W1_next"


def test_a_velocity_that_torch_does_not_keep_is_noted():
    def plain(params, gradients, state):
        return {n: w - 0.1 * gradients[f"d{n}"] for n, w in params.items()}, {"vW": 99.0 * np.ones_like(params["W"])}

    start = {"W": np.random.default_rng(3).standard_normal((3, 2))}
    report = check_updates(plain, lambda tensors: torch.optim.SGD(tensors, lr=0.1), start)
    assert report.ok
    assert "vW is not compared: torch's SGD keeps no momentum buffer." in report.notes
