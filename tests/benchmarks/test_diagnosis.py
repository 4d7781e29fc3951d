"""A small part of the benchmark of names in every test run."""

from collections import Counter

import pytest

from tests.benchmarks.diagnosis import edit_counts, right_counts, wrong_counts


def counted(measure):
    return sum((measure(7, index) for index in range(24)), start=Counter())


@pytest.mark.usefixtures("no_causes")
def test_random_edits_are_found_where_they_are():
    counts = counted(edit_counts)
    assert counts["edits: culprit"] == counts["edits"] >= 10


def test_random_wrong_answers_get_no_name():
    counts = counted(wrong_counts)
    assert counts["wrong answers"] >= 10
    assert counts["wrong answers: named"] <= 1


def test_equivalent_forms_are_left_in_peace():
    counts = counted(right_counts)
    assert counts["equivalent"] >= 10
    assert counts["equivalent: flagged"] == 0
