"""Training loops by hand: torch follows, and every mistake of state shows at the step where it happens."""

import numpy as np
import pytest
import torch

from handgrad import InputError, check_training, mlp
from handgrad.compare.facts.causes import Scaled, Unknown
from handgrad.compare.facts.failures import (
    Aliased,
    Mutates,
    NeverMoves,
    NotComputed,
    NothingMoves,
    Raised,
    ReturnedInstead,
    TooFewYields,
    TooManyYields,
    TwoAnswers,
    WrongShape,
)
from handgrad.compare.facts.remarks import Float32Only, NotTapped, VelocityTimes
from handgrad.compare.facts.updates import OfGradient, OptimizerReset, OtherMomentum
from handgrad.compare.ownership import named
from tests.compare.checks.trainers import (
    BATCHES,
    PARAMS,
    VELOCITIES,
    gradients,
    momentum,
    plain,
    reference,
    sgd,
    trainer,
)

GRADIENTS = ("A1", "dW1", "db1", "dW2", "db2")
SHOWN = {"weights alone": (), "gradients": GRADIENTS, "velocities": VELOCITIES, "all": GRADIENTS + VELOCITIES}


def descent(tensors):
    return torch.optim.SGD(tensors, lr=0.1)


def spots_of(report):
    return {spot.code: spot for spot in report.blind_spots}


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
    assert (report.first.where.step, report.first.where.name) == (step, names[shown]), str(report)
    if report.first.where.name in VELOCITIES:
        assert {finding.where.name for finding in report.findings} <= {*VELOCITIES}, (
            "weights follow from their velocity"
        )


def test_a_factor_of_the_first_update_is_named_if_it_is_that_of_every_step():
    first = check_training(trainer("scaled"), reference, sgd, PARAMS, BATCHES).first
    assert (*first.where, type(first.cause)) == (1, "update", "W1_next", Scaled)
    assert (first.cause.factor, first.cause.of_update, first.cause.varies) == (pytest.approx(0.3), True, False)
    first = check_training(trainer("damped"), reference, sgd, PARAMS, BATCHES).first
    assert (*first.where, first.cause) == (1, "update", "W1_next", Unknown())


def test_a_velocity_that_is_lost_is_called_reset():
    report = check_training(trainer("reset", VELOCITIES), reference, sgd, PARAMS, BATCHES)
    (finding,) = report.findings
    assert (*finding.where, finding.cause) == (4, "update", VELOCITIES[0], OptimizerReset())
    assert finding.together == VELOCITIES[1:]
    assert report.first.worst.before is None, "it comes from nowhere"
    never = check_training(trainer("none", VELOCITIES), reference, sgd, PARAMS, BATCHES)
    assert {finding.cause for finding in never.findings} == {OptimizerReset()}, str(never)


def test_a_velocity_that_is_lost_and_not_yielded_shows_in_the_update():
    report = check_training(trainer("reset"), reference, sgd, PARAMS, BATCHES)
    assert {(finding.where.step, finding.cause) for finding in report.findings} == {(4, OptimizerReset())}
    assert report.first.worst.before is not None
    never = check_training(trainer("none"), reference, sgd, PARAMS, BATCHES)
    assert {type(finding.cause) for finding in never.findings} == {OtherMomentum}, str(never)


def test_a_factor_that_is_the_size_of_each_batch_is_one_of_the_gradient():
    """Divided by the examples twice, a gradient is 1/5 of what it should be, and 1/3 for a batch of three."""

    def averaging(p, batches):
        for X, Y in batches:
            along = gradients(p, X, Y)
            along["dW2"] = along["dW2"] / X.shape[1]
            p = {name: w - 0.1 * along[f"d{name}"] for name, w in p.items()}
            yield p

    first = check_training(averaging, reference, descent, PARAMS, BATCHES).first
    assert (first.where.name, first.factor) == ("W2_next", pytest.approx(0.2))
    assert first.others == (Scaled(first.factor, of_update=True, varies=True),)
    assert isinstance(first.cause, OfGradient)
    assert isinstance(first.cause.mistake, Scaled)
    assert first.cause.mistake.names


def test_the_list_of_batches_is_the_trainers_own():
    def popping(p, batches):
        while batches:
            yield (p := next(plain(p, [batches.pop(0)])))

    assert check_training(popping, reference, descent, PARAMS, BATCHES).findings == ()


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
    report = check_training(ascending, hinge, descent, params, met)
    assert report.findings == (), str(report)
    assert spots_of(report)["unmoved"].of == ("W",)
    first = check_training(ascending, hinge, descent, {**params, "b": np.array(0.0)}, met).first
    assert (first.verdict, first.where.name, type(first.cause)) == ("FAULT", "W_next", NothingMoves)


def test_steps_too_small_for_float32_are_no_fault_where_torch_takes_them():
    def slow(p, batches):
        for X, Y in batches:
            along = gradients(p, X, Y)
            p = {name: w - w.dtype.type(1e-9) * along[f"d{name}"] for name, w in p.items()}
            yield p

    def slow_descent(tensors):
        return torch.optim.SGD(tensors, lr=1e-9)

    assert check_training(slow, reference, slow_descent, PARAMS, BATCHES, precisions=("float32",)).findings == ()


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

    def undamped(step):
        return 0.1 if step else 1.0

    assert check_training(momentum(0.9, lambda _: 0.1, 0.1), reference, damped, PARAMS, BATCHES).findings == ()
    first = check_training(momentum(0.9, undamped, 0.1), reference, damped, PARAMS, BATCHES).first
    assert (*first.where, type(first.cause)) == (1, "update", "W1_next", OtherMomentum)
    assert "momentum=0.9" in first.cause.optimizer


def test_a_velocity_in_another_convention_is_a_note():
    report = check_training(momentum(0.9, lambda _: 0.1, 1.0, shown=True), reference, sgd, PARAMS, BATCHES)
    assert report.findings == (), str(report)
    (note,) = report.notes
    assert isinstance(note, VelocityTimes)
    assert note.factor == pytest.approx(0.1)
    for row in (row for row in report.rows if row.name in VELOCITIES):
        assert (row.verdict, row.by_hand) == ("OK", pytest.approx(row.torch)), "it is shown as torch has it"
        assert row.max_abs_diff < 1e-12


def test_a_velocity_in_another_convention_that_the_update_does_not_make_up_for_is_a_fault():
    report = check_training(momentum(0.9, lambda _: 0.1, 0.1, shown=True), reference, sgd, PARAMS, BATCHES)
    assert (*report.first.where, report.notes) == (1, "update", "vW1", ())
    assert (report.first.cause.code, report.first.factor) == ("scale", pytest.approx(0.1))


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


def in_place(params, batches):
    """A list of one and the same arrays."""
    steps = []
    for X, Y in batches:
        along = gradients(params, X, Y)
        for name in params:
            params[name] -= 0.1 * along[f"d{name}"]
        steps.append(params)
    return steps


DRAWS = np.random.default_rng()
TRANSPOSED = WrongShape((3, 4), (4, 3))
ENDINGS = {
    "too few": (cut(2), (3, "W1_next", "MISSING"), TooFewYields(2, 6)),
    "one": (cut(1), (2, "W1_next", "MISSING"), TooFewYields(1, 6)),
    "none": (cut(0), (1, "W1_next", "MISSING"), TooFewYields(0, 6)),
    "too many": (longer, (7, "W1_next", "FAULT"), TooManyYields(6)),
    "raises": (failing, (3, "W1_next", "FAULT"), Raised),
    "yields None": (lambda p, b: (None for _ in b), (1, "W1_next", "MISSING"), ReturnedInstead),
    "no generator": (lambda p, b: None, (1, "W1_next", "MISSING"), ReturnedInstead),
    "a dict": (lambda p, b: dict(p), (1, "W1_next", "MISSING"), ReturnedInstead),
    "a parameter missing": (lambda p, b: ({"W1": p["W1"]} for _ in b), (1, "b1_next", "MISSING"), NotComputed()),
    "another shape": (lambda p, b: ({n: w.T for n, w in p.items()} for _ in b), (1, "W1_next", "FAULT"), TRANSPOSED),
    "never moves": (lambda p, b: (dict(p) for _ in b), (1, "W1_next", "FAULT"), NeverMoves),
    "endless": (endless, (1, "W1_next", "FAULT"), NeverMoves),
    "random": (
        lambda p, b: ({n: w + DRAWS.random() for n, w in p.items()} for _ in b),
        (1, "W1_next", "FAULT"),
        TwoAnswers,
    ),
    "changes a batch": (overwriting, (1, "X", "FAULT"), Mutates("trainer", "batch 1's", "X")),
    "the same arrays for every step": (in_place, (1, "W1_next", "FAULT"), Aliased()),
}


@pytest.mark.parametrize(("train", "where", "cause"), ENDINGS.values(), ids=ENDINGS)
def test_what_a_trainer_does_is_a_finding(train, where, cause):
    report = check_training(train, reference, sgd, PARAMS, BATCHES)
    assert not report.ok
    kind = cause if isinstance(cause, type) else type(cause)
    finding = next(finding for finding in report.findings if isinstance(finding.cause, kind))
    assert (finding.where.step, finding.where.name, finding.verdict) == where, str(report)
    assert isinstance(cause, type) or finding.cause == cause


def test_a_failure_is_described_by_what_was_seen():
    raised = check_training(failing, reference, sgd, PARAMS, BATCHES).findings[-1].cause
    assert (raised.exception, raised.message, raised.file) == ("RuntimeError", "out of data", named(__file__))
    assert raised.line > 1
    none = check_training(lambda p, b: (None for _ in b), reference, sgd, PARAMS, BATCHES).first.cause
    assert (none.who, none.did, none.instead) == ("trainer", "yields", "None")
    mapping = check_training(lambda p, b: dict(p), reference, sgd, PARAMS, BATCHES).first.cause
    assert (mapping.who, mapping.did, mapping.instead) == ("trainer", "returns", "a dict")


def test_the_steps_before_an_exception_are_judged():
    report = check_training(failing, reference, sgd, PARAMS, BATCHES)
    assert {row.step for row in report.rows} == {1, 2}
    assert {row.verdict for row in report.rows} == {"OK"}
    assert len(report.findings) == 1


def test_a_list_of_arrays_of_their_own_is_as_good_as_a_generator():
    assert check_training(lambda p, b: [*plain(p, b)], reference, descent, PARAMS, BATCHES).findings == ()


def test_what_is_yielded_is_copied_at_the_yield():
    def reusing(params, batches):
        out = {}
        for values in trainer()(params, batches):
            for name, value in values.items():
                out.setdefault(name, np.empty_like(value))[...] = value
            yield out

    assert check_training(reusing, reference, sgd, PARAMS, BATCHES).findings == ()


def test_a_velocity_that_is_no_array_is_missing():
    def train(params, batches):
        for values in trainer(shows=VELOCITIES)(params, batches):
            yield {**values, "vW1": "fast"}

    report = check_training(train, reference, sgd, PARAMS, BATCHES)
    assert [(finding.where.name, finding.verdict) for finding in report.findings] == [("vW1", "MISSING")]


BAD = {
    "batches": (lambda: check_training(trainer(), reference, sgd, PARAMS, []), "batches must be a list"),
    "one batch": (lambda: check_training(trainer(), reference, sgd, PARAMS, BATCHES[0][0]), "batches must be a list"),
    "trainer": (lambda: check_training(3, reference, sgd, PARAMS, BATCHES), "trainer is an int"),
    "optimizer": (
        lambda: check_training(trainer(), reference, lambda t: sgd(t[:1]), PARAMS, BATCHES),
        "the optimizer does not hold b1",
    ),
}


@pytest.mark.parametrize(("act", "words"), BAD.values(), ids=BAD)
def test_what_is_handed_over_wrongly_is_one_sentence(act, words):
    with pytest.raises(InputError, match=words):
        act()


def test_equal_batches_and_bare_weights_are_blind_spots():
    report = check_training(trainer(), reference, sgd, PARAMS, BATCHES[:1])
    assert {"one-step", "no-short-batch", "parameters-alone"} <= spots_of(report).keys()


def test_what_torch_has_nothing_of_is_a_note_and_no_finding():
    def train(params, batches):
        for values in trainer(shows=("dW1",))(params, batches):
            yield {**values, "mW1": values["W1"], "rate": 0.1, "dw2": values["W2"]}

    report = check_training(train, reference, sgd, PARAMS, BATCHES)
    assert report.findings == (), str(report)
    assert {type(note) for note in report.notes} == {NotTapped}
    assert {name for note in report.notes for name in note.tensors} == {"mW1", "rate", "dw2"}
    assert NotTapped(("dw2",), "dW2", "name") in report.notes


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
    descent,
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
    assert Float32Only() in report.notes
    assert "one-precision" in spots_of(report)
    wrong = check_training(in_float32(1.01, yields), *FLOAT32_CASE)
    assert wrong.first.where.name == "W1_next", str(wrong)
