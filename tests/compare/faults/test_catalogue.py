"""The catalogue of known mistakes: every entry of both files is complete, and its edit fits the code of today."""

import ast
import importlib
import re
from dataclasses import fields

import pytest

from handgrad.compare.equations import EQUATIONS
from handgrad.compare.faults.catalogue import NETWORK, Fault, Needs, catalogue
from handgrad.compare.faults.explanations import explanations
from handgrad.compare.faults.planting import edited
from handgrad.compare.operations import names

ENTRIES = catalogue()
PROBLEMS = "handgrad.compare.faults.problems."
TEXTS = ("equation", "formula", "cause", "first", "why", "lesson")


def test_there_are_as_many_entries_as_the_readme_says():
    assert len(ENTRIES) == 144
    assert sum(fault.is_of_network for fault in ENTRIES.values()) == 74
    assert [*ENTRIES] == sorted(ENTRIES, key=lambda name: not ENTRIES[name].is_of_network), "the network's come first"


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_says_everything(name):
    fault = ENTRIES[name]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert fault.name == name
    assert fault.module.startswith((NETWORK, PROBLEMS))
    assert fault.cause in explanations()
    for text in (getattr(fault, key) for key in TEXTS):
        assert text
        assert text == text.strip()
        assert "\n" not in text
    assert fault.why.endswith(".")
    assert fault.lesson.endswith(".")
    assert set(re.findall(r"\{(.)\}", fault.first)) <= set("LHR")
    if fault.is_of_network:
        assert fault.equation in EQUATIONS
    else:
        assert fault.needs == Needs(), "a problem draws its own data"


@pytest.mark.parametrize("name", ENTRIES)
def test_the_edit_of_an_entry_fits_its_module(name):
    fault = ENTRIES[name]
    module = importlib.import_module(fault.module)
    right, wrong = ast.parse(edited(module, ())), ast.parse(edited(module, fault.edits_for(4)))
    assert ast.dump(right) != ast.dump(wrong)
    if fault.is_of_network:
        assert not any("\n" in piece for edit in fault.edits for piece in edit), "line numbers stay those of the file"


def test_what_an_entry_needs_is_of_the_registry():
    needs = [fault.needs for fault in ENTRIES.values()]
    assert all(set(need.hidden) | set(need.activations or ()) <= set(names("activation")) for need in needs)
    assert {need.loss for need in needs} <= set(names("loss"))
    unused = [field.name for field in fields(Needs) if len({getattr(need, field.name) for need in needs}) == 1]
    assert unused == []


def test_the_batch_size_is_written_into_an_edit():
    fault = ENTRIES["nominal-size-in-the-short-batch"]
    assert fault.edits_for(8) == (("return derivatives / n", "return derivatives / 8"),)
    assert fault.edits_for(None) == (("return derivatives / n", "return derivatives / n"),), (
        "the full batch is never short"
    )


def test_an_entry_may_change_several_places():
    fault = ENTRIES["mean-forgotten-in-both"]
    assert fault.edits == (
        ("losses.sum() / n + penalty", "losses.sum() + penalty"),
        ("return derivatives / n", "return derivatives"),
    )
    assert isinstance(fault, Fault)
