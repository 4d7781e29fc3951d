"""The network as straight lines is the network, bit for bit, and its twin agrees."""

import numpy as np
import pytest

from handgrad import check_gradients
from handgrad.compare.experiment.run import Experiment
from handgrad.manual.network import backward, cost, forward
from handgrad.manual.two_layers import derivation
from handgrad.torchref.two_layers import reference
from tests.repository import ROOT
from tests.rules.lesson import labels
from tests.rules.sources import of_folders
from tests.support import network_of, small_data

SIZES = {"as in the notes": (30, 16, 1, 32), "others": (5, 4, 1, 7)}


def case(sizes, seed=3):
    n_x, n_1, K, n = sizes
    network, params = network_of(Experiment(layers=(n_x, n_1, K), bias_scale=0.7, seed=seed))
    X, y = small_data(n_x, K, n, seed)
    return network, params, X.T, y.T


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_the_straight_lines_give_what_the_network_gives_bit_for_bit(sizes, dtype):
    network, params, X, Y = case(sizes)
    params, X, Y = {name: w.astype(dtype) for name, w in params.items()}, X.astype(dtype), Y.astype(dtype)
    cache = forward(network, params, X)
    due = {**cache, **cost(network, params, cache, Y), **backward(network, params, cache, X, Y)}
    tensors = derivation(params, X, Y)
    assert tensors.keys() == due.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, due[name], err_msg=name)
        assert tensor.dtype == dtype


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_the_two_files_agree(sizes):
    _, params, X, Y = case(sizes)
    report = check_gradients(derivation, reference, params, (X, Y))
    assert report.ok, str(report)
    assert {row.name for row in report.rows} >= {"Z1", "A1", "Z2", "A2", "losses", "dZ2", "dA1", "dZ1", "J"}


def test_every_line_has_the_label_of_its_equation():
    lines = {}
    for side in ("manual", "torchref"):
        (source,) = [source for source in of_folders(ROOT, side) if source.path == f"{side}/two_layers.py"]
        lines[side] = {label: len(places) for label, places in labels([source]).items()}
    assert lines["torchref"] == {"F1": 2, "F2": 2, "L1": 1, "L2": 1}
    assert lines["manual"] == lines["torchref"] | {"B1": 1, "B2": 2, "B3": 2, "B4": 1, "B5": 1}
