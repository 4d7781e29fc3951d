"""The equations that are quoted are those that the code names."""

import re
from pathlib import Path

import handgrad.manual
from handgrad.compare.equations import EQUATIONS
from handgrad.compare.operations import OPERATIONS


def test_every_equation_is_one_that_the_code_by_hand_names():
    text = "".join(path.read_text() for path in Path(handgrad.manual.__file__).parent.glob("*.py"))
    assert EQUATIONS.keys() <= {*re.findall(r"\b[FLBUO][1-9]\b", text)}


def test_the_registry_has_no_equation_of_a_tensor_without_a_formula():
    of_tensors = {label for row in OPERATIONS if row.kind != "initializer" for label in row.equations}
    assert of_tensors <= EQUATIONS.keys()
    assert all(formula.isascii() and formula.strip() == formula for formula in EQUATIONS.values())
