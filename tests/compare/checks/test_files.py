"""Which checks a file defines, and what they are run on."""

import sys

import pytest

from handgrad.compare.checks.files import CHECKS, audit_file, check_file
from handgrad.compare.errors import InputError

GRADIENTS = """
import numpy as np
from handgrad import tap

print("noise of mine")
params, batch = {"w": np.arange(1.0, 4.0)}, (np.ones(3),)

def derivation(p, x):
    return {"J": (p["w"] ** 2 * x).sum(), "dw": 2 * p["w"] * x}

def reference(p, x):
    return (p["w"] ** 2 * x).sum()
"""
UPDATES = """
import torch

def update(p, g, s):
    return {"w": p["w"] - 0.1 * g["dw"]}, s

def optimizer(tensors):
    return torch.optim.SGD(tensors, lr=0.1)
"""
TRAINING = """
def trainer(params, batches):
    w = params["w"]
    for (x,) in batches:
        w = w - 0.1 * 2 * w * x
        yield {"w": w}

batches = [(np.ones(3),), (np.full(3, 2.0),)]
"""
INITIALIZER = """
def initializer(shape, rng):
    return rng.standard_normal(shape)

torch_initializer, shape = torch.nn.init.normal_, (4, 6)
"""
FUNCTION = """
import torch

def function(x, w):
    return x * w

def reference(x, w):
    return x * w

inputs = (torch.linspace(-1, 2, 15).reshape(5, 3).bfloat16(), torch.tensor([0.5, 2.0, -1.25]).bfloat16())
"""
EVERYTHING = GRADIENTS + UPDATES + TRAINING + INITIALIZER


@pytest.fixture
def write(tmp_path):
    def of(content, name="mine.py"):
        path = tmp_path / name
        path.write_text(content)
        return str(path)

    return of


def test_every_complete_check_is_run(write, capsys):
    reports = check_file(write(EVERYTHING))
    assert [*reports, "function"] == [*CHECKS]
    for name, report in reports.items():
        assert report.findings == ()
        assert report.environment["check"].startswith(f"check_{name}")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "noise of mine\n"), "what the file prints is not the report"


@pytest.mark.parametrize("name", CHECKS)
def test_only_runs_one(name, write):
    content = FUNCTION if name == "function" else EVERYTHING
    assert [*check_file(write(content), only=name)] == [name]


def test_a_function_is_checked_with_its_reference_and_its_inputs(write):
    (report,) = check_file(write(FUNCTION)).values()
    assert report.findings == ()
    assert [row.name for row in report.rows] == ["y", "dx", "dw"]
    cut = FUNCTION.replace("return x * w", "return x.detach() * w", 1)
    assert not check_file(write(cut, "wrong.py"))["function"].ok
    with pytest.raises(InputError, match="function lacks inputs"):
        check_file(write(FUNCTION.partition("inputs =")[0], "half.py"))


def test_settings_come_before_those_of_the_file(write):
    path = write(GRADIENTS + UPDATES + "steps = 3\n")
    assert {row.step for row in check_file(path)["updates"].rows} == {1, 2, 3}
    reports = check_file(path, settings={"steps": 7, "precisions": ("float32", "float64")})
    assert {row.step for row in reports["updates"].rows} == set(range(1, 8))
    assert [report.environment["dtype"] for report in reports.values()] == ["float32", "float32"]


def test_a_setting_that_no_check_reads_is_refused(write):
    for name, flag in (("steps", "--steps"), ("precisions", "--dtype")):
        path = write(UPDATES + INITIALIZER if name == "precisions" else GRADIENTS)
        only = "initializer" if name == "precisions" else None
        with pytest.raises(InputError, match=f"{flag} says nothing to {only or 'gradients'}; leave it out"):
            check_file(path, only, {name: 5})


def test_a_difference_is_a_finding_and_its_line(write):
    finding = check_file(write(GRADIENTS.replace("2 * p", "-2 * p")))["gradients"].first
    assert (finding.where.name, finding.verdict, finding.cause.code) == ("dw", "FAULT", "sign")
    assert finding.line[:2] == ("mine.py", 9)


def test_a_check_that_a_file_begins_and_leaves_incomplete_is_said(write, capsys):
    path = write(GRADIENTS + UPDATES.replace("def optimizer", "def optimiser"))
    assert [*check_file(path)] == ["gradients"]
    assert "handgrad: not checked: updates lacks optimizer" in capsys.readouterr().err


def test_of_a_file_that_completes_none_the_nearest_check_is_told_and_the_name_to_change(write):
    renamed = FUNCTION.replace("def function", "def func")
    with pytest.raises(InputError, match=r"check; function lacks function; rename func to function$"):
        check_file(write(renamed))
    with pytest.raises(InputError, match=r"check; gradients lacks derivation, reference; training lacks|derivation"):
        check_file(write(GRADIENTS.partition("def")[0]))


def test_a_name_that_is_nearly_an_option_is_said(write, capsys):
    path = write(FUNCTION + "\nsecond_order = True\n\ndef second_one():\n    pass\n")
    assert [row.name for row in check_file(path)["function"].rows] == ["y", "dx", "dw"]
    assert capsys.readouterr().err == "handgrad: no check reads second_order; did you mean 'second'?\n"
    assert len(check_file(write(FUNCTION + "second = True\n"))["function"].rows) == 6
    assert capsys.readouterr().err == ""


def test_a_file_beside_it_can_be_imported(write):
    write("factor = 2\n", "beside.py")
    before = list(sys.path)
    path = write("from beside import factor\n" + GRADIENTS.replace("2 * p", "factor * p"))
    assert check_file(path)["gradients"].ok
    assert sys.path == before
    sys.modules.pop("beside")


UNUSABLE = {
    "a syntax error": ("def f(:\n", "SyntaxError in mine.py line 1"),
    "an exception": (GRADIENTS + "\n\n1 / 0\n", "ZeroDivisionError in mine.py line 15: division by zero; mend that"),
    "an import error": ("import nothing_of_this_name\n", "ModuleNotFoundError in mine.py line 1"),
    "exit": ("exit(0)\n", "mine.py exits while it is read"),
    "nothing": ("x = 1\n", "gradients lacks derivation, reference, params, batch; updates lacks update"),
    "incomplete": (GRADIENTS.replace("batch =", "batches ="), "gradients lacks batch"),
    "bad params": (GRADIENTS.replace('{"w": np.arange(1.0, 4.0)}', "[1.0]"), "params is a list; it must be a dict"),
    "a reference that raises": (
        GRADIENTS.replace('return (p["w"]', 'return (p["v"]'),
        "the reference raises KeyError in mine.py line 12",
    ),
    "null bytes": ("\0\0", "mine.py"),
}


@pytest.mark.parametrize(("content", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_file_is_refused_with_its_own_line(content, message, write):
    with pytest.raises(InputError, match=message) as caught:
        check_file(write(content))
    assert "runpy" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"), [("gone.py", "No such file"), ("mine.txt", "no Python file"), ("a\0.py", "null byte")]
)
def test_a_file_that_cannot_be_read_is_refused(name, message, tmp_path):
    with pytest.raises(InputError, match=message):
        check_file(str(tmp_path / name))


def test_an_unknown_check_is_asked_for(write):
    with pytest.raises(InputError, match="did you mean 'gradients'"):
        check_file(write(GRADIENTS), only="gradient")


def test_an_audit_has_the_blind_spots_of_the_checks_and_of_their_data(write):
    spots = {name: {spot.code for spot in spots} for name, spots in audit_file(write(EVERYTHING)).items()}
    assert [*spots, "function"] == [*CHECKS]
    assert "equal-entries" in spots["gradients"], "the batch is all ones"
    assert {"equal-entries", "parameters-alone", "no-short-batch"} <= spots["training"]
    assert spots["initializer"] == set()


REFERENCE = GRADIENTS.replace("2 * p", "-2 * p")  # whose own derivation is wrong, and does not count


def test_a_file_has_its_reference_from_another(write):
    derivation = "def derivation(p, x):\n    return {'J': (p['w'] ** 2 * x).sum(), 'dw': 2 * p['w'] * x}\n"
    key = write(REFERENCE, "key.py")
    assert check_file(write(derivation), reference=key)["gradients"].ok
    finding = check_file(write(derivation.replace("2 * p", "3 * p")), reference=key)["gradients"].first
    assert (finding.where.name, finding.cause.code, finding.cause.factor) == ("dw", "scale", 1.5)


def test_beside_a_reference_only_what_is_derived_by_hand_counts(write):
    own = "def reference(p, x):\n    return (p['w'] ** 2 * x).sum() * -1\nparams, batch = {}, ()\n"
    assert check_file(write(GRADIENTS + own), reference=write(GRADIENTS, "key.py"))["gradients"].ok
    with pytest.raises(InputError, match="lacks derivation"):
        check_file(write("x = 1\n"), reference=write(GRADIENTS, "key.py"))


def test_both_files_import_what_lies_beside_them(write, tmp_path):
    (tmp_path / "keys").mkdir()
    write("def square(w):\n    return w ** 2\n", "keys/by_torch.py")
    write("def twice(w):\n    return 2 * w\n", "by_hand.py")
    key = write(
        GRADIENTS.replace("(p[", "(square(p[").replace("] **", "]) **").replace(" ** 2", "")
        + "\nfrom by_torch import square\n",
        "keys/key.py",
    )
    mine = (
        "def derivation(p, x):\n    from by_hand import twice\n    return {'J': (p['w'] ** 2 * x).sum(), "
        "'dw': twice(p['w']) * x}\n"
    )
    assert check_file(write(mine), reference=key)["gradients"].ok
