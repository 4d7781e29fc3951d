"""The grammar of tensor names, there and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handgrad.compare import names
from handgrad.compare.names import Key

anything = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=6)


@given(anything)
def test_what_is_put_together_is_taken_apart_again(name):
    assert names.of_gradient(names.gradient(name)) == name
    assert names.of_velocity(names.velocity(name)) == name
    assert names.of_updated(names.updated(name)) == name
    assert names.is_updated(names.updated(name))
    assert names.is_gradient(names.gradient(name), {name})


@given(anything)
def test_the_gradient_of_something_else_is_none(name):
    assert names.of_gradient(name) == (name[1:] if name[0] == "d" else "")
    assert names.of_updated(name) == name or names.is_updated(name)
    assert not names.is_gradient(name, set())


SPELLINGS = (
    "grad_W1",
    "W1_grad",
    "dw1",
    "gW1",
    "dL_dW1",
    "dJ/dW1",
    "dJdW1",
    "W1.grad",
    "gradW1",
    "W1",
    "d_W1",
    "delta_W1",
)


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_gradient_is_spelt_in_many_ways(name):
    assert names.spells_gradient(name, "W1")
    assert not names.spells_gradient(name, "W2")
    assert not names.spells_gradient(name, "b1")
    assert not names.spells_gradient(name, "")


@pytest.mark.parametrize("name", ["W11", "vW1", "dA1", "W1_next", "mW1", "", "rate", "d", "dW1_sum"])
def test_what_is_no_spelling_of_it(name):
    assert not names.spells_gradient(name, "W1")


def test_a_name_that_begins_with_d_is_a_gradient_only_of_what_is_there():
    assert not names.is_gradient("distance", {"W"})
    assert names.is_gradient("distance", {"istance"})
    assert not names.is_gradient("", {""})


@pytest.mark.parametrize(("name", "stem", "layer"), [
    ("dW2", "dW", 2), ("Z10", "Z", 10), ("J", "J", None), ("W2_next", "W2_next", None), ("losses", "losses", None),
])  # fmt: skip
def test_the_layer_is_the_number_at_the_end(name, stem, layer):
    assert names.layered(name) == (stem, layer)


@pytest.mark.parametrize(("name", "phase"), [
    ("Z1", "forward"), ("J", "loss"), ("dZ1", "backward"), ("W1_next", "update"), ("db1_next", "update"),
])  # fmt: skip
def test_the_phase_that_a_name_alone_tells(name, phase):
    assert names.phase_of(name) == phase
    assert phase in names.PHASES


def test_a_key_reads_as_a_person_says_it():
    assert str(Key(3, "backward", "dW2")) == "dW2 at step 3"
