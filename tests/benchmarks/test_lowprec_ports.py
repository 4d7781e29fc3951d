"""A small part of the comparison of two rules on derivations in float32 alone."""

import pytest

from tests.benchmarks.lowprec_ports import Compared, compared, table


@pytest.mark.parametrize("index", [0, 2, 4])
def test_both_rules_leave_a_right_kernel_in_peace_and_find_a_mistake(index):
    assert compared(1, index, is_wrong=False).verdicts == ("OK", "OK")
    wrong = compared(1, index, is_wrong=True)
    assert wrong.what
    assert wrong.verdicts == ("FAULT", "FAULT"), str(wrong)


def test_the_table_counts_by_size():
    outcomes = [
        Compared("a", "", 0.0, ("OK", "UNTOLD"), (1.0, 2.0)),
        Compared("a", "wrong", 0.5, ("FAULT", "FAULT"), (1.0, 4.0)),
        Compared("a", "wrong", 1e-5, ("WEAK", "FAULT"), (1.0, 4.0)),
    ]
    _, _, one, other = (line.split() for line in table(outcomes).splitlines())
    assert one[0] == "check_gradients"
    assert one[1:11] == ["0", "+", "0", "of", "1", "1", "+", "0", "of", "1"]
    assert one[-9:] == ["0", "+", "1", "of", "1", "1.00,", "1.0", "at", "most"]
    assert other[1:6] == ["0", "+", "1", "of", "1"]
