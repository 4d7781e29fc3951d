"""The recorded graph gives what replay gives, step by step, in both forms, whatever the reference does inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handgrad import tap
from handgrad.compare.oracle.graph import Form, Graph
from handgrad.compare.oracle.reference import recorded_graph, run_on_records
from handgrad.compare.oracle.textbook import textbook

RNG = np.random.default_rng(20)
PARAMS = {"W": RNG.normal(size=(4, 3)), "b": RNG.normal(size=3), "V": RNG.normal(size=(3, 4))}
BATCH = {"X": RNG.normal(size=(5, 4)), "Y": RNG.normal(size=(5, 3))}
Params = dict[str, Tensor]


def branch(p: Params, X: Tensor, Y: Tensor) -> Tensor:
    Z = tap("Z", X @ p["W"] + p["b"])
    return ((Z if Z.sum() > 0 else -2 * Z) * Y).sum()


def item(p: Params, X: Tensor, Y: Tensor) -> Tensor:
    Z = tap("Z", X @ p["W"] + p["b"])
    return (Z * Y).sum() / Z.detach().abs().max().item()


def while_loop(p: Params, X: Tensor, Y: Tensor) -> Tensor:
    h = tap("Z", X @ p["W"] + p["b"])
    while float(h.detach().abs().max()) > 0.5:
        h = 0.5 * torch.tanh(h)
    return (h * Y).sum()


def rows_written(p: Params, X: Tensor, Y: Tensor) -> Tensor:
    H = torch.zeros(5, 3)
    h = p["b"]
    for t in range(5):
        h = torch.tanh(X[t] @ p["W"] + h)
        H[t] = h
    return (tap("Z", H) * Y).sum()


def views_written(p: Params, X: Tensor, Y: Tensor) -> Tensor:
    Z = tap("Z", X @ p["W"] + p["b"])
    A = Z.clone()
    top, column = A[1:3], A[:, 1]
    column.mul_(2)
    top.add_(1)
    A[0, 0] = 7.0
    return (A * Y).sum() + (top * top).sum() + column.exp().sum()


def added_in_place(p: Params, X: Tensor, Y: Tensor) -> Tensor:
    Z = X @ p["W"]
    Z += p["b"]
    total = torch.zeros(3)
    for row in tap("Z", Z):
        total += row.tanh()
    return (total * Y.sum(0)).sum()


def dropout(p: Params, X: Tensor, Y: Tensor) -> Tensor:
    torch.manual_seed(3)
    Z = tap("Z", X @ p["W"] + p["b"])
    return (F.dropout(Z, 0.4) * Y).sum()


def boolean_mask(p: Params, X: Tensor, Y: Tensor) -> Tensor:
    Z = tap("Z", X @ p["W"] + p["b"])
    return (Z[Z > 0] ** 2).sum() + (Z * Y).sum()


def double_backward(p: Params, X: Tensor, Y: Tensor) -> Tensor:
    U = torch.tanh(X @ p["W"] + p["b"])
    (slope,) = torch.autograd.grad(U.sum(), p["W"], create_graph=True)
    return (slope**2).sum() + (U * Y).sum()


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * 3 * ctx.saved_tensors[0] ** 2


def custom_function(p: Params, X: Tensor, Y: Tensor) -> Tensor:
    cubed: Tensor = Cube.apply(tap("Z", X @ p["W"] + p["b"]))  # type: ignore[no-untyped-call]
    return (cubed * Y).sum()


def attention(p: Params, X: Tensor, Y: Tensor) -> Tensor:
    Z = tap("Z", X @ p["W"] + p["b"])
    return (F.scaled_dot_product_attention(Z[None], Y[None], Z[None] * 2)[0] * Y).sum()


def sorted_values(p: Params, X: Tensor, Y: Tensor) -> Tensor:
    Z = tap("Z", X @ p["W"] + p["b"])
    return (Z.sort(dim=0).values * Y).sum() + Z.topk(2, dim=1).values.prod()


def lstm(p: Params, X: Tensor, Y: Tensor) -> Tensor:
    torch.manual_seed(0)
    cell = nn.LSTM(3, 3)
    out, _ = cell(tap("Z", X @ p["W"] + p["b"])[:, None])
    return (out[:, 0] * Y).sum()


def normalised(p: Params, X: Tensor, Y: Tensor) -> Tensor:
    Z = tap("Z", X @ p["W"] + p["b"])
    A = F.batch_norm(Z, None, None, p["b"], p["V"][:, 0], training=True)
    B = F.layer_norm(A @ p["V"], (4,), p["W"][:, 0], p["W"][:, 1])
    C = F.group_norm((B @ p["W"])[:, :, None].repeat(1, 2, 2), 2, eps=1e-3)
    return (F.log_softmax(C[:, :3, 0], 1) * Y).sum() + C.var() + F.rms_norm(Z, (3,)).std()


def running_statistics(p: Params, X: Tensor, Y: Tensor) -> Tensor:
    mean, variance = Y[0].clone(), Y[1].clone().exp()
    Z = F.batch_norm(X @ p["W"], mean, variance, p["b"], training=True, momentum=0.2)
    tap("m", mean)
    return (Z * Y).sum() + (tap("v", variance) * Y).sum()


def losses(p: Params, X: Tensor, Y: Tensor) -> Tensor:
    Z = tap("Z", X @ p["W"] + p["b"])
    labels = Y.argmax(1)
    smooth = F.silu(Z) + F.gelu(Z) + F.gelu(Z, approximate="tanh") + F.softplus(Z) + F.leaky_relu(Z, 0.1) + F.elu(Z)
    of_classes = F.cross_entropy(Z, labels) + F.nll_loss(Z, labels, reduction="sum") + Z.logsumexp(1).sum()
    return of_classes + F.binary_cross_entropy_with_logits(smooth, Y) + F.logsigmoid(Z).mean() + F.huber_loss(Z, Y)


def embedded(p: Params, X: Tensor, Y: Tensor) -> Tensor:
    rows = torch.tensor([0, 2, 2, 1, 3])
    return (F.embedding(rows, p["W"]) * Y).sum() + (F.conv1d(p["V"][None], p["W"].T[:, :3, None]) ** 2).sum()


COMPILED = torch.compile(nn.Tanh(), backend="eager")


def compiled(p: Params, X: Tensor, Y: Tensor) -> Tensor:
    return (COMPILED(tap("Z", X @ p["W"] + p["b"])) * Y).sum()


REFERENCES = (
    branch, item, while_loop, rows_written, views_written, added_in_place, dropout, boolean_mask, double_backward,
    custom_function, attention, sorted_values, lstm, normalised, running_statistics,
    losses, embedded,
    pytest.param(compiled, marks=pytest.mark.filterwarnings("ignore")),  # torch warns of our hooks on modules
)  # fmt: skip
FORMS: tuple[Form, ...] = ("textbook", "stable")


def graph_and_replay(
    reference: Callable[..., Tensor], records: dict[str, np.ndarray], form: Form
) -> tuple[Graph, dict[str, np.ndarray]]:
    run = run_on_records(reference, PARAMS, BATCH, records)
    return recorded_graph(reference, PARAMS, BATCH, records, form), {**run.values, **run.gradients}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("recorded", ["nothing", "values", "gradients too"])
@pytest.mark.parametrize("reference", REFERENCES)
def test_gives_what_replay_gives(reference: Callable[..., Tensor], recorded: str, form: Form) -> None:
    rng = np.random.default_rng(7)
    records = {"nothing": {}, "values": {"Z": rng.normal(size=(5, 3))}}.get(
        recorded, {"Z": rng.normal(size=(5, 3)), "dZ": rng.normal(size=(5, 3))}
    )
    graph, local = graph_and_replay(reference, records, form)
    assert graph.outputs.keys() == local.keys()
    again = graph.valued({})
    for name, value in local.items():
        size = np.abs(value).max()
        np.testing.assert_allclose(graph.outputs[name].value.numpy(), value, rtol=1e-9, atol=1e-12 * size, err_msg=name)
        np.testing.assert_allclose(again[graph.outputs[name]].numpy(), value, rtol=1e-9, atol=1e-12 * size)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reference", [rows_written, views_written, added_in_place])
def test_an_edit_passes_through_what_is_written_in_place(reference: Callable[..., Tensor], form: Form) -> None:
    graph, _ = graph_and_replay(reference, {}, form)
    values = graph.valued({"W": torch.from_numpy(2 * PARAMS["W"])})
    expected = run_on_records(reference, {**PARAMS, "W": 2 * PARAMS["W"]}, BATCH, {}).values["J"]
    np.testing.assert_allclose(values[graph.outputs["J"]].numpy(), expected, rtol=1e-12)


def test_a_segment_ends_at_records() -> None:
    def reference(p: Params, X: Tensor, Y: Tensor) -> Tensor:
        Z = tap("Z", X @ p["W"] + p["b"])
        A = tap("A", torch.tanh(Z))
        return ((A - Y) ** 2).sum() / 2

    records = {name: RNG.normal(size=(5, 3)) for name in ("Z", "A", "dA", "dZ")}
    graph, _ = graph_and_replay(reference, records, "textbook")
    starts = {name: {node.name for node in graph.segment(name) if node.name} for name in graph.outputs}
    assert starts == {
        "Z": {"X", "W", "b"}, "A": {"Z"}, "J": {"A", "Y"}, "dA": {"A", "Y"}, "dZ": {"Z", "dA"},
        "dW": {"X", "dZ"}, "db": {"dZ"},
    }  # fmt: skip


def test_the_textbook_has_the_steps_that_a_stable_form_has_not() -> None:
    kinds = {}
    for form in FORMS:
        graph, _ = graph_and_replay(losses, {"Z": RNG.normal(size=(5, 3))}, form)
        kinds[form] = [node.kind for node in graph.segment("J")]
    assert "log" in kinds["textbook"]
    assert kinds["textbook"].count("log") > kinds["stable"].count("log")


def test_every_form_of_the_textbook_stands_for_an_operation_of_torch() -> None:
    assert textbook(torch.ops.aten.tanh_backward.default) is not None
    assert textbook(torch.ops.aten.tanh.default) is None


def test_polygamma_is_evaluated_again_nearby_alone() -> None:
    """Far below 0 torch counts up to it, one by one."""

    def reference(p: Params, X: Tensor, Y: Tensor) -> Tensor:
        return torch.polygamma(2, p["b"].abs() + 1).sum() + (X @ p["W"] * Y).sum()

    graph, local = graph_and_replay(reference, {}, "textbook")
    (node,) = (node for node in graph.segment("J") if node.kind == "polygamma")
    np.testing.assert_allclose(graph.outputs["J"].value.numpy(), local["J"])
    with pytest.raises(ValueError, match="polygamma"):
        node.evaluated({node.parents[0]: torch.full((3,), -1e9)})


@pytest.mark.parametrize("shape", [(3, 1, 3), (1, 3, 4), (1, 2, 3)], ids=str)
def test_a_convolution_is_not_differentiated_along_what_is_none_of_its_results(shape: tuple[int, ...]) -> None:
    """torch reads memory that is not there."""

    def reference(p: Params, X: Tensor, Y: Tensor) -> Tensor:
        return (F.conv1d(X[None], torch.stack([p["W"].T[:, :3]] * 5, 1)) * Y[0, :, None]).sum()

    graph, local = graph_and_replay(reference, {}, "textbook")
    np.testing.assert_allclose(graph.outputs["dW"].value.numpy(), local["dW"])
    (node,) = (node for node in graph.segment("dW") if node.kind == "convolution_backward")
    with pytest.raises(ValueError, match="convolution"):
        node.evaluated({node.args[0]: torch.ones(shape, dtype=torch.float64)})


def test_a_view_of_what_lies_in_memory_otherwise_is_a_reshape() -> None:
    def reference(p: Params, X: Tensor, Y: Tensor) -> Tensor:
        return (tap("Z", X @ p["W"]).view(15).exp() * Y.view(15)).sum()

    records = {"Z": RNG.normal(size=(5, 3))}
    graph, local = graph_and_replay(reference, records, "textbook")
    other = {"Z": torch.from_numpy(np.asfortranarray(records["Z"]))}
    np.testing.assert_allclose(graph.valued(other)[graph.outputs["J"]].numpy(), local["J"])


@pytest.mark.parametrize("place", ["gradient", "indices"])
def test_pooling_is_not_differentiated_along_what_is_none_of_its_results(place: str) -> None:
    def reference(p: Params, X: Tensor, Y: Tensor) -> Tensor:
        return (F.max_pool2d((X @ p["W"])[None], 2, stride=1) * Y[None, :4, :2]).sum()

    graph, local = graph_and_replay(reference, {}, "textbook")
    np.testing.assert_allclose(graph.outputs["dW"].value.numpy(), local["dW"])
    (node,) = (node for node in graph.segment("dW") if node.kind == "max_pool2d_with_indices_backward")
    odd = {"gradient": (node.args[0], torch.ones(1, 9, 9, dtype=torch.float64)), "indices": (node.args[-1], 999)}
    of, value = odd[place]
    with pytest.raises(ValueError, match="not evaluated"):
        node.evaluated({of: value if isinstance(value, Tensor) else torch.full_like(of.value, value)})
