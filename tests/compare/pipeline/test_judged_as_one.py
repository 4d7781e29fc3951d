"""One mistake in several tensors is one finding; two mistakes are two."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from handgrad import check_gradients, check_updates, tap
from handgrad.compare.facts.causes import Unknown
from handgrad.compare.facts.updates import Ascends

RNG = np.random.default_rng(41)
PARAMS = {"W": RNG.normal(size=(4, 3)), "U": RNG.normal(size=(4, 4)), "b": RNG.normal(size=4)}
BATCH = RNG.normal(size=(4, 5, 3)), RNG.normal(size=(5, 4))


def recurrent(slope=lambda h: 1 - h**2, last=None, times=1.0):
    """A recurrent network by hand: the derivative that its steps take, another that the last takes, and J's factor."""

    def derivation(p, X, Y):
        h, values, records = np.zeros_like(Y), [], {}
        for t, x in enumerate(X, 1):
            z = x @ p["W"].T + h @ p["U"].T + p["b"]
            values.append(h)
            h = np.tanh(z)
            records |= {f"z{t}": z, f"h{t}": h}
        dh = 2 * times * (h - Y)
        gradients = {f"d{name}": np.zeros_like(array) for name, array in p.items()}
        for t in range(len(X), 0, -1):
            dz = dh * (last if last and t == len(X) else slope)(records[f"h{t}"])
            records |= {f"dh{t}": dh, f"dz{t}": dz}
            gradients["dW"] += dz.T @ X[t - 1]
            gradients["dU"] += dz.T @ values[t - 1]
            gradients["db"] += dz.sum(0)
            dh = dz @ p["U"]
        return {"J": times * ((h - Y) ** 2).sum(), **records, **gradients}

    return derivation


def reference(p, X, Y):
    h = torch.zeros_like(Y)
    for t, x in enumerate(X, 1):
        z = tap(f"z{t}", x @ p["W"].T + h @ p["U"].T + p["b"])
        h = tap(f"h{t}", torch.tanh(z))
    return ((h - Y) ** 2).sum()


def checked(derivation):
    return check_gradients(derivation, reference, PARAMS, BATCH).findings


def test_right_code_is_left_in_peace():
    assert checked(recurrent()) == ()


def test_one_wrong_derivative_at_every_step_is_one_finding():
    (finding,) = checked(recurrent(lambda h: 1 - h))
    assert (finding.where.name, finding.together) == ("dz4", ("dz3", "dz2", "dz1"))


def test_so_is_one_that_only_the_graph_explains():
    (finding,) = checked(recurrent(lambda h: 1 - 2 * h**2))
    assert (finding.where.name, finding.together) == ("dz4", ("dz3", "dz2", "dz1"))


@pytest.mark.parametrize("slope", [lambda h: 1 - h, lambda h: 1 + h**2, lambda h: 1 - 2 * h**2])
def test_gradients_that_one_edit_of_the_reference_gives_are_one_finding(slope):
    """Nothing is recorded before them, so each is wrong by itself."""
    returned = ("J", "dW", "dU", "db")

    def derivation(p, X, Y):
        records = recurrent(slope)(p, X, Y)
        return {name: records[name] for name in returned}

    (finding,) = checked(derivation)
    assert {finding.where.name, *finding.together} == {"dW", "dU", "db"}
    assert not isinstance(finding.cause, Unknown)


def test_but_not_one_that_is_wrong_otherwise():
    def derivation(p, X, Y):
        records = recurrent(lambda h: 1 - h)(p, X, Y)
        return {name: records[name] for name in ("J", "dU", "db")} | {"dW": records["dW"] + 0.1 * p["W"].sum(0)}

    by_name = {finding.where.name: finding for finding in checked(derivation)}
    assert by_name.keys() == {"db", "dW"}
    assert by_name["db"].together == ("dU",)


def test_a_loss_off_by_the_factor_of_its_gradient_is_one_finding():
    (finding,) = checked(recurrent(times=0.5))
    assert (finding.where.name, finding.factor, finding.together) == ("J", 0.5, ("dh4",))


def test_another_mistake_at_one_step_is_another_finding():
    findings = checked(recurrent(lambda h: 1 - h, last=lambda h: 1 + h**2))
    assert [(f.where.name, f.together) for f in findings] == [("dz4", ()), ("dz3", ("dz2", "dz1"))]


@pytest.mark.parametrize("wrong", [("W",), ("W", "b")])
def test_one_rule_of_some_parameters_lists_them(wrong):
    def update(params, gradients, state):
        return {n: w + 0.1 * (1 if n in wrong else -1) * gradients[f"d{n}"] for n, w in params.items()}, state

    report = check_updates(update, lambda ps: torch.optim.SGD(ps, lr=0.1), PARAMS)
    (finding,) = report.findings
    assert isinstance(finding.cause, Ascends)
    assert (finding.where.name, *finding.together) == tuple(f"{name}_next" for name in wrong)
