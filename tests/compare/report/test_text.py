import numpy as np
import pytest

from handgrad.compare.facts.causes import Scaled, Unknown
from handgrad.compare.facts.failures import LosesDigits, Raised, UnknownName
from handgrad.compare.facts.remarks import AsFloat32, FromZero
from handgrad.compare.names import Key
from handgrad.compare.report.summary import closing
from handgrad.compare.report.text import brief, in_full, render, render_all, side_by_side
from handgrad.compare.results import Finding, Results, Row, SourceLine, Worst
from tests.compare.report.samples import FAILING, GOLDEN, PASSING, SAMPLES

KEY = Key(1, "backward", "dW1")
ROW = Row(1, "backward", "dW1", "", (2,), 0.5, verdict="FAULT")


def block(finding):
    """The lines of the first finding."""
    return render(Results((ROW,), (finding,))).split("\n\n")[0].splitlines()


@pytest.mark.parametrize("name", SAMPLES)
def test_the_text_of_a_report(name):
    assert render(SAMPLES[name]) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


LONG = Finding(
    Key(1, "backward", "dW1"),
    "FAULT",
    UnknownName("", tuple(f"name{i}" for i in range(30))),
    SourceLine("a_file_with_a_rather_long_name.py", 1234, "dW1 = " + "x + " * 40),
    Worst((0, 4), 1.0, 2.0, inputs=("a" * 30, "b" * 30, "c" * 30)),
    others=(Scaled(2.0), Scaled(3.0)),
    affects=3,
    together=("db1",),
    circumstances=(AsFloat32(), FromZero()),
)


@pytest.mark.parametrize(
    "finding",
    [
        LONG,
        Finding(KEY, "FAULT", Raised("ValueError", "word " * 300)),
        Finding(KEY, "FAULT", Raised("ValueError", "x" * 500)),
        Finding(KEY, "FAULT", Unknown(), others=(Scaled(2.0),) * 9),
        Finding(Key(1, "backward", "d" + "x" * 200), "FAULT", Scaled(2.0)),
    ],
)
def test_a_finding_has_at_most_six_lines_of_80_columns(finding):
    lines = block(finding)
    assert 2 <= len(lines) <= 6
    assert max(map(len, lines)) <= 80
    assert lines[1].endswith(finding.cause.code)


def test_what_has_no_room_goes_into_the_details_and_what_follows_stays():
    text = render(Results((ROW,), (LONG,)))
    first, details, *_ = text.split("\n\n")
    assert "3 later tensors differ only because of it" in first
    assert details.startswith("details: ")
    assert "name29" in details.replace("\n", " ")
    assert f"or scale: {Scaled(3.0)}" in " ".join(details.split())


def test_a_finding_without_a_line_shows_its_equation():
    finding = Finding(KEY, "FAULT", Scaled(2.0), equation="B2")
    assert block(finding)[0] == "FAULT  dW1 at step 1   (B2) dW[l] = dZ[l] A[l-1]^T"


def test_the_first_that_fails_comes_first_although_something_weak_is_before_it():
    weak = Finding(Key(1, "forward", "A1"), "WEAK", LosesDigits())
    fault = Finding(KEY, "FAULT", Scaled(2.0), SourceLine("mine.py", 3, "dW1 = 1"))
    head, others, *_ = render(Results((ROW,), (weak, fault))).split("\n\n")
    assert head.startswith("FAULT  dW1 at step 1   mine.py:3   dW1 = 1\n")
    assert others.startswith("WEAK  A1 at step 1   precision-loss: ")


def test_the_table_stands_where_nothing_fails_or_where_it_is_asked_for():
    assert "max |diff|" in render(PASSING)
    assert "max |diff|" not in render(FAILING)
    assert "max |diff|" in in_full(FAILING)
    assert "dZ1 at step 1: 2.3e+04 times what rounding explains, and it stays where" in in_full(FAILING)
    assert "what rounding explains" not in render(FAILING)
    weak = Results((ROW._replace(verdict="WEAK"),), (Finding(KEY, "WEAK", LosesDigits()),))
    assert render(weak).startswith("WEAK  dW1 at step 1\n")
    assert "max |diff|" in render(weak)


def test_a_line_of_code_that_is_cut_beside_its_place_has_a_line_of_its_own_where_there_is_room():
    code = "dW1 = " + "x + " * 14 + "x"
    short = Finding(KEY, "FAULT", Scaled(2.0), SourceLine("a_file_with_a_name.py", 7, code))
    assert block(short)[:2] == ["FAULT  dW1 at step 1   a_file_with_a_name.py:7", f"  {code}"]
    assert LONG.line.file in block(LONG)[0]
    assert block(LONG)[0].endswith("...")


def test_verdicts_alone_are_coloured():
    assert render(PASSING, colour=True).count("\x1b[32mOK\x1b[0m") == len(PASSING.rows)
    text = render(FAILING, colour=True)
    assert text.startswith("\x1b[31mFAULT\x1b[0m  dZ1 at step 1")
    assert text.count("\x1b[31mFAULT\x1b[0m") == 2
    plain = text.replace("\x1b[31m", "").replace("\x1b[32m", "").replace("\x1b[0m", "")
    assert plain == render(FAILING)


def test_several_stand_under_their_names():
    text = render_all({"one": PASSING, "two": FAILING}, {"three": "no torch"})
    assert text == f"one:\n{render(PASSING)}\n\ntwo:\n{render(FAILING)}\n\nthree could not run: no torch\n"
    assert render_all({"two": FAILING}, one=in_full) == f"two:\n{in_full(FAILING)}"
    assert render_all({}) == "No check ran.\n"


def test_brief_is_the_findings_and_where_there_is_none_the_outcome():
    first, others, *_ = render(FAILING).split("\n\n")
    assert brief(FAILING) == f"{first}\n\n{others}\n"
    assert brief(FAILING, colour=True).count("\x1b[31mFAULT\x1b[0m") == 2
    assert brief(PASSING).rstrip() == closing(PASSING)[0]
    weak = Results((ROW._replace(verdict="WEAK"),), (Finding(KEY, "WEAK", LosesDigits()),))
    assert brief(weak).startswith("WEAK  dW1 at step 1\n")


@pytest.mark.parametrize("array", [np.array(2.0), np.arange(3.0), np.ones((200, 300)), np.array([np.nan, np.inf])])
def test_both_sides_of_a_tensor_stand_above_their_difference_in_80_columns(array):
    head, *lines = side_by_side("dA1", 2, array, array.astype(np.float32) / 2).splitlines()
    assert head.startswith("dA1 at step 2")
    assert [line for line in lines if line.endswith(":")] == ["by hand:", "torch:", "by hand - torch:"]
    assert max(map(len, lines)) <= 80
    assert len(lines) < 60, "large ones are cut as NumPy cuts them"
    assert side_by_side("a\x1b\nb", 1, array, array).splitlines()[0].startswith("a\\x1b\\nb at step 1")


def test_control_characters_do_not_reach_the_terminal():
    name = "a\x1b[31m\u202e\nb"
    finding = Finding(Key(1, "forward", name), "FAULT", Unknown(), SourceLine(name, 1, name), equation=name)
    for text in (render(Results((ROW,), (finding, finding))), in_full(Results((ROW._replace(name=name),), (finding,)))):
        assert not {"\x1b", "\u202e"} & {*text}
        assert "\\x1b[31m\\u202e\\nb" in text
