"""Planting: a mistake stands in a private copy of the hand-written package, and nowhere else."""

from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from threading import Barrier

import numpy as np
import pytest

import handgrad.manual
import handgrad.manual.losses
import handgrad.manual.network
from handgrad.compare.errors import InputError
from handgrad.compare.faults.planting import edited, planted
from handgrad.compare.operations import OPERATIONS
from handgrad.manual.network import Activation, Loss, Network

HALF = (("return derivatives / n", "return derivatives / n / 2"),)
A, Y = np.full((2, 3), 0.75), np.ones((2, 3))


def dW_of(modules, *, rounds=1):
    """dW1 of a network of one layer, by the functions of a copy."""
    activation = Activation(modules["activations"].sigmoid, modules["activations"].sigmoid_derivative, "A")
    loss = Loss(modules["losses"].binary_cross_entropy, modules["losses"].binary_cross_entropy_derivative, "Z")
    network = Network((activation,), loss)
    params = {"W1": np.full((2, 4), 0.5), "b1": np.zeros((2, 1))}
    X = np.arange(12.0).reshape(4, 3)
    for _ in range(rounds):
        cache = modules["network"].forward(network, params, X)
        dW = modules["network"].backward(network, params, cache, X, Y)["dW1"]
    return dW


INSTALLED = {name: import_module(f"handgrad.manual.{name}") for name in handgrad.manual.__all__}


def test_a_copy_has_every_module_of_the_package():
    copy = planted("handgrad.manual.losses", HALF)
    assert [*copy] == handgrad.manual.__all__
    for name, module in copy.items():
        assert module is not INSTALLED[name]
        assert module.__name__ == INSTALLED[name].__name__
        assert module.__all__ == INSTALLED[name].__all__


def test_the_modules_of_a_copy_import_each_other():
    """losses is imported by network and that by training; all three are copies, and the mistake shows in each."""
    copy = planted("handgrad.manual.losses", HALF)
    assert copy["network"].mean_loss is copy["losses"].mean_loss
    assert copy["training"].backward is copy["network"].backward
    assert np.array_equal(dW_of(copy), dW_of(INSTALLED) / 2)


def test_what_is_installed_stays_as_it_is_while_a_copy_exists():
    functions = {(name, f): getattr(INSTALLED[name], f) for name in INSTALLED for f in INSTALLED[name].__all__}
    code = {key: function.__code__ for key, function in functions.items() if hasattr(function, "__code__")}
    copy = planted("handgrad.manual.losses", HALF)
    assert np.array_equal(copy["losses"].mean_loss_gradient(A - Y), (A - Y) / 3 / 2)
    assert np.array_equal(handgrad.manual.losses.mean_loss_gradient(A - Y), (A - Y) / 3)
    assert handgrad.manual.network.mean_loss is handgrad.manual.losses.mean_loss
    assert all(getattr(INSTALLED[name], f) is function for (name, f), function in functions.items())
    assert all(functions[key].__code__ is before for key, before in code.items())


def test_two_threads_run_two_copies_and_a_third_what_is_installed():
    right, barrier = dW_of(INSTALLED), Barrier(3)

    def run(factor):
        barrier.wait()
        wrong = (("return derivatives / n", f"return derivatives / n * {factor}"),)
        return [
            dW_of(planted("handgrad.manual.losses", wrong) if factor != 1 else INSTALLED, rounds=5) for _ in range(40)
        ]

    with ThreadPoolExecutor(3) as threads:
        results = dict(zip((1, 2, 4), threads.map(run, (1, 2, 4)), strict=True))
    for factor, gradients in results.items():
        assert all(np.array_equal(dW, right * factor) for dW in gradients), factor


def test_a_copy_without_edits_computes_the_same_bits():
    assert np.array_equal(dW_of(planted("handgrad.manual.losses", ())), dW_of(INSTALLED))


def test_an_exception_of_a_copy_stands_in_the_real_file():
    copy = planted("handgrad.manual.network", (("return W @ A_prev + b", "return W * A_prev + b"),))
    with pytest.raises(ValueError, match="broadcast") as raised:
        copy["network"].linear(np.ones((2, 4)), np.ones((4, 3)), np.ones((2, 1)))
    last = raised.traceback[-1]
    assert str(last.path) == handgrad.manual.network.__file__
    assert "W @ A_prev + b" in (last.path.read_text().splitlines()[last.lineno])


@pytest.mark.parametrize(
    "line",
    [
        "from handgrad.manual.losses import mean_loss",
        "from handgrad.manual import losses; mean_loss = losses.mean_loss",
        "import handgrad.manual.losses as losses; mean_loss = losses.mean_loss",
        "import handgrad.manual.losses; mean_loss = handgrad.manual.losses.mean_loss",
    ],
)
def test_a_copy_may_import_the_package_in_any_way(line):
    head = ("from math import sqrt\n", f"from math import sqrt\n{line}\n")
    copy = planted("handgrad.manual.initializers", (head,))
    assert copy["initializers"].mean_loss is copy["losses"].mean_loss
    assert copy["initializers"].mean_loss is not handgrad.manual.losses.mean_loss


@pytest.mark.parametrize("piece", ["nothing of this kind", "Y"], ids=["never", "many times"])
def test_an_edit_must_find_its_piece_exactly_once(piece):
    with pytest.raises(InputError, match=r"manual/losses\.py"):
        edited(handgrad.manual.losses, ((piece, ""),))
    with pytest.raises(InputError, match=r"manual/losses\.py"):
        planted("handgrad.manual.losses", ((piece, ""),))


def test_the_registry_takes_its_functions_from_a_copy():
    copy = planted("handgrad.manual.losses", HALF)
    for row in OPERATIONS:
        for ours, installed in zip(row.hands(copy), row.hands(), strict=True):
            assert ours is not installed
            assert ours.__code__.co_name == installed.__code__.co_name
