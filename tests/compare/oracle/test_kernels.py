"""torch's operations by how they round: the table, and what is not in it."""

import pytest
import torch

from handgrad.compare.oracle.kernels import contracted, decomposition, kind_of, name_of, out_of_place

aten = torch.ops.aten
KINDS = {
    aten.view.default: "exact",
    aten.relu.default: "exact",
    aten.max.dim: "exact",
    aten.copy_.default: "exact",
    aten.add.Tensor: "once",
    aten.mul_.Tensor: "once",
    aten.exp.default: "several",
    aten.exp_.default: "several",
    aten.pow.Tensor_Scalar: "power",
    aten.mm.default: "sum",
    aten.sum.dim_IntList: "sum",
    aten._fft_r2c.default: "transform",
    aten.linalg_solve_triangular.default: "opaque",
    aten._linalg_det.default: "opaque",
}


@pytest.mark.parametrize(("operation", "kind"), KINDS.items(), ids=str)
def test_an_operation_rounds_as_the_table_says_in_place_or_not(operation, kind):
    assert kind_of(operation) == kind


@pytest.mark.parametrize("name", ["tanh_backward", "sigmoid_backward", "_softmax_backward_data", "native_layer_norm"])
def test_what_torch_fuses_is_taken_apart(name):
    assert decomposition(getattr(aten, name).default) is not None
    assert kind_of(getattr(aten, name).default) == "decomposed"


def test_most_of_the_table_is_what_this_torch_has():
    """A name that torch renames becomes opaque, silently; so many are there today."""
    from handgrad.compare.oracle.kernels import _DECOMPOSED, _KINDS

    names = [name for names in (*_KINDS.values(), _DECOMPOSED) for name in names.split()]
    assert len({*names}) > 250
    missing = [name for name in names if not hasattr(aten, name)]
    assert len(missing) <= 12, missing


def test_an_operation_in_place_has_one_that_makes_a_new_tensor():
    assert out_of_place(aten.add_.Tensor) is aten.add.Tensor
    assert out_of_place(aten.addcmul_.default) is aten.addcmul.default
    assert out_of_place(aten.detach_.default) is aten.detach.default
    assert out_of_place(aten.squeeze_.dims) is aten.squeeze.dims


def test_how_many_terms_an_entry_sums():
    a, b = torch.ones(3, 4), torch.ones(4, 5)
    assert contracted("mm", (a, b), a @ b) == 4
    assert contracted("sum", (a,), a.sum(0)) == 3
    assert contracted("sum", (a,), a.sum()) == 12
    assert name_of(aten.mul_.Tensor) == "mul_"
