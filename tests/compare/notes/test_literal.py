"""What a check says of the formulas exactly as the notes write them."""

import pytest

from handgrad.compare.notes.literal import LITERAL


@pytest.mark.parametrize(
    ("label", "name", "cause"),
    [("A3", "A1", "not-finite"), ("I1", "spread", "initializer-scale"), ("I5", "spread", "initializer-scale")],
)
def test_a_formula_as_written_is_found(label, name, cause):
    finding = LITERAL[label]().first
    assert (finding.where.name, finding.cause.code) == (name, cause)


def test_every_formula_that_can_be_run_is_there():
    assert [*LITERAL] == ["A3", "I1", "I5"]
