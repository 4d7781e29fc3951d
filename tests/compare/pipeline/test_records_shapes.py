"""Shapes of what a derivation returned: a gradient that cannot be subtracted from its parameter is a FAULT."""

from functools import partial

import numpy as np
import pytest
import torch

from handgrad import check_gradients, tap
from handgrad.compare.facts.failures import NotReal, WrongShape
from handgrad.compare.facts.remarks import OtherShape
from tests.corpus.layers import TANH

MISSHAPEN = {
    "bias lost its second axis": ("db", lambda db: db[:, 0], WrongShape((4,), (4, 1), values="agree")),
    "dW transposed": ("dW", lambda dW: dW.T, WrongShape((3, 4), (4, 3), values="agree")),
    "broadcast": ("db", lambda db: db - np.zeros((1, 4)), WrongShape((4, 4), (4, 1))),
    "one axis too many": ("dW", lambda dW: dW[None], WrongShape((1, 4, 3), (4, 3), values="agree")),
    "another value of the same size": ("dW", lambda dW: 2 * dW[None], WrongShape((1, 4, 3), (4, 3), values="differ")),
    "wrong values too": ("db", lambda db: 2 * db[:, 0], WrongShape((4,), (4, 1), values="differ")),
    "transposed and wrong": ("dW", lambda dW: -dW.T, WrongShape((3, 4), (4, 3), values="differ")),
    "one row": ("dW", lambda dW: dW[0], WrongShape((3,), (4, 3))),
}


@pytest.mark.parametrize(("name", "change", "cause"), MISSHAPEN.values(), ids=MISSHAPEN)
def test_a_gradient_that_cannot_be_subtracted_is_a_fault(name, change, cause):
    report = check_gradients(*TANH.returning(**{name: lambda records: change(records[name])}))
    assert [(f.where.name, f.verdict, f.cause) for f in report.findings] == [(name, "FAULT", cause)], str(report)
    (row,) = (row for row in report.rows if row.name == name)
    assert row.verdict == "FAULT"


COARSE = {"float32": ("float64", "float32"), "float64": ("float32", "float64")}


@pytest.mark.parametrize("precisions", COARSE.values(), ids=" ".join)
@pytest.mark.parametrize("only", COARSE)
@pytest.mark.parametrize(("values", "factor"), [("agree", 1.0), ("differ", 2.0)])
def test_a_shape_that_is_wrong_in_one_precision_alone_is_found(only, precisions, values, factor):
    def turned(p, X, C):
        records = TANH.derivation(p, X, C)
        dW = factor * records["dW"]
        return {**records, "dW": dW.T if X.dtype == only else dW}

    (finding,) = check_gradients(turned, *TANH[1:], precisions=precisions).findings
    assert finding.cause == WrongShape((3, 4), (4, 3), only, values)


@pytest.mark.parametrize("only", COARSE)
def test_a_size_that_is_wrong_in_one_precision_alone_is_found(only):
    def shortened(p, X, C):
        records = TANH.derivation(p, X, C)
        return {**records, "dW": records["dW"][1:] if X.dtype == only else records["dW"]}

    (finding,) = check_gradients(shortened, *TANH[1:]).findings
    assert finding.cause == WrongShape((3, 3), (4, 3), only)


def test_an_intermediate_of_another_shape_is_a_fault_whatever_can_be_subtracted():
    """As long as its values are wrong as well: what only stands in another shape is a convention."""
    (finding,) = check_gradients(*TANH.returning(dZ=lambda records: 1.1 * records["dZ"][None] + 1)).findings
    assert (finding.where.name, finding.cause) == ("dZ", WrongShape((1, 4, 6), (4, 6)))
    assert check_gradients(*TANH.returning(dZ=lambda records: records["dZ"][None])).findings == ()


def test_a_gradient_that_can_be_subtracted_is_a_note():
    def row(p, X, C):
        return (C * torch.tanh(p["W"] @ X + p["b"].T)).sum()

    def as_vector(p, X, C):
        records = TANH.derivation({"W": p["W"], "b": p["b"].T}, X, C)
        return {"dW": records["dW"], "db": records["db"][:, 0]}

    params = {"W": TANH.params["W"], "b": TANH.params["b"].T}
    report = check_gradients(as_vector, row, params, TANH.batch)
    assert report.findings == (), str(report)
    assert report.notes == (OtherShape("db", (4,), (1, 4)),)


def test_a_J_of_another_shape_is_a_note():
    def summed(p, X, C):
        return {"J": np.full((1, 1), (C * np.tanh(p["W"] @ X + p["b"])).sum()), **TANH.derivation(p, X, C)}

    report = check_gradients(summed, *TANH[1:])
    assert (report.findings, report.notes) == ((), (OtherShape("J", (1, 1), ()),))


def test_lists_and_scalars_are_arrays_too():
    def of_lists(p, x):
        return {"J": float(p["w"]) ** 2 * x[0], "dw": 2.0 * float(p["w"]) * float(x[0]), "s": [float(p["w"])] * 2}

    def in_torch(p, x):
        tap("s", p["w"] * torch.ones(2, dtype=p["w"].dtype))
        return p["w"] ** 2 * x[0]

    assert check_gradients(of_lists, in_torch, {"w": 1.5}, ([0.3, 0.4],)).findings == ()


# --- what is no array of real numbers

UNUSUAL = {
    "a list of tensors": ([torch.ones(1, requires_grad=True)] * 4, "a list"),
    "objects": (np.full((4, 5), None), "an array of dtype object"),
    "a text": ("text", "a str"),
    "complex": (np.ones((4, 6), complex), "an array of dtype complex128"),
    "dates": (np.zeros((4, 6), "M8[s]"), "an array of dtype datetime64[s]"),
}


@pytest.mark.parametrize(("value", "kind"), UNUSUAL.values(), ids=UNUSUAL)
def test_what_numpy_cannot_hold_is_a_finding(value, kind):
    (finding,) = check_gradients(*TANH.returning(dZ=lambda _: value)).findings
    assert (finding.where.name, finding.verdict, finding.cause) == ("dZ", "MISSING", NotReal(kind))


UNREADABLE = {
    "on another device": (torch.ones(4, 6, device="meta"), "a tensor on the device meta", "()"),
    "sparse": (torch.ones(4, 6).to_sparse(), "a tensor of layout torch.sparse_coo", ".to_dense()"),
}


@pytest.mark.parametrize("name", ["dZ", "dX", "dW"])
@pytest.mark.parametrize(("value", "kind", "step"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_tensor_without_readable_values_gets_the_remedy(name, value, kind, step):
    (finding,) = check_gradients(*TANH.returning(**{name: lambda _: value})).findings
    assert (finding.where.name, finding.verdict, finding.cause.kind) == (name, "MISSING", kind)
    assert ".cpu().numpy()" in finding.cause.instead
    assert step in finding.cause.instead


TENSORS = {
    "plain": torch.tensor,
    "that require grad": lambda array: torch.tensor(array, requires_grad=True),
    "computed from what requires grad": lambda array: torch.tensor(array, requires_grad=True) * 1,
    "conjugated": lambda array: torch.tensor(array * 1j).conj().imag.neg(),
}


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
def test_tensors_are_arrays_too(tensor):
    def in_torch(p, X, C):
        return {name: tensor(array) for name, array in TANH.derivation(p, X, C).items()}

    assert check_gradients(in_torch, *TANH[1:]).findings == ()
    (finding,) = check_gradients(*TANH.returning(dW=lambda records: tensor(2 * records["dW"]))).findings
    assert (finding.where.name, finding.factor) == ("dW", 2.0)


def test_a_bfloat16_tensor_is_judged_by_its_values():
    report = check_gradients(*TANH.returning(dW=lambda records: torch.tensor(2 * records["dW"]).bfloat16()))
    assert [f.where.name for f in report.findings] == ["dW"]
    short = check_gradients(*TANH.returning(dW=lambda records: torch.tensor(records["dW"]).bfloat16()))
    assert not any(isinstance(f.cause, NotReal) for f in short.findings), str(short)


MATRICES = {"a matrix": np.matrix, "a matrix of a matrix": lambda a: np.matrix(np.matrix(a))}


@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES)
def test_matrices_are_arrays_too(matrix):
    def of_matrices(p, X, C):
        W, X = matrix(p["W"]), matrix(X)
        Z = W * X + p["b"]
        dZ = np.multiply(C, 1 - np.square(np.tanh(Z)))
        return {"Z": Z, "J": matrix(np.multiply(C, np.tanh(Z)).sum()), "dW": dZ * X.T, "db": dZ.sum(1), "dX": W.T * dZ}

    report = check_gradients(of_matrices, *TANH[1:])
    assert (report.findings, report.notes) == ((), (OtherShape("J", (1, 1), ()),))
    wrong = check_gradients(lambda *given: {**of_matrices(*given), "dW": matrix(given[0]["W"])}, *TANH[1:])
    assert [f.where.name for f in wrong.findings] == ["dW"]


@pytest.mark.parametrize("J", ["x", 1j, [[1.0], [1.0, 2.0]]], ids=str)
def test_a_J_that_is_no_number_beside_a_wrong_gradient(J):
    report = check_gradients(*TANH.scaled("dW", 2.0).returning(J=lambda _: J))
    assert {(f.where.name, f.cause.code) for f in report.findings} == {("J", "missing"), ("dW", "scale")}


@pytest.mark.parametrize("Z", ["text", {"a": 1}, [[1.0], [2.0, 3.0]]], ids=str)
def test_a_tap_that_is_no_array_beside_a_wrong_one(Z):
    def in_torch(p, X, C):
        return (C * tap("A", torch.tanh(tap("Z", p["W"] @ X + p["b"])))).sum()

    def by_hand(p, X, C):
        records = TANH.derivation(p, X, C)
        return {**records, "Z": Z, "A": 1.5 * np.tanh(records["Z"])}

    report = check_gradients(by_hand, in_torch, *TANH[2:])
    found = {finding.where.name: finding for finding in report.findings}
    assert isinstance(found["Z"].cause, NotReal)
    assert found["A"].verdict == "FAULT"


@pytest.mark.parametrize("dtype", [np.longdouble, ">f8", "f4"], ids=str)
def test_other_forms_of_numbers_are_taken(dtype):
    layer = TANH.returning(**{n: partial(lambda r, n: np.asarray(r[n], dtype), n=n) for n in ("Z", "dZ", "dW", "db")})
    report = check_gradients(*layer.without("dX"))
    assert report.ok
    assert report.findings == ()
