"""The table of what a run may be unable to show: its codes, its words, and what it becomes in the documents."""

import pytest

from handgrad.compare.facts.blind_spots import CONDITIONS, blind_spot, table
from tests.repository import ROOT

# Reports that were stored and CI that reads them know these.
STABLE = [
    "not-returned",
    "square-weights",
    "rounding-alone",
    "exactly-zero",
    "zero-parameters",
    "one-precision",
    "few-steps",
    "one-parameter",
    "given-gradients",
    "unmoved",
    "one-step",
    "no-short-batch",
    "parameters-alone",
    "square-shape",
    "coarse-samples",
    "single-places",
    "dependence",
    "one-example",
    "examples-as-size",
    "symmetric-weights",
    "equal-entries",
    "small-parameters",
    "batches-of-one",
    "no-momentum",
    "no-memory",
    "beta-one-half",
    "rate-one",
    "no-weight-decay",
    "no-hidden-layer",
    "one-output",
    "zero-biases",
    "linear-layers",
    "kink-of-relu",
    "equal-labels",
    "same-start-and-order",
]


def test_the_codes_are_stable():
    assert {*STABLE} <= CONDITIONS.keys()


WORDS = {
    "n": 3,
    "most": 3,
    "constant": 1e-5,
    "size": 1.0,
    "line": "",
    "terms": 4096,
    "operation": "mean",
    "limit": 0.05,
    "where": "J",
    "what": "x",
    "dtype": "float64",
    "steps": "1 step",
    "keeps": 1,
    "enough": 2,
    "build": "float32",
}


@pytest.mark.parametrize("code", CONDITIONS)
def test_every_condition_becomes_a_blind_spot_with_its_tensors(code):
    spot = blind_spot(code, ("W1", "b1"), **WORDS)
    assert (spot.code, spot.of) == (code, ("W1", "b1"))
    assert spot.hides
    assert spot.because


WITHOUT = {"not-returned", "kink-of-relu", "coarse-samples", "single-places", "dependence"}


def test_every_condition_has_a_remedy_where_there_is_one():
    assert {code for code, condition in CONDITIONS.items() if not (condition.remedy or condition.change)} == WITHOUT


def test_a_remedy_that_suits_the_run_better_takes_the_place_of_the_tables():
    assert blind_spot("one-step", remedy="x").remedy == "x"
    assert blind_spot("one-step").remedy == CONDITIONS["one-step"].remedy


def test_a_change_is_an_option_of_the_command_line():
    assert CONDITIONS["rate-one"].option == "--learning-rate 0.1"
    assert CONDITIONS["one-example"].option == ""


def test_the_documents_have_the_table():
    text = (ROOT / "docs" / "reading-a-report.md").read_text(encoding="utf-8")
    assert table() in text
