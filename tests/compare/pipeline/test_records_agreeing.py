"""What agrees with the reference's own run is judged without a replay, with the same verdicts as with one."""

import numpy as np
import pytest

from handgrad import check_gradients
from handgrad.compare.pipeline import evidence
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
    monkeypatch.setattr(evidence, "agrees", lambda *_: False)
    whole = check_gradients(*layer)
    assert [row[:6] for row in short.rows] == [row[:6] for row in whole.rows]
    assert [row.verdict for row in short.rows] == [row.verdict for row in whole.rows]
    assert [(f.where, f.cause) for f in short.findings] == [(f.where, f.cause) for f in whole.findings]
    assert short.ok == (by < 1e-14)


def test_one_precision_that_is_off_is_looked_at_closely():
    def derivation(p, X, C):
        returned = TANH.derivation(p, X, C)
        return {**returned, "dW": returned["dW"] * (1.01 if X.dtype == np.float32 else 1)}

    (finding,) = check_gradients(derivation, *TANH[1:]).findings
    assert (finding.where.name, finding.worst.dtype) == ("dW", "float32")
