"""Where a command writes."""

import os
from pathlib import Path

import pytest

from handgrad.compare.cli.flags import BRIEF, TABLE
from handgrad.compare.cli.output import check_output, emit, rendered
from handgrad.compare.errors import InputError
from handgrad.compare.facts.causes import WrongSign
from handgrad.compare.names import Key
from handgrad.compare.report.report import Report
from handgrad.compare.results import ALONE, Finding, Row

FINE = Row(1, "forward", "Z", "", (2,), 0.0)
WRONG = Row(1, "backward", "dZ", "", (2,), 2.0, (0,), 1.0, -1.0, 1e9, "bound", "FAULT")
FAULTY = Report((FINE, WRONG), (Finding(Key(1, "backward", "dZ"), "FAULT", WrongSign()),))


@pytest.mark.parametrize("form", ["text", "json", "markdown", "github"])
def test_one_report_and_several_are_rendered_in_every_format(form):
    assert "dZ" in rendered({ALONE: FAULTY}, form)
    several = rendered({"gradients": FAULTY, "updates": FAULTY}, form)
    assert several.count("dZ") >= 2


@pytest.mark.parametrize("names", [(ALONE,), ("gradients", "updates")])
def test_a_row_per_tensor_is_shown_if_asked_for(names):
    reports = dict.fromkeys(names, FAULTY)
    assert "max |diff|" not in rendered(reports, "text")
    assert "max |diff|" in rendered(reports, "text", extent=TABLE)
    assert len(rendered(reports, "text", extent=BRIEF)) < len(rendered(reports, "text"))
    assert rendered(reports, "json", extent=BRIEF) == rendered(reports, "json")


def test_colour_is_shown_if_asked_for():
    assert "\x1b[" in rendered({ALONE: FAULTY}, "text", colour=True)
    assert "\x1b[" not in rendered({ALONE: FAULTY}, "text")


REFUSED = {
    "in no folder": ("nowhere/report.txt", "existing one"),
    "a folder": ("folder", "is a folder"),
    "a new folder": ("new/", "folder"),
    "the input": ("data.csv", "would be overwritten"),
    "a program": ("mine.py", "is the name of a program"),
    "a pipe": ("pipe", "is a pipe"),
    "a name too long": ("x" * 300, "no name that a file can have"),
}


@pytest.mark.parametrize(("output", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_written_is_refused_before_any_work(output, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("data.csv").write_text("1,2\n")
    os.mkfifo("pipe")
    with pytest.raises(InputError, match=message):
        check_output(output, "data.csv")
    assert Path("data.csv").read_text() == "1,2\n"


@pytest.mark.parametrize("output", [None, "report.txt", "data.csv.txt"])
def test_what_can_be_written_is_not_refused(output, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("report.txt").write_text("before")
    check_output(output, "data.csv")


def test_a_text_goes_to_the_terminal_or_to_a_file(tmp_path, capsys):
    emit("a\n", None)
    assert capsys.readouterr().out == "a\n"
    emit("b\n", str(tmp_path / "b.txt"))
    assert (capsys.readouterr().out, (tmp_path / "b.txt").read_text()) == ("", "b\n")


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "report.txt"
    path.write_text("as it was")

    def full(*_):
        raise OSError(28, "No space left")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="No space left"):
        emit("new", str(path))
    assert path.read_text() == "as it was"
    assert [*tmp_path.iterdir()] == [path]


def test_a_name_that_no_file_can_have_is_refused():
    with pytest.raises(InputError, match="cannot be written"):
        emit("new", "a\0")


def test_a_link_is_followed_and_one_that_leads_round_is_refused(tmp_path):
    (tmp_path / "link.txt").symlink_to(tmp_path / "target.txt")
    emit("new", str(tmp_path / "link.txt"))
    assert (tmp_path / "target.txt").read_text() == "new"
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop.txt")
    with pytest.raises(InputError, match="cannot be written"):
        emit("new", str(tmp_path / "loop.txt"))
