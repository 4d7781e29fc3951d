"""Tensors that are too large for every step on them to be kept are named on shorter data."""

import numpy as np
import pytest
import torch

from handgrad import check_gradients, tap
from handgrad.compare.diagnosis.scene import MOST_RECORDED
from handgrad.compare.facts.causes import Unknown
from handgrad.compare.facts.edits import MissingTerm


def normalised(columns, shape, *, wrong):
    """Layer norm of rows; wrong: dX lacks the term with the normalised rows. `shape` is what the reference says."""

    def derivation(p, M):
        c = p["X"] - p["X"].mean(1, keepdims=True)
        r = 1 / np.sqrt((c * c).mean(1, keepdims=True) + 1e-5)
        n, m = c * r, M.mean(1, keepdims=True)
        rest = 0 if wrong else n * (M * n).mean(1, keepdims=True)
        return {"n": n, "J": (n * M).sum(), "dn": M, "dX": r * (M - m - rest)}

    def reference(p, M):
        x = p["X"]
        return (tap("n", torch.nn.functional.layer_norm(x, shape or x.shape[1:])) * M).sum()

    rng = np.random.default_rng(3)
    params, batch = {"X": rng.standard_normal((600, columns))}, (rng.standard_normal((600, columns)),)
    return derivation, reference, params, batch


@pytest.mark.parametrize("shape", [(), (700,)], ids=["any", "written down"])
def test_a_term_that_is_missing_from_a_large_tensor_is_named(shape):
    assert 2 * 600 * 700 > MOST_RECORDED
    assert check_gradients(*normalised(700, shape, wrong=False)).findings == ()
    (finding,) = check_gradients(*normalised(700, shape, wrong=True)).findings
    assert (finding.where.name, type(finding.cause)) == ("dX", MissingTerm), str(finding)
    assert finding.worst.index[0] > 32 or finding.worst.index[1] > 32, "the entry shown is one of the large tensor"


def test_what_is_not_wrong_on_shorter_data_has_no_name_from_there():
    derivation, *rest = normalised(700, (), wrong=False)

    def late(p, M):
        returned = derivation(p, M)
        returned["dX"][300:500, 100:] += np.random.default_rng(5).standard_normal(returned["dX"][300:500, 100:].shape)
        return returned

    (finding,) = check_gradients(late, *rest).findings
    assert finding.where.name == "dX"
    assert isinstance(finding.cause, Unknown) or finding.cause.code == "isolated-elements", str(finding)
