"""The house as it stands: its walls, its sizes, and what is written once. Each failure lists the lines to mend."""

import re

import pytest

from handgrad.compare.equations import EQUATIONS
from handgrad.compare.operations import OPERATIONS, names
from tests.repository import ROOT
from tests.rules.imports import circles, not_independent, upward
from tests.rules.lesson import labels, mistaken_labels, network_maths, offered, silent_modules
from tests.rules.sizes import crowded_rooms, long_files, long_functions, many_parameters
from tests.rules.sources import FOLDERS, of_folders, one
from tests.rules.wording import grammar_of_names, parsed_sentences, turned_constants

PACKAGE = of_folders(ROOT, *FOLDERS)
SIDE = {folder: of_folders(ROOT, folder) for folder in FOLDERS}
EQUATIONS_OF = {
    side: [s for s in SIDE[side] if not s.path.endswith("/two_layers.py")] for side in ("manual", "torchref")
}
TESTS = [source for source in of_folders(ROOT, "tests") if not source.path.startswith("tests/corpus/")]
USERS = "compare/faults/problems/"  # written as users write, to be checked and not to check with

BOTH_SIDES = {"F1", "F2", "L1", "L2", "L4", "U1", "I1", "I2", "I3", "I4", "I5", "I6", "O1", "O2", "O3", "O4"}
BY_HAND_ONLY = {"B1", "B2", "B3", "B4", "B5"}
ACTIVATION_FACTS = {"A2", "A3"}
SUPPLIED = {label for row in OPERATIONS for label in row.supplied}
IN_BOTH = BOTH_SIDES | ACTIVATION_FACTS | SUPPLIED
LABELS = {"manual": IN_BOTH | BY_HAND_ONLY, "torchref": IN_BOTH}

MANY_PARAMETERS: dict[str, str] = {}  # "path::function": why it takes more than 8


def holds(violations):
    if violations:
        pytest.fail("\n".join(map(str, sorted({*violations}))), pytrace=False)


def test_rooms_import_only_from_rooms_below_them():
    holds(upward([source for source in PACKAGE if not source.path.startswith(USERS)]))


def test_nothing_imports_in_a_circle():
    holds(circles(PACKAGE))


def test_the_two_witnesses_share_nothing():
    holds(not_independent(PACKAGE))


def test_compare_holds_no_network_maths():
    """The bounds multiply absolute values, to bound rounding; the catalogue's problems are code to be checked.

    Of initial weights the products with themselves are compared, which have the squares of the singular values. The
    textbook has torch's own operations in other forms. Differences are projected on directions.
    """
    excused = (
        "compare/verdict/coarse/directions.py",
        "compare/oracle/textbook.py",
        "compare/verdict/bounds.py",
        "compare/checks/distributions.py",
        USERS,
    )
    holds(network_maths(SIDE["compare"], excused))


def test_files_have_at_most_400_lines():
    holds(long_files([*PACKAGE, *TESTS]))


def test_functions_have_at_most_60_lines():
    holds(long_functions([*PACKAGE, *TESTS]))


def test_functions_have_at_most_8_parameters():
    holds(many_parameters(PACKAGE, MANY_PARAMETERS))


def test_rooms_have_at_most_14_modules():
    holds(crowded_rooms(PACKAGE))


def test_every_module_says_what_it_offers():
    holds(silent_modules(PACKAGE))


def test_the_grammar_of_names_is_written_once():
    holds(grammar_of_names(PACKAGE))


def test_nothing_reads_a_sentence():
    holds(parsed_sentences(PACKAGE))


def test_no_test_reads_a_sentence():
    holds(parsed_sentences(TESTS))


def test_no_test_turns_a_constant_of_the_engine():
    holds(turned_constants(TESTS))


@pytest.mark.parametrize("side", LABELS)
def test_each_label_stands_on_one_line_and_in_that_modules_docstring(side):
    holds(mistaken_labels(EQUATIONS_OF[side], LABELS[side]))


def test_the_reports_formulas_are_those_of_the_docstrings():
    for label, places in labels(EQUATIONS_OF["manual"]).items():
        if label in EQUATIONS:
            (text,) = [source.text for source in EQUATIONS_OF["manual"] if source.path == places[0].path]
            assert EQUATIONS[label] in re.search(rf"^\s*{label}  (.*)$", text, flags=re.MULTILINE)[1]
    assert set(EQUATIONS) == {label for label in BOTH_SIDES | BY_HAND_ONLY | SUPPLIED if label[0] not in "IA"}


def test_every_operation_has_both_halves_and_labels_that_exist():
    assert len({(row.kind, row.name) for row in OPERATIONS}) == len(OPERATIONS)
    for row in OPERATIONS:
        for path in (*(f"handgrad.manual.{half}" for half in row.by_hand), row.torch):
            module, _, function = path.partition(":")
            assert module == "torch.nn" or function in offered(one(PACKAGE, module)), path
        assert {*row.equations} <= BOTH_SIDES | BY_HAND_ONLY | row.supplied.keys(), row.name


@pytest.mark.parametrize(
    ("kind", "file", "helpers"),
    [
        ("activation", "activations", {"_derivative"}),
        ("initializer", "initializers", {"draw"}),
        ("optimizer", "optimizers", {"no_state", "zero_velocities", "zero_moments", "Twin", "state", "step"}),
    ],
)
def test_the_registry_misses_nothing_that_either_side_has(kind, file, helpers):
    registered = {name.replace("-", "_") for name in names(kind)}
    for side in LABELS:
        names_there = offered(one(PACKAGE, f"handgrad.{side}.{file}"))
        operations = {name for name in names_there if name not in helpers and not name.endswith("_derivative")}
        assert operations == registered, f"{side}/{file}.py against the registry"


def test_the_top_level_is_the_agreed_one():
    agreed = {
        "pyproject.toml",
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "LICENSE",
        "Makefile",
        "constraints.txt",
        ".ci",
        "tests",
    }
    assert agreed | {*FOLDERS} <= {path.name for path in ROOT.iterdir()}
    assert not [path.name for path in ROOT.glob("*.py")]
