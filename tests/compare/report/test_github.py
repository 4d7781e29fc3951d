"""Annotations for GitHub Actions: what its runner reads from each line."""

import re
from dataclasses import replace
from urllib.parse import unquote

import pytest

from handgrad.compare.facts.causes import Scaled, Unknown
from handgrad.compare.facts.failures import LosesDigits
from handgrad.compare.names import Key
from handgrad.compare.report.github import render, render_all
from handgrad.compare.report.summary import strictly
from handgrad.compare.results import Finding, Results, Row, SourceLine
from tests.compare.report.samples import FAILING, GOLDEN, PASSING, SAMPLES

KEY = Key(2, "backward", "dW1")
LINE = SourceLine("my_derivation.py", 7, "dW1 = 1")
ROW = Row(2, "backward", "dW1", "", (2,), 0.5, verdict="FAULT")


def annotations(text):
    """Command, properties and message of each annotation, as GitHub's runner takes them apart."""
    found = re.findall(r"^::(\w+) (.*?)::(.*)$", text, flags=re.MULTILINE)
    parts = (dict(item.split("=", 1) for item in properties.split(",")) for _, properties, _ in found)
    return [
        (command, {key: unquote(value) for key, value in own.items()}, unquote(message))
        for (command, _, message), own in zip(found, parts, strict=True)
    ]


@pytest.mark.parametrize("name", SAMPLES)
def test_the_annotations_of_a_report(name):
    assert render(SAMPLES[name]) == (GOLDEN / f"{name}.github").read_text(encoding="utf-8")


def test_every_finding_annotates_its_file_and_line():
    found = annotations(render(FAILING))
    assert [command for command, *_ in found] == ["error"] * len(FAILING.findings)
    assert [(p["file"], p["line"]) for _, p, _ in found] == [
        (finding.line.file, str(finding.line.number)) for finding in FAILING.findings
    ]
    assert annotations(render(PASSING)) == []


def test_a_finding_without_a_line_is_told_all_the_same():
    ((_, properties, _),) = annotations(render(Results((ROW,), (Finding(KEY, "FAULT", Scaled(2.0)),))))
    assert properties.keys() == {"title"}


def test_what_is_not_shown_wrong_is_a_warning_unless_the_check_is_strict():
    weak = Results((ROW._replace(verdict="WEAK"),), (Finding(KEY, "WEAK", LosesDigits(), LINE),))
    assert [command for command, *_ in annotations(render(weak))] == ["warning"]
    assert [command for command, *_ in annotations(render(strictly(weak)))] == ["error"]


def test_nothing_of_the_users_ends_a_command_or_begins_another():
    name = "a,b:c%0A\n::error::x"
    text = render(Results((ROW,), (Finding(Key(1, "forward", name), "FAULT", Unknown(), SourceLine(name, 3, "")),)))
    assert sum(line.startswith("::") for line in text.splitlines()) == 1
    ((_, properties, _),) = annotations(text)
    assert properties["file"] == name
    assert properties["line"] == "3"


@pytest.mark.parametrize(
    ("root", "file"), [(".", "here/my_derivation.py"), ("here", "my_derivation.py"), ("else", "my_derivation.py")]
)
def test_paths_begin_at_the_root_of_the_repository(root, file, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path / root))
    finding = Finding(KEY, "FAULT", Scaled(2.0), LINE)
    ((_, properties, _),) = annotations(render(Results((ROW,), (finding,))))
    assert properties["file"] == file


def test_several_reports_follow_each_other():
    both = render_all({"one": FAILING, "two": replace(FAILING, notes=())})
    assert len(annotations(both)) == 2 * len(FAILING.findings)
