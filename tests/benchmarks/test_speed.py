"""The speed benchmark's subjects: right code passes, wrong code is found where it is wrong, and runs are counted."""

import pytest

from tests.benchmarks.speed_large import SMALL, bare, checked, network, training


@pytest.mark.parametrize("name", SMALL)
def test_a_small_subject_costs_few_runs_and_is_told(name):
    subject = SMALL[name]()
    bare(subject)
    assert checked(subject, subject.derivation) == (2, 1, ())
    derivations, references, (finding, *_) = checked(subject, subject.wrong)
    assert (finding.where.name, finding.verdict, finding.cause.code) == ("dZ1", "FAULT", "activation-derivative")
    assert (derivations <= 24, references <= 16) == (True, True), (derivations, references)


def test_a_large_difference_of_many_entries_is_moved_once():
    subject = network((160, 160, 10), 96)
    derivations, references, (finding, *_) = checked(subject, subject.wrong)
    assert finding.where.name == "dZ1"
    assert (derivations <= 22, references <= 14) == (True, True), (derivations, references)


def test_an_unexplained_training_is_unknown_after_few_runs():
    check, reference = training()
    finding = check().findings[0]
    assert (finding.where.name, finding.cause.code) == ("W1_next", "unknown")
    assert reference.calls <= 60
