"""The local replay of references of every shape, and its complaints about taps that it cannot trust."""

import gc
import weakref
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import nn

from handgrad import tap
from handgrad.compare.errors import InputError
from handgrad.compare.oracle.replay import inspect_reference, replay, replay_stack

RNG = np.random.default_rng(3)
W, X, C = RNG.standard_normal((4, 3)), RNG.standard_normal((3, 5)), RNG.standard_normal((4, 5))


def leaf(array):
    return torch.tensor(array, requires_grad=True)


def in_one_graph(reference, leaves):
    """The same, asking autograd for gradients itself, so that a replay cannot cut the graph where they are recorded."""

    def asking():
        J = reference(leaves)
        torch.autograd.grad(J, [*leaves.values()], retain_graph=True)
        return J

    return asking


def run(reference, leaves, records, how=""):
    whole = in_one_graph(reference, leaves) if how == "one graph" else lambda: reference(leaves)
    return replay(whole, leaves, records)


BOTH_WAYS = pytest.mark.parametrize("how", ["cut", "one graph"])


def chain(p):
    Z = tap("Z", p["W"] @ torch.tensor(X))
    A = tap("A", torch.tanh(Z))
    return (torch.tensor(C) * A).sum()


def test_without_records_it_is_the_references_own_run():
    leaves = {"W": leaf(W)}
    result = inspect_reference(lambda: chain(leaves), leaves)
    A = np.tanh(W @ X)
    np.testing.assert_allclose(result.values["Z"], W @ X)
    np.testing.assert_allclose(result.values["J"], (C * A).sum())
    np.testing.assert_allclose(result.gradients["dZ"], C * (1 - A**2))
    np.testing.assert_allclose(result.gradients["dW"], C * (1 - A**2) @ X.T)
    assert [*result.values] == ["Z", "A", "J"]
    assert [*result.gradients] == ["dA", "dZ", "dW"]
    assert result.reads == {"Z": {"W"}, "A": {"Z"}, "J": {"A"}}


@BOTH_WAYS
def test_each_operation_is_evaluated_on_the_records_alone(how):
    records = {name: RNG.standard_normal((4, 5)) for name in ("Z", "A", "dA", "dZ")}
    result = run(chain, {"W": leaf(W)}, records, how)
    assert [*result.gradients] == ["dA", "dZ", "dW"]
    np.testing.assert_allclose(result.values["Z"], W @ X)
    np.testing.assert_allclose(result.values["A"], np.tanh(records["Z"]))
    np.testing.assert_allclose(result.values["J"], (C * records["A"]).sum())
    np.testing.assert_allclose(result.gradients["dA"], C)
    np.testing.assert_allclose(result.gradients["dZ"], records["dA"] * (1 - np.tanh(records["Z"]) ** 2))
    np.testing.assert_allclose(result.gradients["dW"], records["dZ"] @ X.T)


SUBSETS = [names for n in range(5) for names in combinations(("Z", "A", "dA", "dZ"), n)]


@BOTH_WAYS
@pytest.mark.parametrize("recorded", SUBSETS, ids=" ".join)
def test_values_and_gradients_are_replaced_independently(recorded, how):
    """A missing record lengthens the segment in its direction only."""
    records = {name: RNG.standard_normal((4, 5)) for name in recorded}
    result = run(chain, {"W": leaf(W)}, records, how)
    Z = records.get("Z", W @ X)
    dA = records.get("dA", C)
    dZ = records.get("dZ", dA * (1 - np.tanh(Z) ** 2))
    np.testing.assert_allclose(result.values["A"], np.tanh(Z))
    np.testing.assert_allclose(result.values["J"], (C * records.get("A", np.tanh(Z))).sum())
    np.testing.assert_allclose(result.gradients["dZ"], dA * (1 - np.tanh(Z) ** 2))
    np.testing.assert_allclose(result.gradients["dW"], dZ @ X.T)


def test_a_record_of_another_shape_is_left_alone():
    result = run(chain, {"W": leaf(W)}, {"Z": np.ones((5, 4)), "dA": np.ones(3)})
    np.testing.assert_allclose(result.values["A"], np.tanh(W @ X))


@BOTH_WAYS
def test_tied_weights_collect_the_gradient_of_both_uses(how):
    def tied(p):
        H = tap("H", p["W"] @ torch.tensor(X))
        R = tap("R", p["W"].T @ H)
        return (R * torch.tensor(X)).sum()

    records = {name: RNG.standard_normal(shape) for name, shape in (("H", (4, 5)), ("dH", (4, 5)), ("dR", (3, 5)))}
    result = run(tied, {"W": leaf(W)}, records, how)
    np.testing.assert_allclose(result.gradients["dH"], W @ records["dR"])
    np.testing.assert_allclose(result.gradients["dW"], records["dH"] @ X.T + records["H"] @ records["dR"].T)


@BOTH_WAYS
def test_a_skip_connection_has_the_total_derivative_at_its_tap(how):
    def block(p):
        H = tap("H", p["W"] @ torch.tensor(X))
        F = tap("F", torch.tanh(H))
        return ((H + F) * torch.tensor(C)).sum()

    records = {"H": RNG.standard_normal((4, 5)), "dF": RNG.standard_normal((4, 5))}
    result = run(block, {"W": leaf(W)}, records, how)
    np.testing.assert_allclose(result.gradients["dF"], C)
    np.testing.assert_allclose(result.gradients["dH"], C + records["dF"] * (1 - np.tanh(records["H"]) ** 2))
    leaves = {"W": leaf(W)}
    assert inspect_reference(lambda: block(leaves), leaves).reads["J"] == {"H", "F"}


@BOTH_WAYS
@pytest.mark.parametrize("recorded", [[], ["z"], ["dz"], ["z", "dz"]], ids=" ".join)
def test_a_tensor_tapped_inside_a_module_and_an_operation_in_place_after_a_tap(recorded, how):
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 4, bias=False, dtype=torch.float64)

        def forward(self, x):
            z = tap("z", self.linear(x))
            z.relu_()
            return z

    layer = Layer()
    leaves = {"W": layer.linear.weight}
    records = {name: RNG.standard_normal((5, 4)) for name in recorded}
    before = {name: array.copy() for name, array in records.items()}

    def forward(_):
        return (layer(torch.tensor(X.T)) * torch.tensor(C.T)).sum()

    result = run(forward, leaves, records, how)
    Z = X.T @ layer.linear.weight.detach().numpy().T
    dz = C.T * (records.get("z", Z) > 0)
    np.testing.assert_allclose(result.values["z"], Z)
    np.testing.assert_allclose(result.gradients["dz"], dz)
    np.testing.assert_allclose(result.gradients["dW"], records.get("dz", dz).T @ X.T)
    assert inspect_reference(lambda: forward(leaves), leaves).reads["J"] == {"z"}
    for name, array in records.items():
        np.testing.assert_array_equal(array, before[name])


def test_a_name_tapped_again_is_numbered_in_call_order():
    def recurrent(p):
        h = torch.zeros(4, 1, dtype=torch.float64)
        for t in range(3):
            h = tap("h", torch.tanh(p["W"] @ torch.tensor(X[:, t : t + 1]) + h))
        return h.sum()

    result = run(recurrent, {"W": leaf(W)}, {"h[2]": np.ones((4, 1))})
    assert [*result.values] == ["h", "h[2]", "h[3]", "J"]
    np.testing.assert_allclose(result.values["h[3]"], np.tanh(W @ X[:, 2:3] + 1))


@BOTH_WAYS
@pytest.mark.parametrize("recorded", [[], ["dA"], ["dB"], ["A", "dA", "dB", "dZ"]], ids=" ".join)
def test_a_side_output_has_a_value_and_no_gradient_and_leads_nothing_back(recorded, how):
    def reference(p):
        Z = tap("Z", p["W"] @ torch.tensor(X))
        A = tap("A", torch.sigmoid(Z))
        tap("B", A * A)
        return Z.sum()

    records = {name: RNG.standard_normal((4, 5)) for name in recorded}
    result = run(reference, {"W": leaf(W)}, records, how)
    assert result.side_outputs == {"A", "B"}
    assert inspected(reference).side_outputs == {"A", "B"}
    assert not result.gradients.keys() & {"dA", "dB"}
    np.testing.assert_allclose(result.values["A"], 1 / (1 + np.exp(-(W @ X))))
    np.testing.assert_array_equal(result.gradients["dZ"], np.ones((4, 5)))
    np.testing.assert_allclose(result.gradients["dW"], records.get("dZ", np.ones((4, 5))) @ X.T)


def inspected(reference):
    leaves = {"W": leaf(W)}
    return inspect_reference(lambda: reference(leaves), leaves)


def unused(p):
    Z = p["W"] @ torch.tensor(X)
    tap("Z", Z)
    return Z.sum()


def bypassed(p):
    Z = p["W"] @ torch.tensor(X)
    A = torch.tanh(tap("Z", Z))
    return (A * Z).sum()


@pytest.mark.parametrize(("reference", "words"), [(unused, "is not used"), (bypassed, "is bypassed")])
def test_a_tap_that_the_code_does_not_go_on_with_is_an_error(reference, words):
    with pytest.raises(InputError, match=rf"tap 'Z'.*{words}|{words}.*go on with") as caught:
        inspected(reference)
    assert "Z = tap('Z', ...)" in str(caught.value)


def test_a_tap_that_the_reference_itself_differentiates_through_is_told_from_one_that_is_bypassed():
    def penalised(p):
        x = torch.tensor(X, requires_grad=True)
        A = tap("A", torch.tanh(p["W"] @ x))
        (slope,) = torch.autograd.grad(A.sum(), x, create_graph=True)
        return (A * A).sum() + (slope**2).sum()

    with pytest.raises(InputError, match=r"differentiates through tap 'A' and goes on .* only what comes after"):
        inspected(penalised)


@pytest.mark.parametrize("returned", [torch.ones(2, 2), 3.0, None], ids=["matrix", "float", "None"])
def test_a_reference_must_return_a_scalar(returned):
    with pytest.raises(InputError, match="must return the scalar J"):
        inspected(lambda p: returned)
    with pytest.raises(InputError, match="must return the scalar J"):
        run(lambda p: returned, {"W": leaf(W)}, {})


def test_a_complex_J_is_told_from_a_matrix():
    with pytest.raises(InputError, match="returns a complex number"):
        inspected(lambda p: p["W"].sum() * 1j)
    with pytest.raises(InputError, match=r"returns a tensor of shape \(4, 3\)"):
        inspected(lambda p: p["W"] * 2)


def test_records_and_results_share_no_memory_with_the_graph():
    records = {"Z": RNG.standard_normal((4, 5))}
    before = records["Z"].copy()
    result = run(chain, {"W": leaf(W)}, records)
    result.values["A"][:] = 7
    np.testing.assert_array_equal(records["Z"], before)


def two_layers(p, X, C):
    Z = tap("Z", p["W"] @ X)
    A = tap("A", torch.tanh(Z))
    return (C * A).sum((-2, -1))


@pytest.mark.parametrize("recorded", [["Z", "dA", "dZ"], ["A"], ["dA"], ["Z", "A"], []], ids=" ".join)
def test_stacked_runs_are_the_same_as_one_after_the_other(recorded):
    """One pass, each run on its own records, some of them missing or of another shape."""
    rng = np.random.default_rng(9)
    stack = {
        "W": rng.standard_normal((6, 4, 3)),
        "X": rng.standard_normal((6, 3, 5)),
        "C": rng.standard_normal((6, 4, 5)),
    }
    shapes = {"Z": (4, 5), "A": (4, 5), "dA": (4, 5), "dZ": (5, 4)}
    recorded = {name: rng.standard_normal((6, *shapes[name])) for name in recorded}
    tensors = {name: torch.tensor(array) for name, array in stack.items()}
    leaves = {"W": tensors["W"].requires_grad_()}
    at_once = replay_stack(lambda: two_layers(leaves, tensors["X"], tensors["C"]), leaves, recorded)
    assert at_once.values["J"].shape == (6,)
    for k in range(6):
        one = {"W": leaf(stack["W"][k])}
        inputs = torch.tensor(stack["X"][k]), torch.tensor(stack["C"][k])
        records = {name: array[k] for name, array in recorded.items()}
        single = replay(lambda one=one, inputs=inputs: two_layers(one, *inputs), one, records)
        for name, value in {**single.values, **single.gradients}.items():
            np.testing.assert_allclose({**at_once.values, **at_once.gradients}[name][k], value, rtol=1e-12)
    assert [*at_once.gradients] == ["dA", "dZ", "dW"]


@pytest.mark.parametrize("how", ["cut", "one graph", "inspected"])
@pytest.mark.parametrize("recorded", [[], ["Z"], ["dZ"], ["Z", "dZ"]], ids=" ".join)
def test_a_replay_lets_go_of_what_it_ran_on(recorded, how):
    """Hooks hold their site, and the site its tensor: a circle that Python's collector cannot see."""
    leaves, gone = {"W": leaf(W)}, []

    def reference(p):
        Z = p["W"] @ torch.tensor(X)
        tapped = tap("Z", Z)
        gone.extend([weakref.ref(Z), weakref.ref(tapped)])
        return torch.tanh(tapped).sum()

    gc.disable()  # it must not take the collector to free what may be large
    try:
        if how == "inspected":
            inspect_reference(lambda: reference(leaves), leaves)
        else:
            run(reference, leaves, {name: np.ones((4, 5)) for name in recorded}, how)
        assert [ref() for ref in gone] == [None] * len(gone)
    finally:
        gc.enable()


def test_a_tap_on_data_has_a_gradient_only_where_one_is_wanted():
    def reference(p):
        return (tap("A0", 2 * torch.tensor(X)) * (p["W"].T @ torch.tensor(C))).sum()

    leaves = {"W": leaf(W)}
    forward = lambda: reference(leaves)  # noqa: E731
    assert "dA0" not in inspect_reference(forward, leaves).gradients
    np.testing.assert_allclose(inspect_reference(forward, leaves, {"A0"}).gradients["dA0"], W.T @ C)
    np.testing.assert_allclose(replay(forward, leaves, {}, {"A0"}).gradients["dA0"], W.T @ C)


@pytest.mark.parametrize(
    ("name", "words"), [("", "is no name"), (3, "is no name"), ("J", "of something else"), ("W", "of something else"),
                        ("dW", "of something else")],
)  # fmt: skip
def test_a_tap_needs_a_name_of_its_own(name, words):
    with pytest.raises(InputError, match=words):
        inspected(lambda p: tap(name, p["W"]).sum())


def test_a_tap_needs_a_tensor():
    with pytest.raises(InputError, match="hand it the tensor"):
        inspected(lambda p: tap("Z", 3.0) * p["W"].sum())


def test_a_tap_may_not_be_named_as_the_gradient_of_another():
    def reference(p):
        return tap("dZ", 2 * tap("Z", p["W"] * 3)).sum()

    with pytest.raises(InputError, match="'dZ' is the gradient of tap 'Z'"):
        inspected(reference)


def test_an_error_of_the_reference_is_not_swallowed():
    def reference(p):
        raise RuntimeError("of its own")

    with pytest.raises(RuntimeError, match="of its own"):
        run(reference, {"W": leaf(W)}, {"dZ": C})


def test_a_wanted_tap_where_no_gradients_are_kept_has_none():
    def reference(p):
        with torch.no_grad():
            tap("A0", torch.tensor(X))
        return p["W"].sum()

    leaves = {"W": leaf(W)}
    assert inspect_reference(lambda: reference(leaves), leaves, {"A0"}).side_outputs == {"A0"}
