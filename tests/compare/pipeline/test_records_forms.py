"""In which form a derivation returns its tensors: None among them, and tuples of mappings."""

import numpy as np
import pytest
import torch

from handgrad import check_gradients
from handgrad.compare.facts.failures import NotReal, ReturnedInstead
from tests.corpus.layers import SQUARES, TANH


def names_of(report):
    return [finding.where.name for finding in report.findings]


# --- None


@pytest.mark.parametrize("name", ["Z", "dZ", "dX", "J", "Q", "dQ", "Y"])
def test_none_of_what_is_not_due_is_as_if_it_were_not_returned(name):
    report = check_gradients(*TANH.returning(**{name: lambda _: None}))
    assert (report.findings, report.notes) == ((), ())


def test_none_beside_a_mistake_hides_nothing():
    assert names_of(check_gradients(*TANH.scaled("dW", 2.0).returning(Z=lambda _: None, dZ=lambda _: None))) == ["dW"]


@pytest.mark.parametrize("name", ["dW", "db"])
def test_none_for_a_gradient_that_is_due_is_missing(name):
    (finding,) = check_gradients(*TANH.returning(**{name: lambda _: None})).findings
    assert (finding.where.name, finding.verdict, finding.cause) == (name, "MISSING", NotReal("None"))


def test_none_for_the_gradient_of_what_J_does_not_depend_on_is_right():
    layer = TANH._replace(params={**TANH.params, "Q": np.ones(2)})
    assert check_gradients(*layer.returning(dQ=lambda _: None)).findings == ()


# --- one mapping, or a tuple that has one reading


def parted(layer, *parts):
    def derivation(*given):
        records = layer.derivation(*given)
        return tuple(part(records) for part in parts)

    return layer._replace(derivation=derivation)


def gradients(records):
    return {name: records[name] for name in ("dW", "db")}


def cache(records):
    return {name: value for name, value in records.items() if name not in ("dW", "db", "J")}


TUPLES = {
    "gradients and a cache": (TANH, gradients, cache),
    "a cache and gradients": (TANH, cache, gradients),
    "J and gradients": (SQUARES, lambda r: r["J"], gradients),
    "gradients and J": (SQUARES, gradients, lambda r: float(r["J"])),
    "J twice, the same": (SQUARES, lambda r: r["J"], lambda r: r),
    "gradients and None": (SQUARES, gradients, lambda _: None),
    "a tensor": (SQUARES, lambda r: torch.tensor(r["J"], requires_grad=True), gradients),
}


@pytest.mark.parametrize(("layer", "parts"), [(layer, parts) for layer, *parts in TUPLES.values()], ids=TUPLES)
def test_a_tuple_of_one_plain_reading_is_read(layer, parts):
    report = check_gradients(*parted(layer, *parts))
    assert (report.findings, report.notes) == ((), ())
    assert names_of(check_gradients(*parted(layer.scaled("dW", 2.0), *parts))) == ["dW"]


def test_J_beside_the_gradients_is_judged():
    assert names_of(check_gradients(*parted(SQUARES, lambda r: 2 * r["J"], gradients))) == ["J"]


RIDDLES = {
    "arrays": (SQUARES, lambda r: r["dW"], lambda r: r["db"]),
    "an array beside gradients": (SQUARES, gradients, lambda r: r["dW"]),
    "two numbers": (SQUARES, lambda r: r["J"], gradients, lambda r: 2 * r["J"]),
    "two answers for one name": (SQUARES, gradients, lambda r: {"dW": 2 * r["dW"]}),
    "a text": (SQUARES, gradients, lambda _: "text"),
}


@pytest.mark.parametrize(("layer", "parts"), [(layer, parts) for layer, *parts in RIDDLES.values()], ids=RIDDLES)
def test_a_tuple_without_one_is_refused(layer, parts):
    (finding,) = check_gradients(*parted(layer, *parts)).findings
    assert isinstance(finding.cause, ReturnedInstead)
    assert finding.cause.instead == "a tuple"
