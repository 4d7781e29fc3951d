"""What a report says of the machine, and of the precisions that were judged."""

import pytest
import torch

from handgrad.compare.environment import environment
from handgrad.compare.facts.failures import Raised
from handgrad.compare.facts.remarks import Float32Only, Float64Inside, Float64Only, OutOfRange

BOTH = ("float32", "float64")
ALONE = {
    "no note": ((), ["float32", "float64"]),
    "notes of other kinds": ((Float64Inside(), OutOfRange()), ["float32", "float64"]),
    "float64 alone": ((OutOfRange(), Float64Only(Raised("TypeError", "no"))), ["float64"]),
    "float32 alone": ((Float32Only(),), ["float32"]),
}


@pytest.mark.parametrize(("notes", "judged"), ALONE.values(), ids=ALONE)
def test_the_precisions_are_those_that_were_judged(notes, judged):
    content = environment("check_gradients", BOTH, notes=notes)
    assert (content["dtype"], content["precisions"]) == ("float32", judged)


def test_what_is_particular_to_a_check_stands_behind_its_name():
    content = environment("check_updates", BOTH, 3, settings={"lr": 0.1})
    assert [*content][:2] == ["check", "settings"]
    assert content["seed"] == 3


def test_a_check_that_draws_nothing_has_no_seed():
    assert environment("check_gradients", BOTH)["seed"] is None


def test_a_variable_that_sets_the_threads_of_blas_is_named(monkeypatch):
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert environment("check_gradients", BOTH)["blas_threads"].startswith("one per processor")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert environment("check_gradients", BOTH)["blas_threads"] == "OMP_NUM_THREADS=3"


def test_tf32_is_read_whichever_way_it_was_set():
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "tf32"
        assert environment("check_gradients", BOTH)["tf32"] is True
        matmul.fp32_precision = "ieee"
        assert environment("check_gradients", BOTH)["tf32"] is False
    finally:
        matmul.fp32_precision = before
