"""Training loops by hand: torch follows, and every mistake of state shows at the step where it happens."""

import re

import numpy as np
import pytest
import torch

from handgrad import InputError, check_training, mlp, tap

RNG = np.random.default_rng(6)
PARAMS = {
    "W1": RNG.standard_normal((4, 3)),
    "b1": RNG.standard_normal((4, 1)),
    "W2": RNG.standard_normal((2, 4)),
    "b2": RNG.standard_normal((2, 1)),
}
BATCHES = [(RNG.standard_normal((3, n)), RNG.standard_normal((2, n))) for n in (5, 5, 3, 5, 5, 3)]


def reference(p, X, Y):
    A1 = tap("A1", torch.tanh(p["W1"] @ X + p["b1"]))
    return ((p["W2"] @ A1 + p["b2"] - Y) ** 2).sum() / (2 * X.shape[1])


def gradients(p, X, Y, n, cached):
    A1 = np.tanh(p["W1"] @ X + p["b1"])
    dZ2 = (p["W2"] @ A1 + p["b2"] - Y) / n
    dZ1 = p["W2"].T @ dZ2 * (1 - A1**2)
    found = {"A1": A1, "dW2": dZ2 @ A1.T, "db2": dZ2.sum(1, keepdims=True)}
    return found | {"dW1": dZ1 @ cached[:, : X.shape[1]].T, "db1": dZ1.sum(1, keepdims=True)}


def trainer(mistake="", shows=()):
    """Momentum in torch's heavy-ball form; `shows`: what is yielded beside the parameters."""

    def train(params, batches):
        p, v, total, first = dict(params), dict.fromkeys(params, 0.0), {}, batches[0][0]
        for step, (X, Y) in enumerate(batches):
            n = 5 if mistake == "nominal size" else X.shape[1]
            found = gradients(p, X, Y, n, first if mistake == "stale cache" else X)
            for name in p:
                g = found[f"d{name}"]
                if mistake == "accumulated":
                    g = total[name] = total.get(name, 0.0) + g
                if mistake == "none" or (mistake == "reset" and step == 3):
                    v[name] = 0.0 * g
                v[name] = 0.9 * v[name] + factor(mistake, step) * g
                p[name] = p[name] - 0.1 * v[name]
            shown = {**found, **{f"v{name}": v[name] for name in p}}
            yield {**p, **{name: shown[name] for name in shows}}

    return train


def factor(mistake, step):
    return 0.3 if mistake == "scaled" or (mistake == "damped" and step == 0) else 1.0


def sgd(tensors):
    return torch.optim.SGD(tensors, lr=0.1, momentum=0.9)


GRADIENTS = ("A1", "dW1", "db1", "dW2", "db2")
VELOCITIES = tuple(f"v{name}" for name in PARAMS)
SHOWN = {"weights alone": (), "gradients": GRADIENTS, "velocities": VELOCITIES, "all": GRADIENTS + VELOCITIES}


@pytest.mark.parametrize("shows", SHOWN.values(), ids=SHOWN)
def test_a_right_loop_is_left_in_peace(shows):
    report = check_training(trainer(shows=shows), reference, sgd, PARAMS, BATCHES)
    assert report.findings == (), str(report)
    assert len({row.step for row in report.rows}) == len(BATCHES)
    assert {row.name for row in report.rows} == {*shows, *(f"{name}_next" for name in PARAMS)}


MISTAKES = {
    "stale cache": (2, {"weights alone": "W1_next", "gradients": "dW1", "velocities": "vW1", "all": "dW1"}),
    "nominal size": (3, {"weights alone": "W1_next", "gradients": "db2", "velocities": "vW1", "all": "db2"}),
    "accumulated": (2, {"weights alone": "W1_next", "gradients": "W1_next", "velocities": "vW1", "all": "vW1"}),
    "reset": (4, {"weights alone": "W1_next", "gradients": "W1_next", "velocities": "vW1", "all": "vW1"}),
    "damped": (1, {"weights alone": "W1_next", "gradients": "W1_next", "velocities": "vW1", "all": "vW1"}),
}


@pytest.mark.parametrize("shown", SHOWN)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_of_state_is_found_at_its_step(mistake, shown):
    step, names = MISTAKES[mistake]
    report = check_training(trainer(mistake, SHOWN[shown]), reference, sgd, PARAMS, BATCHES)
    assert not report.ok
    assert (report.first.step, report.first.name) == (step, names[shown]), str(report)
    if report.first.name.startswith("v"):
        assert {finding.name for finding in report.findings} <= set(VELOCITIES), "weights follow from their velocity"


@pytest.mark.parametrize(("mistake", "cause"), [("scaled", "scale"), ("damped", "unknown")])
def test_a_factor_of_the_first_update_is_named_if_it_is_that_of_every_step(mistake, cause):
    first = check_training(trainer(mistake), reference, sgd, PARAMS, BATCHES).first
    assert (first.step, first.name, first.cause) == (1, "W1_next", cause)
    assert ("every entry of the update is 0.3 times torch's" in first.explanation) == (cause == "scale")


@pytest.mark.parametrize("shows", [(), VELOCITIES], ids=["weights alone", "velocities"])
def test_a_velocity_that_is_lost_is_called_reset_and_comes_from_nowhere(shows):
    report = check_training(trainer("reset", shows), reference, sgd, PARAMS, BATCHES)
    assert {finding.cause for finding in report.findings} == {"reset"}, str(report)
    assert "what the optimiser had kept is lost at this one" in report.first.explanation
    assert ("both from" in report.first.explanation) == (not shows)
    plain = check_training(trainer("none", shows), reference, sgd, PARAMS, BATCHES)
    assert {finding.cause for finding in plain.findings} == {"reset" if shows else "momentum-form"}, str(plain)


def test_a_factor_that_is_another_at_another_step_is_said_so():
    """Divided by the examples twice, a gradient is 1/5 of what it should be, and 1/3 for a batch of three."""

    def averaging(p, batches):
        for X, Y in batches:
            found = gradients(p, X, Y, X.shape[1], X)
            found["dW2"] = found["dW2"] / X.shape[1]
            p = {name: w - 0.1 * found[f"d{name}"] for name, w in p.items()}
            yield p

    first = check_training(averaging, reference, lambda t: torch.optim.SGD(t, lr=0.1), PARAMS, BATCHES).first
    assert (first.name, first.cause, first.factor) == ("W2_next", "scale", pytest.approx(0.2))
    assert "0.2 times torch's, too small, and by other factors at other steps" in first.explanation


def test_the_list_of_batches_is_the_trainers_own():
    def popping(p, batches):
        while batches:
            X, Y = batches.pop(0)
            found = gradients(p, X, Y, X.shape[1], X)
            p = {name: w - 0.1 * found[f"d{name}"] for name, w in p.items()}
            yield p

    def plain(tensors):
        return torch.optim.SGD(tensors, lr=0.1)

    assert check_training(popping, reference, plain, PARAMS, BATCHES).findings == ()


def hinge(p, X, Y):
    return torch.relu(p["W"] @ X - Y).mean() + p["b"] ** 2


def ascending(params, batches):
    p = dict(params)
    for X, Y in batches:
        p = {"W": p["W"] + 77 * (p["W"] @ X > Y) @ X.T, "b": p["b"] - 0.2 * p["b"]}
        yield p


def test_what_no_step_changes_on_either_side_is_not_compared():
    """Where every margin is met, the wrong update of W, with any rate and sign, is that of torch."""
    met = [(X, 100 + Y[:1]) for X, Y in BATCHES]
    params = {"W": np.ones((1, 3)), "b": np.array(1.5)}
    report = check_training(ascending, hinge, lambda tensors: torch.optim.SGD(tensors, lr=0.1), params, met)
    assert report.findings == (), str(report)
    assert "the update of W (no step changes it" in str(report)
    first = check_training(
        ascending, hinge, lambda tensors: torch.optim.SGD(tensors, lr=0.1), {**params, "b": np.array(0.0)}, met
    ).first
    assert (first.verdict, first.name, first.cause) == ("FAULT", "W_next", "zero")
    assert "on either side, so nothing is compared; choose params, batches and a rate" in first.explanation


def test_steps_too_small_for_float32_are_no_fault_where_torch_takes_them():
    def slow(p, batches):
        for X, Y in batches:
            found = gradients(p, X, Y, X.shape[1], X)
            p = {name: w - w.dtype.type(1e-9) * found[f"d{name}"] for name, w in p.items()}
            yield p

    plain = lambda tensors: torch.optim.SGD(tensors, lr=1e-9)  # noqa: E731
    assert check_training(slow, reference, plain, PARAMS, BATCHES, precisions=("float32",)).findings == ()


def test_torch_goes_on_from_the_velocity_that_was_yielded():
    report = check_training(trainer("reset", VELOCITIES), reference, sgd, PARAMS, BATCHES)
    wrong = {(row.step, row.name) for row in report.rows if row.verdict != "OK"}
    assert wrong == {(4, name) for name in (*VELOCITIES, *(f"{name}_next" for name in PARAMS))}


def test_an_undamped_first_step_is_found_at_step_1():
    def damped(tensors):
        optimizer = torch.optim.SGD(tensors, lr=0.1, momentum=0.9, dampening=0.9)
        for tensor in tensors:
            optimizer.state[tensor]["momentum_buffer"] = torch.zeros_like(tensor)
        return optimizer

    def notes(undamped):
        def train(params, batches):
            p, v = dict(params), dict.fromkeys(params, 0.0)
            for step, (X, Y) in enumerate(batches):
                found = gradients(p, X, Y, X.shape[1], X)
                for name in p:
                    v[name] = 0.9 * v[name] + (1.0 if undamped and step == 0 else 0.1) * found[f"d{name}"]
                    p[name] = p[name] - 0.1 * v[name]
                yield dict(p)

        return train

    assert check_training(notes(False), reference, damped, PARAMS, BATCHES).findings == ()
    first = check_training(notes(True), reference, damped, PARAMS, BATCHES).first
    assert (first.step, first.name, first.cause) == (1, "W1_next", "momentum-form")
    assert "momentum=0.9" in first.explanation


def test_a_velocity_in_another_convention_is_a_note():
    def train(params, batches):
        p, v = dict(params), dict.fromkeys(params, 0.0)
        for X, Y in batches:
            found = gradients(p, X, Y, X.shape[1], X)
            for name in p:
                v[name] = 0.9 * v[name] + 0.1 * found[f"d{name}"]
                p[name] = p[name] - v[name]
            yield {**p, **{f"v{name}": v[name] for name in p}}

    report = check_training(train, reference, sgd, PARAMS, BATCHES)
    assert report.findings == (), str(report)
    assert report.notes == ("Convention: the velocity is 0.1 times torch's, and the update makes up for it.",)


def cut(count):
    def train(params, batches):
        for step, values in enumerate(trainer()(params, batches)):
            if step == count:
                return
            yield values

    return train


def longer(params, batches):
    yield from trainer()(params, batches)
    yield dict(params)


def endless(params, batches):
    while True:
        yield dict(params)


def failing(params, batches):
    yield from cut(2)(params, batches)
    raise RuntimeError("out of data")


def overwriting(params, batches):
    for X, _ in batches:
        X[:] = 0
        yield {name: w - 1 for name, w in params.items()}


DRAWS = np.random.default_rng()
ENDINGS = {
    "too few": (
        cut(2),
        3,
        "missing",
        "the trainer yields 2 times for 6 batches; yield once per batch, after the update",
    ),
    "none": (cut(0), 1, "missing", "yields 0 times for 6 batches"),
    "too many": (longer, 7, "unknown", "more than 6 times for 6 batches"),
    "raises": (failing, 3, "exception", r"RuntimeError in test_training.py line \d+: out of data"),
    "yields None": (lambda p, b: (None for _ in b), 1, "missing", "yields None; yield a dict"),
    "no generator": (lambda p, b: None, 1, "missing", "returns None; make it a generator"),
    "a dict": (lambda p, b: dict(p), 1, "missing", "returns a dict; make it a generator"),
    "a parameter missing": (lambda p, b: ({"W1": p["W1"]} for _ in b), 1, "missing", "return every parameter|update"),
    "another shape": (lambda p, b: ({n: w.T for n, w in p.items()} for _ in b), 1, "shape", "it must stay"),
    "never moves": (lambda p, b: (dict(p) for _ in b), 1, "zero", "no step changes any parameter"),
    "endless": (endless, 1, "zero", "no step changes any parameter"),
    "random": (
        lambda p, b: ({n: w + DRAWS.random() for n, w in p.items()} for _ in b),
        1,
        "not-repeatable",
        "run twice",
    ),
}


@pytest.mark.parametrize(("train", "step", "cause", "words"), ENDINGS.values(), ids=ENDINGS)
def test_what_a_trainer_does_is_a_finding(train, step, cause, words):
    report = check_training(train, reference, sgd, PARAMS, BATCHES)
    found = [finding for finding in report.findings if finding.cause == cause]
    assert found, str(report)
    assert found[0].step == step
    assert re.search(words, found[0].explanation), found[0].explanation
    assert not report.ok


def test_changed_batches_are_a_finding():
    report = check_training(overwriting, reference, sgd, PARAMS, BATCHES)
    assert "mutated-input" in {finding.cause for finding in report.findings}


def test_what_is_yielded_is_copied_at_the_yield():
    def reusing(params, batches):
        out = {}
        for values in trainer()(params, batches):
            for name, value in values.items():
                out.setdefault(name, np.empty_like(value))[...] = value
            yield out

    assert check_training(reusing, reference, sgd, PARAMS, BATCHES).findings == ()


BAD = {
    "batches": (lambda: check_training(trainer(), reference, sgd, PARAMS, []), "batches must be a list"),
    "one batch": (lambda: check_training(trainer(), reference, sgd, PARAMS, BATCHES[0][0]), "batches must be a list"),
    "trainer": (lambda: check_training(3, reference, sgd, PARAMS, BATCHES), "trainer is an int"),
}


@pytest.mark.parametrize(("act", "words"), BAD.values(), ids=BAD)
def test_what_is_handed_over_wrongly_is_one_sentence(act, words):
    with pytest.raises(InputError, match=words):
        act()


def test_equal_batches_and_bare_weights_are_blind_spots():
    report = check_training(trainer(), reference, sgd, PARAMS, BATCHES[:1])
    spots = " ".join(report.blind_spots)
    for words in ("state carried from step to step", "a short batch", "only parameters are yielded"):
        assert words in spots


def test_what_torch_has_nothing_of_is_a_note_and_no_finding():
    def train(params, batches):
        for values in trainer(shows=("dW1",))(params, batches):
            yield {**values, "mW1": values["W1"], "rate": 0.1, "dw2": values["W2"]}

    report = check_training(train, reference, sgd, PARAMS, BATCHES)
    assert report.findings == (), str(report)
    assert [note.partition(" ")[0] for note in report.notes] == ["mW1", "rate", "dw2"]
    assert "did you mean 'dW2'?" in report.notes[2]


def test_the_same_arrays_for_every_step_are_aliased():
    def train(params, batches):
        steps = []
        for X, Y in batches:
            found = gradients(params, X, Y, X.shape[1], X)
            for name in params:
                params[name] -= 0.1 * found[f"d{name}"]
            steps.append(params)
        return steps

    assert check_training(train, reference, sgd, PARAMS, BATCHES).first.cause == "aliased"


def test_an_optimizer_that_holds_other_tensors_is_refused():
    with pytest.raises(InputError, match="the optimizer does not hold b1"):
        check_training(trainer(), reference, lambda t: sgd(t[:1]), PARAMS, BATCHES)


def in_float32(wrong=1.0, yields=()):
    """Computes and keeps everything in float32, whatever it is handed."""

    def train(params, batches):
        p = {name: w.astype("f4") for name, w in params.items()}
        for X, Y in ((X.astype("f4"), Y.astype("f4")) for X, Y in batches):
            Z1 = p["W1"] @ X + p["b1"]
            A1 = np.tanh(Z1)
            dZ2 = (p["W2"] @ A1 + p["b2"] - Y) / np.float32(X.shape[1])
            dZ1 = p["W2"].T @ dZ2 * (1 - A1 * A1)
            g = {
                "dW1": dZ1 @ X.T,
                "db1": dZ1.sum(1, keepdims=True),
                "dW2": dZ2 @ A1.T,
                "db2": dZ2.sum(1, keepdims=True),
            }
            p = {name: w - np.float32(0.1 * wrong) * g[f"d{name}"] for name, w in p.items()}
            yield {**p, **{name: g[name] for name in yields}}

    return train


FLOAT32_CASE = (
    mlp((3, 4, 2), ("tanh", "identity"), "squared-error"),
    lambda tensors: torch.optim.SGD(tensors, lr=0.1),
    {
        name: np.random.default_rng(8).standard_normal(shape)
        for name, shape in {"W1": (4, 3), "b1": (4, 1), "W2": (2, 4), "b2": (2, 1)}.items()
    },
    [
        (np.random.default_rng(k).standard_normal((3, 6)), np.random.default_rng(-k % 99).standard_normal((2, 6)))
        for k in range(4)
    ],
)


@pytest.mark.parametrize("yields", [(), ("dW1", "db2")], ids=["parameters", "gradients too"])
def test_a_trainer_that_computes_in_float32_is_recognised_and_left_in_peace(yields):
    report = check_training(in_float32(yields=yields), *FLOAT32_CASE)
    assert report.ok, str(report)
    assert any("computes in float32 also where it is handed float64" in note for note in report.notes)
    wrong = check_training(in_float32(1.01, yields), *FLOAT32_CASE)
    assert wrong.first.name == "W1_next", str(wrong)
