"""What a derivation returned, name by name: missing, unknown, ended by an exception, or kept in shared memory."""

import numpy as np
import pytest
import torch

from handgrad import check_gradients, tap
from handgrad.compare.facts.causes import Examples, Unknown
from handgrad.compare.facts.failures import NotComputed, NotReal, Raised, ReturnedInstead
from handgrad.compare.facts.operands import Overwritten, SharesMemory
from handgrad.compare.facts.remarks import Float32Only, Float64Inside, NotJudged
from handgrad.compare.names import Key
from handgrad.compare.ownership import named
from tests.corpus.layers import LINEAR, SQUARES, TANH

HERE = named(__file__)


def names_of(report):
    return [finding.where.name for finding in report.findings]


# --- missing names


def test_a_parameter_gradient_that_is_owed_is_missing():
    (finding,) = check_gradients(*TANH.without("db")).findings
    assert (finding.where, finding.verdict, finding.cause) == (Key(1, "backward", "db"), "MISSING", NotComputed())


@pytest.mark.parametrize("only", ["float32", "float64"])
def test_a_name_that_is_missing_in_one_precision_alone_is_found(only):
    def forgetful(p, X, C):
        return (TANH.without("dZ") if X.dtype != only else TANH).derivation(p, X, C)

    report = check_gradients(forgetful, *TANH[1:], precisions=(only, "float64" if only == "float32" else "float32"))
    (finding,) = report.findings
    assert (finding.where.name, finding.cause) == ("dZ", NotComputed("", "float64" if only == "float32" else "float32"))


def test_an_empty_mapping_misses_every_parameter():
    report = check_gradients(lambda *_: {}, *TANH[1:])
    assert [(f.where.name, f.cause) for f in report.findings] == [("db", NotComputed()), ("dW", NotComputed())]
    assert report.notes == ()


def renamed(layer, old, new):
    def derivation(*given):
        return {new if name == old else name: value for name, value in layer.derivation(*given).items()}

    return layer._replace(derivation=derivation)


@pytest.mark.parametrize("name", ["dWl", "grad_W", "W_grad", "dw", "gW", "dL_dW", "W", "by_its_values"])
def test_a_misspelt_gradient_is_told_where_it_is_missing_and_nowhere_else(name):
    report = check_gradients(*renamed(TANH, "dW", name))
    (finding,) = report.findings
    assert (finding.where.name, finding.verdict, finding.cause) == ("dW", "MISSING", NotComputed(name))
    assert report.notes == ()


@pytest.mark.parametrize("name", ["grad_W", "gW", "W_grad"])
def test_a_misspelling_is_asked_about_whatever_its_values_are(name):
    layer = TANH.without("dW").returning(**{name: lambda records: records["dX"]})
    (finding,) = check_gradients(*layer).findings
    assert finding.cause == NotComputed(name)


def test_a_name_that_is_not_close_and_of_other_values_is_no_misspelling():
    report = check_gradients(*TANH.without("dW").returning(dVV=lambda records: records["dX"]))
    assert {f.where.name: f.cause for f in report.findings} == {"dW": NotComputed("")}


def test_parameters_that_are_returned_as_they_were_are_no_misspellings():
    layer = TANH.without("dW").returning(W=lambda _: TANH.params["W"], X=lambda _: TANH.batch[0])
    report = check_gradients(*layer, precisions=("float64",))
    assert [f.cause for f in report.findings] == [NotComputed()]
    assert report.notes == ()


def test_a_gradient_on_which_J_does_not_depend_is_a_note():
    def with_a_side_output(p, X, C):
        Z = p["W"] @ X + p["b"]
        tap("share", (Z > 0).double().mean())
        return TANH.reference(p, X, C)

    layer = TANH._replace(reference=with_a_side_output)
    report = check_gradients(*layer.returning(dshare=lambda _: np.float64(0)))
    assert (report.findings, report.notes) == ((), (NotJudged("share"),))


def test_the_names_of_what_returned_come_in_dataflow_order():
    report = check_gradients(*LINEAR)
    assert [row.name for row in report.rows] == ["Z", "J", "dZ", "db", "dX", "dW"]


# --- something else than a mapping


@pytest.mark.parametrize(
    ("returned", "instead"), [(None, "None"), ([1.0], "a list"), (3.0, "a float"), ((), "a tuple")], ids=str
)
def test_what_is_no_mapping_is_missing(returned, instead):
    (finding,) = check_gradients(lambda *_: returned, *TANH[1:]).findings
    assert (finding.verdict, type(finding.cause)) == ("MISSING", ReturnedInstead)
    assert (finding.cause.who, finding.cause.did, finding.cause.instead) == ("derivation", "returned", instead)
    assert "'dW'" in finding.cause.remedy or "'db'" in finding.cause.remedy


def test_a_mapping_that_raises_when_it_is_read_is_a_finding():
    class Broken(dict):
        def items(self):
            raise RuntimeError("not ready")

    (finding,) = check_gradients(lambda *given: Broken(TANH.derivation(*given)), *TANH[1:]).findings
    assert isinstance(finding.cause, Raised)
    assert (finding.cause.exception, finding.cause.message) == ("RuntimeError", "not ready")


# --- exceptions


def test_an_exception_is_a_finding_at_the_line_and_the_name_it_was_to_assign():
    def failing(p, X, C):
        Z = p["W"] @ X + p["b"]
        dZ = C * (1 - np.tanh(Z) ** 2)
        dW = dZ @ X
        return {"Z": Z, "dW": dW}

    report = check_gradients(failing, *TANH[1:])
    (finding,) = report.findings
    assert (finding.where, finding.verdict) == (Key(1, "backward", "dW"), "FAULT")
    assert isinstance(finding.cause, Raised)
    line = failing.__code__.co_firstlineno + 3
    assert (finding.cause.exception, finding.cause.file, finding.cause.line) == ("ValueError", HERE, line)
    assert finding.cause.dtype == ""
    assert report.rows == ()


def test_an_exception_is_told_at_the_intermediate_on_whose_line_it_is_raised():
    def broken(p, X, C):
        Z = p["W"] @ X + p["b"]
        dZ = p["W"] @ C
        return {"Z": Z, "dZ": dZ}

    (finding,) = check_gradients(broken, *TANH[1:]).findings
    assert (finding.where, finding.cause.code) == (Key(1, "backward", "dZ"), "exception")


def test_a_gradient_under_a_name_of_its_own_is_told_at_what_it_is_of():
    def broken(p, X, C):
        grads = {}
        grads["W"] = p["W"] @ C
        return grads

    (finding,) = check_gradients(broken, *TANH[1:]).findings
    assert finding.where == Key(1, "backward", "dW")


def test_an_exception_on_a_line_that_assigns_nothing_is_told_at_what_was_due_first():
    def broken(*_):
        raise KeyError("x")

    (finding,) = check_gradients(broken, *TANH[1:]).findings
    assert (finding.where.name, finding.cause.exception) == ("db", "KeyError")


def test_an_exception_in_one_precision_alone_says_which():
    """Where float64 is asked for first it is a note: float32 is what is left out."""

    def picky(p, X, C):
        if X.dtype == "float32":
            raise TypeError("not this one")
        return TANH.derivation(p, X, C)

    (finding,) = check_gradients(picky, *TANH[1:], precisions=("float32", "float64")).findings
    assert isinstance(finding.cause, Raised)
    assert (finding.cause.exception, finding.cause.dtype, finding.cause.file) == ("TypeError", "float32", HERE)


def test_objects_that_cannot_be_printed():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

        __hash__ = Exception.__hash__

    def raising(*_):
        raise Mute

    assert check_gradients(raising, *TANH[1:]).first.cause.message == "<Mute>"
    report = check_gradients(lambda *given: {**TANH.derivation(*given), Mute(): 1.0}, *TANH[1:])
    assert [note.tensors for note in report.notes] == [("<Mute>",)]


@pytest.mark.parametrize(
    "error",
    [RecursionError, MemoryError, StopIteration, AssertionError, FloatingPointError, SystemExit, GeneratorExit],
)
def test_whatever_is_raised_is_a_finding(error):
    def raising(*_):
        raise error

    (finding,) = check_gradients(raising, *TANH[1:]).findings
    assert (type(finding.cause), finding.cause.exception) == (Raised, error.__name__)


# --- shared memory


def relu_in_torch(p, X, C):
    Z = tap("Z", p["W"] @ X + p["b"])
    return (C * tap("A", torch.relu(Z))).sum()


def test_a_result_overwritten_in_place_is_told_with_what_it_holds():
    def overwriting(p, X, C):
        Z = p["W"] @ X + p["b"]
        dA = C.copy()
        dZ = dA
        dZ[Z <= 0] = 0
        return {"Z": Z, "dA": dA, "dZ": dZ, "dW": dZ @ X.T, "db": dZ.sum(1, keepdims=True)}

    (finding,) = check_gradients(overwriting, relu_in_torch, *TANH[2:]).findings
    assert (finding.where.name, finding.cause) == ("dA", Overwritten("dZ"))


def test_a_buffer_that_two_gradients_share_is_told():
    """dA is handed to dZ and filled with what has nothing to do with it."""
    noise = np.random.default_rng(5).standard_normal((4, 6))

    def in_torch(p, X, C):
        Z = tap("Z", p["W"] @ X + p["b"])
        A = tap("A", torch.relu(Z))
        return (C * tap("S", torch.sigmoid(A))).sum()

    def by_hand(p, X, C):
        Z = p["W"] @ X + p["b"]
        A = np.maximum(Z, 0)
        S = 1 / (1 + np.exp(-A))
        buffer = (noise + 0 * A).astype(A.dtype)
        dA = C * S * (1 - S)
        dZ = dA * (Z > 0)
        return {"Z": Z, "A": A, "S": S, "dS": buffer, "dZ": buffer, "dW": dZ @ X.T, "db": dZ.sum(1, keepdims=True)}

    report = check_gradients(by_hand, in_torch, *TANH[2:])
    assert (report.first.where.name, report.first.cause) == ("dS", SharesMemory("dZ"))


def test_a_wrong_tensor_of_which_another_is_a_view_is_not_aliased():
    """Nothing is overwritten: the view has the same numbers in other places, and is right for what it is taken of."""
    noise = 1 + 1e-6 * np.random.default_rng(5).choice([-1.0, 1.0], (4, 6))

    def of_a_view(p, X, C):
        H = tap("H", tap("Z", p["W"] @ X + p["b"]).reshape(4, 2, 3))
        return (C * torch.tanh(tap("T", H.transpose(1, 2))).transpose(1, 2).reshape(4, 6)).sum()

    def by_hand(p, X, C):
        records = TANH.derivation(p, X, C)
        Z = records["Z"] * noise.astype(X.dtype)
        return {"Z": Z, "T": Z.reshape(4, 2, 3).swapaxes(1, 2), "dW": records["dW"], "db": records["db"]}

    first = check_gradients(by_hand, of_a_view, *TANH[2:]).first
    assert (first.where.name, first.cause) == ("Z", Unknown())


def test_sharing_memory_is_no_fault_where_the_values_are_right():
    def identity(p, X, C):
        Z = tap("Z", p["W"] @ X + p["b"])
        return (C * tap("A", Z)).sum()

    def shared(p, X, C):
        Z = p["W"] @ X + p["b"]
        return {"Z": Z, "A": Z, "dA": C, "dZ": C, "dW": C @ X.T, "db": C.sum(1, keepdims=True)}

    assert check_gradients(shared, identity, *TANH[2:]).findings == ()


def test_an_array_that_is_overwritten_after_it_was_returned_is_the_only_culprit():
    labels, rng = np.array([0, 2, 1, 1]), np.random.default_rng(8)

    def reference(p, X, y):
        q = tap("q", torch.softmax(X @ p["W"], 1))
        return -torch.log(q[torch.arange(len(y)), y]).mean()

    def derivation(p, X, y):
        Z = X @ p["W"]
        q = np.exp(Z - Z.max(1, keepdims=True))
        q /= q.sum(1, keepdims=True)
        J = -np.log(q[np.arange(len(y)), y]).mean()
        dZ = q
        dZ[np.arange(len(y)), y] -= 1
        dZ /= len(y)
        return {"q": q, "J": J, "dW": X.T @ dZ}

    report = check_gradients(
        derivation, reference, {"W": rng.standard_normal((5, 3))}, (rng.standard_normal((4, 5)), labels)
    )
    assert names_of(report) == ["q"], str(report)


# --- which of several is a culprit


def test_a_gradient_that_is_right_although_a_wrong_one_is_returned_before_it_is_no_culprit():
    """dW is computed from dZ, not from the dZ[::-1] that is returned."""
    layer = LINEAR.returning(dZ=lambda records: records["dZ"][::-1])
    assert names_of(check_gradients(*layer)) == ["dZ"]
    assert names_of(check_gradients(*layer.scaled("dW", 1.1))) == ["dZ", "dW"], "wrong itself too"


def test_an_entry_of_no_sum_is_no_example_left_out():
    """db is a sum over the six examples, each in every entry of it; a row of dZ is in one entry alone."""
    layer = TANH.returning(db=lambda records: np.where(np.arange(4)[:, None] == 1, 0, records["db"]))
    (finding,) = check_gradients(*layer).findings
    assert (finding.where.name, finding.verdict) == ("db", "FAULT")
    assert not isinstance(finding.cause, Examples)


# --- the precision that it computes in


def cast(dtype):
    def derivation(p, X, C):
        params = {name: array.astype(dtype) for name, array in p.items()}
        return SQUARES.derivation(params, X.astype(dtype), C.astype(dtype))

    return SQUARES._replace(derivation=derivation)


def test_a_derivation_in_float64_inside_is_no_fault():
    for layer, names in ((cast("f8"), []), (cast("f8").scaled("db", 2.0), ["db"])):
        report = check_gradients(*layer)
        assert names_of(report) == names
        assert Float64Inside() in report.notes


def test_a_derivation_in_float32_inside_is_judged_in_float32():
    report = check_gradients(*cast("f4"))
    assert (report.findings, report.notes) == ((), (Float32Only(),))
    assert report.environment["precisions"] == ["float32"]
    (finding,) = check_gradients(*cast("f4").scaled("db", np.float32(1.01))).findings
    assert finding.where.name == "db"


def test_a_value_of_no_precision_is_not_what_a_derivation_computes_in():
    """Everything is exact in float32 too; what the derivation computes in shows where numbers are rounded."""
    rng = np.random.default_rng(4)
    params = {"W": rng.integers(-3, 4, (4, 3)) * 1.0}
    batch = (rng.integers(-3, 4, (8, 4)) * 1.0,)

    def slightly_off(p, X):
        E = X @ p["W"]
        return {"J": (E**2).sum() / 2, "dW": X.T @ E * np.asarray(1 + 2**-13, X.dtype)}

    report = check_gradients(slightly_off, lambda p, X: ((X @ p["W"]) ** 2).sum() / 2, params, batch)
    assert [(f.where.name, f.verdict) for f in report.findings] == [("dW", "FAULT")], str(report)
    assert not {type(note) for note in report.notes} & {Float32Only, Float64Inside}


def test_a_kind_of_number_that_is_none_is_told_before_what_is_wrong():
    report = check_gradients(*TANH.scaled("dW", 2.0).returning(Z=lambda _: "Z"))
    assert (report.first.where.name, report.first.cause) == ("Z", NotReal("a str"))
