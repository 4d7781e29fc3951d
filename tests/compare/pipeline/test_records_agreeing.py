"""What agrees with the reference's own run is judged without a replay, with the same verdicts as with one."""

import numpy as np
import pytest

from handgrad import check_gradients, tap
from handgrad.compare.pipeline import evidence, records
from tests.corpus.layers import LINEAR, SQUARES, TANH

LAYERS = {"tanh": TANH, "linear": LINEAR, "squares": SQUARES}


def counted(layer):
    calls = []

    def reference(*given):
        calls.append(None)
        return layer.reference(*given)

    return layer._replace(reference=reference), calls


def off(layer, name, by, entry):
    """The layer with one entry of a tensor off by a share of the largest, in every precision."""

    def derivation(*given):
        returned = layer.derivation(*given)
        wrong = np.array(returned[name])
        wrong.flat[entry] += by * abs(wrong).max()
        return {**returned, name: wrong}

    return layer._replace(derivation=derivation)


@pytest.mark.parametrize("layer", LAYERS.values(), ids=[*LAYERS])
def test_what_agrees_calls_the_reference_once(layer):
    layer, calls = counted(layer)
    assert check_gradients(*layer).ok
    assert len(calls) == 1


@pytest.mark.parametrize("by", [0.0, 1e-15, 1e-12, 1e-9, 1.0])
@pytest.mark.parametrize("name", ["dW", "db"])
def test_the_verdicts_are_those_with_a_replay(name, by, monkeypatch):
    layer = off(TANH, name, by, 0)
    short = check_gradients(*layer)
    monkeypatch.setattr(records, "_agree", lambda *_: False)
    whole = check_gradients(*layer)
    assert [row[:6] for row in short.rows] == [row[:6] for row in whole.rows]
    assert [row.verdict for row in short.rows] == [row.verdict for row in whole.rows]
    assert [(f.where, f.cause) for f in short.findings] == [(f.where, f.cause) for f in whole.findings]
    assert short.ok == (by < 1e-14)


def test_a_long_sum_in_another_order_calls_the_reference_once_and_a_mistake_in_it_is_found():
    n, rng = 3000, np.random.default_rng(5)
    params = {"W": rng.standard_normal((1, n))}

    def reference(p, X):
        Z = tap("Z", p["W"] @ X)
        return (Z * Z).sum()

    def derivation(p, X):
        Z = np.zeros((1, X.shape[1]), X.dtype)
        for k in range(n):  # one term after the other: as far from torch's sums as rounding goes
            Z += p["W"][:, k : k + 1] * X[k : k + 1]
        return {"Z": Z, "J": np.sum(Z * Z), "dW": 2 * Z @ X.T}

    layer = SQUARES._replace(derivation=derivation, reference=reference, params=params, batch=(rng.random((n, 7)),))
    counting, calls = counted(layer)
    assert check_gradients(*counting).ok
    assert len(calls) == 1
    (finding,) = check_gradients(*off(layer, "dW", 1e-12, 5)).findings
    assert (finding.where.name, finding.worst.index) == ("dW", (0, 5))


@pytest.mark.parametrize("entry", [0, 70_000, -1])
def test_a_large_tensor_is_compared_whole_in_blocks(entry):
    rng = np.random.default_rng(6)
    params = {"W": rng.standard_normal((300, 301)), "b": rng.standard_normal((300, 1))}
    large = TANH._replace(params=params, batch=(rng.standard_normal((301, 6)), rng.standard_normal((300, 6))))
    assert check_gradients(*large).ok
    (finding,) = check_gradients(*off(large, "dW", 1e-9, entry)).findings
    assert (finding.where.name, finding.worst.index) == ("dW", np.unravel_index(entry % 90_300, (300, 301)))


def test_one_precision_that_is_off_is_looked_at_closely():
    def derivation(p, X, C):
        returned = TANH.derivation(p, X, C)
        return {**returned, "dW": returned["dW"] * (1.01 if X.dtype == np.float32 else 1)}

    (finding,) = check_gradients(derivation, *TANH[1:]).findings
    assert (finding.where.name, finding.worst.dtype) == ("dW", "float32")


ROW, COLUMN = np.array([[1.0], [1e-8], [1e-16], [1e-24]]), np.array([[1.0], [1e-10], [1e-20]])
ROWS = TANH._replace(batch=(TANH.batch[0], TANH.batch[1] * ROW))  # gradients of 24 decades, row by row
BOTH = TANH._replace(batch=(TANH.batch[0] * COLUMN, TANH.batch[1] * ROW))
LAST = np.arange(12).reshape(4, 3) == 11


@pytest.mark.parametrize(
    ("layer", "name", "wrong"),
    [
        (ROWS, "dW", lambda dW: np.where(ROW < 1e-20, -dW, dW)),
        (ROWS, "dW", lambda dW: np.where(ROW < 1e-20, dW * (1 + 1e-6), dW)),
        (ROWS, "db", lambda db: np.where(ROW < 1e-20, -db, db)),
        (BOTH, "dW", lambda dW: np.where(COLUMN.T < 1e-15, dW * (1 + 1e-6), dW)),
        (BOTH, "dW", lambda dW: np.where(LAST, -dW, dW)),
        (BOTH, "dW", lambda dW: np.where(LAST, 1.01 * dW, dW)),
        (TANH, "dZ", lambda dZ: np.where(dZ == dZ.max(), np.nan, dZ)),
        (TANH, "db", lambda db: db * (1 + 1e-12)),
    ],
    ids=["sign of a row", "share of a row", "sign of a bias", "column", "sign", "share", "nan", "all"],
)
def test_a_tiny_mistake_beside_large_numbers_does_not_agree(layer, name, wrong):
    finding = check_gradients(*layer.returning(**{name: lambda records: wrong(records[name])})).findings[0]
    assert finding.where.name == name


def _by_examples(p, X, C):
    returned = TANH.derivation(p, X, C)
    return {**returned, "dW": sum(np.outer(*pair) for pair in zip(returned["dZ"].T, X.T, strict=True))}


def _by_cosh(p, X, C):
    dZ = C / np.cosh(p["W"] @ X + p["b"]) ** 2
    return {"dZ": dZ, "dW": dZ @ X.T, "db": dZ.sum(1, keepdims=True)}


def _backwards(p, X, C):
    returned = TANH.derivation(p, X, C)
    return {**returned, "dW": returned["dZ"][:, ::-1] @ X[:, ::-1].T}


@pytest.mark.parametrize("derivation", [_by_examples, _by_cosh, _backwards])
def test_what_rounds_otherwise_agrees(derivation, monkeypatch):
    for layer in (ROWS, BOTH):  # where a replay may be needed
        assert check_gradients(derivation, *layer[1:]).ok
    monkeypatch.delattr(evidence, "run_on_records")
    assert check_gradients(derivation, *TANH[1:]).ok
