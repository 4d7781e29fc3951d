"""What a derivation takes a shortcut by is noted; what only looks like it is not."""

import functools

import numpy as np
import pytest
import torch
from torch.optim import SGD

from handgrad import check_gradients, check_training, check_updates
from handgrad.compare.facts.remarks import NoDerivation
from handgrad.compare.source.reached import keeps_numbers, reached, shortcuts

rng = np.random.default_rng(3)
PARAMS, BATCH = {"W": rng.standard_normal((4, 3))}, (rng.standard_normal((5, 4)), rng.standard_normal((5, 3)))


def reference(p, X, Y):
    return ((X @ p["W"] - Y) ** 2).sum() / (2 * len(X))


def right(p, X, Y):
    dZ = (X @ p["W"] - Y) / len(X)
    return {"J": (dZ**2).sum() * len(X) / 2, "dW": X.T @ dZ}


def by_backward(p, X, Y):
    W = torch.tensor(p["W"], requires_grad=True)
    J = ((torch.tensor(X) @ W - torch.tensor(Y)) ** 2).sum() / (2 * len(X))
    J.backward()
    return {"J": J.item(), "dW": W.grad.numpy()}


def by_grad(p, X, Y):
    W = torch.tensor(p["W"], requires_grad=True)
    J = ((torch.tensor(X) @ W - torch.tensor(Y)) ** 2).sum() / (2 * len(X))
    return {"J": J.item(), "dW": torch.autograd.grad(J, W)[0].numpy()}


def by_func(p, X, Y):
    loss = lambda W: ((torch.tensor(X) @ W - torch.tensor(Y)) ** 2).sum() / (2 * len(X))  # noqa: E731
    W = torch.tensor(p["W"])
    return {"J": loss(W).item(), "dW": torch.func.grad(loss)(W).numpy()}


def by_reference(p, X, Y):
    W = torch.tensor(p["W"], requires_grad=True)
    return {**right(p, X, Y), "J": reference({"W": W}, torch.tensor(X), torch.tensor(Y)).item()}


def cost(p, X, Y):
    return ((X @ p["W"] - Y) ** 2).sum() / (2 * len(X))


def moved(p, i, h):
    W = p["W"].copy()
    W[i] += h
    return {"W": W}


def by_central_differences(p, X, Y, h=1e-5):
    dW = np.zeros_like(p["W"])
    for i in np.ndindex(dW.shape):
        dW[i] = (cost(moved(p, i, h), X, Y) - cost(moved(p, i, -h), X, Y)) / (2 * h)
    return {"J": cost(p, X, Y), "dW": dW}


def by_forward_differences(p, X, Y, h=1e-7):
    J, dW = cost(p, X, Y), np.zeros_like(p["W"])
    for i in np.ndindex(dW.shape):
        there = cost(moved(p, i, h), X, Y)
        dW[i] = (there - J) / h
    return {"J": J, "dW": dW}


def by_four_points(p, X, Y, h=1e-3):
    dW = np.zeros_like(p["W"])
    for i in np.ndindex(dW.shape):

        def at(t, i=i):
            return cost(moved(p, i, t), X, Y)

        dW[i] = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
    return {"J": cost(p, X, Y), "dW": dW}


SHORTCUTS = {
    by_backward: {"autograd"},
    by_grad: {"autograd"},
    by_func: {"autograd"},
    by_reference: {"reference"},
    by_central_differences: {"differences"},
    by_forward_differences: {"differences"},
    by_four_points: {"differences"},
    functools.partial(by_four_points, h=1e-3): {"differences"},
}


@pytest.mark.parametrize(("derivation", "by"), SHORTCUTS.items(), ids=lambda each: getattr(each, "__name__", ""))
def test_a_shortcut_is_noted(derivation, by):
    report = check_gradients(derivation, reference, PARAMS, BATCH)
    assert {note.by for note in report.notes if isinstance(note, NoDerivation)} == by


def sgd(tensors):
    return torch.optim.SGD(tensors, lr=0.1)


def by_sgd(params, grads, state):
    return {name: w - 0.1 * grads[f"d{name}"] for name, w in params.items()}, None


def stepping(make):
    """An update that torch's optimiser makes."""

    def update(params, grads, state):
        tensors = {name: torch.tensor(w, requires_grad=True) for name, w in params.items()}
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(grads[f"d{name}"])
        make(list(tensors.values())).step()
        return {name: tensor.detach().numpy() for name, tensor in tensors.items()}, None

    return update


STEPS = {
    "by hand": (by_sgd, set()),
    "the optimizer itself": (stepping(sgd), {"optimizer"}),
    "another of torch's": (stepping(lambda tensors: torch.optim.SGD(tensors, 0.1)), {"optimizer"}),
    "imported": (stepping(lambda tensors: SGD(tensors, 0.1)), {"optimizer"}),
}


@pytest.mark.parametrize(("update", "by"), STEPS.values(), ids=STEPS)
def test_steps_that_torchs_optimizer_takes_are_noted(update, by):
    report = check_updates(update, sgd, PARAMS)
    assert report.findings == ()
    assert {note.by for note in report.notes if isinstance(note, NoDerivation)} == by


@pytest.mark.parametrize(("derivation", "by"), [(right, set()), *SHORTCUTS.items()])
def test_a_trainers_gradients_by_a_shortcut_are_noted(derivation, by):
    def trainer(params, batches):
        for batch in batches:
            records = derivation(params, *batch)
            params = {"W": params["W"] - 0.1 * records["dW"]}
            yield {**params, "J": records["J"]}

    report = check_training(trainer, reference, sgd, PARAMS, [BATCH])
    assert {note.by for note in report.notes if isinstance(note, NoDerivation)} == by


class Linear(torch.autograd.Function):
    """Whose backward is by hand: what is called by autograd here is what is checked."""

    @staticmethod
    def forward(ctx, X, W):
        ctx.save_for_backward(X)
        return X @ W

    @staticmethod
    def backward(ctx, upstream):
        return None, ctx.saved_tensors[0].T @ upstream


def by_own_function(p, X, Y):
    W = torch.tensor(p["W"], requires_grad=True)
    J = ((Linear.apply(torch.tensor(X), W) - torch.tensor(Y)) ** 2).sum() / (2 * len(X))
    J.backward()
    return {"J": J.item(), "dW": W.grad.numpy()}


def total(x):
    return x.sum(0)


def with_sums(p, X, Y):
    """What batch norm's backward looks like: differences of sums, divided."""
    dZ = (X @ p["W"] - Y) / len(X)
    _ = (np.sum(X) - np.sum(Y)) / len(X), (total(X) - np.sum(Y)) / len(X), (total(X) - total(X)) / 2
    return {"J": (dZ**2).sum() * len(X) / 2, "dW": X.T @ dZ}


class Backward:
    """A layer with a method of that name, and no torch in it."""

    def backward(self, X, dZ):
        return X.T @ dZ

    def __call__(self, p, X, Y):
        dZ = (X @ p["W"] - Y) / len(X)
        return {"J": (dZ**2).sum() * len(X) / 2, "dW": self.backward(X, dZ)}


class Both:
    """What holds the two sides and uses one."""

    def __init__(self):
        self.sides = right, reference

    def __call__(self, p, X, Y):
        return self.sides[0](p, X, Y)


@pytest.mark.parametrize("derivation", [right, by_own_function, with_sums, Backward(), Both()])
def test_what_is_derived_by_hand_is_not_noted(derivation):
    report = check_gradients(derivation, reference, PARAMS, BATCH)
    assert report.findings == ()
    assert not [note for note in report.notes if isinstance(note, NoDerivation)]


def test_numbers_from_outside_are_seen_and_modules_are_no_numbers():
    table = np.zeros(3)
    nested = [{"a": (1, table)}]
    assert not keeps_numbers(reached(right))
    assert not keeps_numbers(reached(cost))
    assert keeps_numbers(reached(lambda p: p["W"] + table))
    assert keeps_numbers(reached(lambda p: nested))
    assert keeps_numbers(reached(lambda p: BATCH))
    assert keeps_numbers(reached(functools.lru_cache(right)))
    assert keeps_numbers(reached(functools.partial(right, X=table)))
    assert not keeps_numbers(reached(functools.partial(right, X=None)))


def dot(p, X, Y):
    """A reference that is called as a method and a function of NumPy's are."""
    return reference(p, X, Y)


size = np.zeros(3)


def by_method(p, X, Y):
    dZ = (X.dot(p["W"]) - Y) / len(X)
    return {"J": (dZ**2).sum() * len(X) / 2, "dW": X.T.dot(dZ)}


def by_function(p, X, Y):
    return {"dW": np.dot(X.T, X @ p["W"] - Y) / X.size}


def test_an_attribute_is_no_variable_of_its_name():
    for derivation in (by_method, by_function):
        assert shortcuts(reached(derivation), dot) == ()
        assert not keeps_numbers(reached(derivation))
    calling = lambda p, X, Y: [dot(p, X, Y) for _ in range(2)]  # noqa: E731
    assert shortcuts(reached(calling), dot) == (NoDerivation("reference"),)
    assert keeps_numbers(reached(lambda p: p["W"] * size))


class Slotted:
    """An object that has no __dict__."""

    __slots__ = ("table",)

    def __call__(self, p, X, Y):
        return right(p, X, Y)


def test_an_object_without_a_dict_is_looked_at_all_the_same():
    assert check_gradients(Slotted(), reference, PARAMS, BATCH).ok


def test_what_names_itself_ends():
    loop = []
    loop.append(loop)

    def names_itself(p):
        return names_itself, loop

    assert not keeps_numbers(reached(names_itself))
    assert shortcuts(reached(names_itself), None) == ()
