"""Trainers and updates that raise, or end, in one precision alone or only when they are run again."""

import numpy as np
import pytest
import torch

from handgrad import check_training, check_updates
from handgrad.compare.facts.failures import Raised, RaisesAgain, TwoAnswers
from handgrad.compare.facts.remarks import Float64Only, RefusesFloat64
from handgrad.compare.ownership import named
from tests.compare.checks.trainers import BATCHES, PARAMS, plain, reference, sgd, trainer

GRADIENTS = ("A1", "dW1", "db1", "dW2", "db2")


def descent(tensors):
    return torch.optim.SGD(tensors, lr=0.1)


@pytest.mark.parametrize("first", [0, 3], ids=["at its first step", "later"])
def test_a_trainer_that_raises_in_float32_alone_is_judged_in_float64_with_a_note(first):
    def picky(p, batches, mistake=""):
        for step, yielded in enumerate(trainer(mistake, GRADIENTS)(p, batches)):
            assert step < first or p["W1"].dtype == np.float64, "double precision, please"
            yield yielded

    def wrong(p, batches):
        return picky(p, batches, "accumulated")

    report = check_training(picky, reference, sgd, PARAMS, BATCHES)
    assert report.findings == (), str(report)
    (note,) = (note for note in report.notes if isinstance(note, Float64Only))
    assert (note.raised.exception, note.raised.file) == ("AssertionError", named(__file__))
    assert report.environment["precisions"] == ["float64"]
    assert len({row.step for row in report.rows}) == len(BATCHES)
    assert not check_training(wrong, reference, sgd, PARAMS, BATCHES).ok
    printed = check_training(picky, reference, sgd, PARAMS, BATCHES, precisions=("float32", "float64"))
    assert isinstance(printed.findings[-1].cause, Raised)


def test_a_trainer_that_raises_in_float64_alone_is_judged_in_float32_with_a_note():
    def picky(p, batches, mistake=""):
        assert p["W1"].dtype == np.float32, "compiled for float32"
        yield from trainer(mistake, GRADIENTS)(p, batches)

    report = check_training(picky, reference, sgd, PARAMS, BATCHES)
    assert report.findings == (), str(report)
    assert [type(note) for note in report.notes] == [RefusesFloat64]
    assert report.environment["precisions"] == ["float32"]
    assert not check_training(lambda p, b: picky(p, b, "accumulated"), reference, sgd, PARAMS, BATCHES).ok


@pytest.mark.parametrize("at", [1, 4, len(BATCHES)])
def test_a_trainer_that_raises_only_when_it_is_run_again_is_no_witness(at):
    runs = []

    def once(p, batches):
        runs.append(1)
        for step, yielded in enumerate(plain(p, batches), start=1):
            if len(runs) == 3 and step == at:
                raise RuntimeError("cache is full")
            yield yielded

    (finding,) = check_training(once, reference, descent, PARAMS, BATCHES).findings
    assert (finding.verdict, finding.where[:2], type(finding.cause)) == ("FAULT", (at, "update"), RaisesAgain)
    assert (finding.cause.who, finding.cause.raised.message) == ("trainer", "cache is full")


def test_a_trainer_that_ends_early_when_it_is_run_again_is_no_witness():
    runs = []

    def once(p, batches):
        runs.append(1)
        return plain(p, batches[: 2 if len(runs) == 3 else None])

    (finding,) = check_training(once, reference, descent, PARAMS, BATCHES).findings
    assert (finding.where.step, type(finding.cause)) == (3, TwoAnswers)


def test_an_update_that_raises_in_float32_alone_is_judged_in_float64_with_a_note():
    def picky(params, grads, state, rate=0.1):
        if params["W1"].dtype != np.float64:
            raise TypeError("double precision, please")
        return {name: w - rate * grads[f"d{name}"] for name, w in params.items()}, None

    report = check_updates(picky, descent, PARAMS)
    assert report.findings == (), str(report)
    assert [type(note) for note in report.notes] == [Float64Only]
    assert report.environment["precisions"] == ["float64"]
    assert not check_updates(lambda *given: picky(*given, rate=0.2), descent, PARAMS).ok


def test_an_update_that_raises_in_float64_alone_is_judged_in_float32_with_a_note():
    def picky(params, grads, state, rate=0.1):
        for name, w in params.items():
            np.subtract(w, np.float32(rate) * grads[f"d{name}"], out=w, dtype=np.float32, casting="safe")
        return params, None

    report = check_updates(picky, descent, PARAMS)
    assert report.findings == (), str(report)
    assert [type(note) for note in report.notes] == [RefusesFloat64]
    assert not check_updates(lambda *given: picky(*given, rate=0.1001), descent, PARAMS).ok


def test_an_update_that_raises_only_when_it_is_run_again_is_no_witness():
    calls = []

    def once(params, grads, state):
        calls.append(1)
        if len(calls) == 12:  # two steps in two precisions are four calls a start, and the run made again has two more
            raise RuntimeError("cache is full")
        return {name: w - 0.1 * grads[f"d{name}"] for name, w in params.items()}, None

    findings = check_updates(once, descent, PARAMS, steps=2).findings
    assert [(f.verdict, f.cause.code) for f in findings] == [("FAULT", "not-repeatable")], findings
