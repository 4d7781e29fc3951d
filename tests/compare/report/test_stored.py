"""Reports read back: the same facts, the same renderings; what is damaged is refused in a sentence."""

import json
import re
import subprocess
import sys
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import UnionType
from typing import Union, get_args, get_origin, get_type_hints

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handgrad import InputError, Report, load_report, load_reports
from handgrad.compare import facts
from handgrad.compare.cli import main
from handgrad.compare.facts.causes import Zero
from handgrad.compare.facts.fact import Fact
from handgrad.compare.facts.remarks import BlindSpot, ThenRaised
from handgrad.compare.report import json as written
from handgrad.compare.report import stored
from handgrad.compare.report.diff import difference
from handgrad.compare.results import Curve, Plot
from tests.compare.report.samples import FAILING, PASSING, SAMPLES
from tests.compare.report.test_json import SCHEMA
from tests.support import parsed

DATA = Path(__file__).parent / "data"


# --- hand-made reports and facts


@pytest.mark.parametrize("name", SAMPLES)
def test_a_report_comes_back_the_same(name, tmp_path):
    file, report = tmp_path / "report.json", SAMPLES[name]
    file.write_text(report.to_json())
    again = load_report(file)
    assert isinstance(again, Report)
    assert again == report
    assert again.to_json() == report.to_json()
    assert str(again) == str(report)
    assert again.to_markdown() == report.to_markdown()
    assert again.to_html() == report.to_html()
    assert difference({"a": report}, {"a": again}).equal


def made(kind):
    """Some value of the type of a fact's field."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (UnionType, Union):
        return made(arguments[0])
    if origin is tuple:
        return tuple(made(inner) for inner in arguments if inner is not Ellipsis)
    if issubclass(kind, Fact):
        return of_type(kind if kind.__name__ in stored.FACTS else Zero)
    if hasattr(kind, "_fields"):
        return kind(*map(made, get_type_hints(kind).values()))
    return {int: 2, float: float("inf"), str: "mean", bool: True}[kind]


def of_type(kind):
    kind.prepare()
    kinds = get_type_hints(kind)
    values = {item.name: made(kinds[item.name]) for item in fields(kind)}
    return kind(**{**values, "values": "agree"} if "values" in values and kind.__name__ == "WrongShape" else values)


@pytest.mark.parametrize("name", stored.FACTS)
def test_every_fact_comes_back_with_its_type(name):
    fact = of_type(stored.FACTS[name])
    finding = replace(FAILING.findings[0], circumstances=(fact, ThenRaised(Zero())))
    (again,) = stored.read(replace(FAILING, findings=(finding, *FAILING.findings[1:])).to_json(), "it").values()
    (read, _) = again.findings[0].circumstances
    assert read == fact
    assert type(read) is type(fact)


def test_every_type_of_fact_is_known():
    modules = [import_module(f"{facts.__name__}.{module.name}") for module in iter_modules(facts.__path__)]
    kinds = {kind for module in modules for kind in vars(module).values() if isinstance(kind, type)}
    due = {kind.__name__ for kind in kinds if issubclass(kind, Fact) and (hasattr(kind, "code") or kind is BlindSpot)}
    assert {*stored.FACTS} == due


def test_a_fact_of_a_later_version_keeps_its_sentence():
    content = json.loads(FAILING.to_json())
    content["findings"][0]["cause"] = {"code": "new", "type": "New", "angle": 3, "factor": 2, "text": "it is turned"}
    content["notes"][0] = {"code": "newer", "type": "Newer", "text": "Turned."}
    content["blind_spots"][0] = {"code": "newest", "type": "Newest", "text": "a turn"}
    (report,) = stored.read(json.dumps(content), "it").values()
    assert report.first.cause == stored.Stored("new", "it is turned", 2)
    assert report.first.factor == 2
    assert re.search(r"^  it is turned +new$", str(report), flags=re.MULTILINE)
    assert str(report.notes[0]) == "Turned."
    assert "Not shown by this run: a turn." in str(report)
    again = json.loads(report.to_json())
    jsonschema.validate(again, SCHEMA)
    assert again["findings"][0]["cause"]["text"] == "it is turned"
    assert next(iter(stored.read(report.to_json(), "it").values())) == report


def test_several_reports_are_stored_by_name(tmp_path):
    file = tmp_path / "reports.json"
    file.write_text(written.render_all({"one": PASSING, "two": FAILING}))
    assert load_reports(file) == {"one": PASSING, "two": FAILING}
    with pytest.raises(InputError, match=r"holds 2 reports: one, two; read it with load_reports"):
        load_report(file)


# --- reports of schema 1


def test_a_report_of_schema_1_is_read_with_its_sentences_and_its_lines():
    report = load_report(DATA / "report-1.json")
    finding = report.first
    assert (finding.where.name, finding.verdict, finding.cause.code, finding.factor) == ("db", "FAULT", "scale", 0.5)
    assert [str(finding.cause)] == [
        each["explanation"] for each in parsed((DATA / "report-1.json").read_text())["findings"]
    ]
    assert finding.together == ("dW",)
    assert finding.line == ("half.py", 8, 'e = (p["W"] @ X + p["b"] - Y) / 2')
    assert report.details.suspects["db"].shared == ("db", "dW")
    assert str(report.blind_spots[0]) == "where a mistake enters between the tensors returned (not returned: J)"
    assert str(report).startswith('FAULT  db at step 1   half.py:8   e = (p["W"] @ X + p["b"] - Y) / 2\n')
    assert "half.py, line 8" in report.to_html()
    jsonschema.validate(parsed(report.to_json()), SCHEMA)
    (again,) = stored.read(report.to_json(), "it").values()
    assert again == report


def test_notes_of_schema_1_are_their_sentences():
    (report,) = stored.read(json.dumps({**OLD, "notes": ["Own loss: dw is right."]}), "it").values()
    assert report.notes == (stored.Stored("note", "Own loss: dw is right."),)


def test_several_reports_of_schema_1_are_read(capsys):
    reports = load_reports(DATA / "reports-1.json")
    assert [*reports] == ["gradients", "updates"]
    assert all(report.ok for report in reports.values())
    assert main(["show", str(DATA / "report-1.json")]) == 1
    assert main(["show", str(DATA / "reports-1.json")]) == 0
    assert main(["diff", str(DATA / "report-1.json"), str(DATA / "report-1.json")]) == 0
    assert "half.py:8" in capsys.readouterr().out


# --- what is not imported


@pytest.mark.parametrize("file", ["a.json", "1.json"])
def test_reading_and_rendering_need_neither_torch_nor_numpy(file, tmp_path):
    (tmp_path / "a.json").write_text(PASSING.to_json())
    (tmp_path / "1.json").write_bytes((DATA / "reports-1.json").read_bytes())
    code = (
        "import sys\nsys.modules['torch'] = sys.modules['numpy'] = None\n"
        f"from handgrad import load_reports\nreport = next(iter(load_reports('{file}').values()))\n"
        "print(str(report) + report.to_markdown() + report.to_json())\nreport.raise_if_failed()\n"
        "from handgrad.compare.cli import main\n"
        f"assert main(['show', '{file}', '--format', 'markdown']) == 0\n"
        f"assert main(['diff', '{file}', '{file}']) == 0\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "OK: by hand and torch agree on all" in done.stdout


def test_a_stored_report_becomes_a_page_without_torch(tmp_path):
    (tmp_path / "a.json").write_text(PASSING.to_json())
    code = (
        "import sys\nsys.modules['torch'] = None\nfrom handgrad.compare.cli import main\n"
        "assert main(['show', 'a.json', '--format', 'html', '--output', 'a.html']) == 0\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "What is computed from what" in (tmp_path / "a.html").read_text(encoding="utf-8")


# --- what is damaged

GOOD = json.loads(FAILING.to_json())
OLD = json.loads((DATA / "report-1.json").read_text())
ROW, FINDING = GOOD["rows"][0], GOOD["findings"][0]


def changed(**values):
    return json.dumps({**GOOD, **values})


def found(**values):
    return changed(findings=[{**FINDING, **values}])


UNREADABLE = {
    "absent": (None, "cannot be read (No such file or directory); name an existing report"),
    "empty": ("", "is no JSON"),
    "cut short": (changed()[:200], "is no JSON"),
    "binary": (b"\xff\xfe\x00", "is no JSON"),
    "nested too deep": ("[" * 100_000, "is no JSON"),
    "an array": ("[]", "is no report of handgrad (its schema is None)"),
    "foreign": ('{"schema": "other/1"}', "is no report of handgrad (its schema is 'other/1')"),
    "no schema": ("{}", "is no report of handgrad"),
    "newer": (
        changed(schema="handgrad.report/3"),
        "is of schema handgrad.report/3, which this handgrad does not know yet",
    ),
    "newer, several": ('{"schema": "handgrad.reports/12"}', "install a newer handgrad"),
    "no rows": (json.dumps({k: v for k, v in GOOD.items() if k != "rows"}), "rows must be an array and is 'None'"),
    "rows no array": (changed(rows=7), "is a damaged report: rows must be an array and is '7'"),
    "a row no object": (changed(rows=[7]), "rows[0] must be an object and is '7'"),
    "a field missing": (changed(rows=[{"step": 1}]), "rows[0] has no phase"),
    "a verdict missing": (changed(rows=[{k: v for k, v in ROW.items() if k != "verdict"}]), "rows[0].verdict must be"),
    "a wrong type": (changed(rows=[{**ROW, "step": "1"}]), "rows[0].step must be a whole number and is '1'"),
    "a wrong index": (changed(rows=[{**ROW, "index": [1.5]}]), "rows[0].index[0] must be a whole number and is '1.5'"),
    "a wrong verdict": (changed(rows=[{**ROW, "verdict": "GOOD"}]), "rows[0].verdict must be one of OK, WEAK"),
    "a note no fact": (changed(notes=["a"]), "notes[0] must be an object and is 'a'"),
    "a note without a sentence": (changed(notes=[{"code": "a"}]), "notes[0].text must be a text and is 'None'"),
    "a cause without its facts": (
        found(cause={"code": "scale", "type": "Scaled", "text": ""}),
        "findings[0].cause has no factor",
    ),
    "a fact of another type": (
        found(cause={**FINDING["cause"], "at": 3}),
        "findings[0].cause.at must be a text and is '3'",
    ),
    "facts that make no sentence": (
        found(
            cause={
                "code": "shape",
                "type": "WrongShape",
                "shape": [1],
                "due": [2],
                "dtype": "",
                "values": "odd",
                "text": "",
            }
        ),
        "findings[0].cause must be the facts of a WrongShape",
    ),
    "no place": (found(where=None), "findings[0].where must be an object and is 'None'"),
    "ok no boolean": (changed(ok="yes"), "ok must be true or false and is 'yes'"),
    "ok against its findings": (changed(ok=True), "ok is True against its findings"),
    "a precision no text": (
        changed(environment={**GOOD["environment"], "precisions": [64]}),
        "environment.precisions[0] must be a text and is '64'",
    ),
    "rows that fail without a finding": (changed(findings=[], ok=True), "rows fail and findings is empty"),
    "several, one newer": (
        json.dumps({"schema": "handgrad.reports/2", "reports": {"a": {**GOOD, "schema": "handgrad.report/3"}}}),
        "is of schema handgrad.report/3",
    ),
    "a number too long": (changed(rows=[{**ROW, "max_abs_diff": 10**400}]), "rows[0].max_abs_diff must be a number"),
    "nothing in it": (changed(rows=[], findings=[], ok=True), "it has neither rows nor findings"),
    "several, one damaged": (
        json.dumps({"schema": "handgrad.reports/2", "ok": True, "reports": {"a b": {**GOOD, "findings": 1}}}),
        "reports['a b'].findings must be an array",
    ),
    "schema 1, no findings": (json.dumps({**OLD, "findings": 1}), "findings must be an array and is '1'"),
    "schema 1, a finding no object": (json.dumps({**OLD, "findings": [1]}), "findings[0] must be an object"),
    "schema 1, a cause no text": (
        json.dumps({**OLD, "findings": [{**OLD["findings"][0], "cause": 7}]}),
        "findings[0].cause.code must be a text and is '7'",
    ),
    "schema 1, a note no text": (json.dumps({**OLD, "notes": [1]}), "notes[0].text must be a text and is '1'"),
}


@pytest.mark.parametrize(("content", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_report_gives_one_clear_sentence(content, message, tmp_path):
    file = tmp_path / "report.json"
    if content is not None:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        load_report(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("command", ["show", "diff"])
@pytest.mark.parametrize("name", ["absent", "cut short", "a wrong type"])
def test_the_command_line_gives_the_same_sentence(name, command, tmp_path, capsys):
    content, message = UNREADABLE[name]
    file = tmp_path / "report.json"
    if content is not None:
        file.write_text(content)
    assert main([command, *[str(file)] * (2 if command == "diff" else 1)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err


PLOT = {"title": "t", "x": "x", "y": "y", "log": False, "text": ""}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["code"][0].update(text="x"), "must be lines from"),
        (lambda d: d["code"][0].update(first=-500), "from line 1 on"),
        (lambda d: d["code"][0].update(first=10**30), "from line 1 on"),
        (lambda d: d["code"][0].update(text="x\n" * 10**5), "must be at most 5000 lines"),
        (lambda d: d["suspects"]["dZ1"]["lines"].update({"0": [10**6]}), "must be lines from"),
        (lambda d: d["suspects"]["dZ1"]["lines"].update({"0": []}), "must be lines from"),
        (lambda d: d["suspects"]["dZ1"]["lines"].update({"7": [1]}), "must be positions below 1"),
        (lambda d: d["excerpts"][0]["torch"].pop(), "two equal tables"),
        (lambda d: d["excerpts"][0].update(by_hand=[], torch=[]), "two equal tables"),
        (lambda d: d["excerpts"][0].update(by_hand=[[1.0] * 65], torch=[[1.0] * 65]), "two equal tables"),
        (lambda d: d["plots"].append(PLOT | {"lines": [{"name": "a", "x": [1, 2], "y": [1]}]}), "as many x as y"),
    ],
)
def test_details_that_no_check_writes_are_refused(change, message):
    content = json.loads(FAILING.to_json())
    change(content["details"])
    with pytest.raises(InputError, match="is a damaged report: details") as caught:
        stored.read(json.dumps(content), "it")
    assert message in str(caught.value)


def test_a_report_without_details_is_whole():
    content = json.loads(FAILING.to_json())
    del content["details"]
    (report,) = stored.read(json.dumps(content), "it").values()
    assert "FAULT" in report.to_html()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("good", [GOOD, OLD], ids=["schema 2", "schema 1"])
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), value=json_values)
def test_a_report_damaged_anywhere_is_refused_or_renders(good, data, value):
    content = json.loads(json.dumps(good))
    place = content
    while True:  # walk to a random place in it and put something else there
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = value
    try:
        (report,) = stored.read(json.dumps(content), "it").values()
    except InputError:
        return
    for text in (str(report), report.to_markdown(), report.to_json()):
        assert text.endswith("\n")
    assert report.to_html().endswith("</html>")


def test_further_fields_of_a_later_version_are_left():
    cause = {**FINDING["cause"], "later": 1}
    text = changed(later=1, rows=[{**row, "later": 1} for row in GOOD["rows"]])
    content = json.loads(text)
    content["findings"][0]["cause"] = cause
    (report,) = stored.read(json.dumps(content), "it").values()
    assert report == FAILING


def test_plots_come_back(tmp_path):
    plot = Plot("Loss", "step", "J", (Curve("by hand", (1.0, 2.0), (0.5, float("inf"))),), log=True)
    report = replace(PASSING, details=PASSING.details._replace(plots=(plot,)))
    assert next(iter(stored.read(report.to_json(), "it").values())) == report


def test_show_renders_a_stored_report_and_exits_as_the_check_did(tmp_path, capsys):
    file = tmp_path / "a.json"
    file.write_text(FAILING.to_json())
    for form, text in (("text", str(FAILING)), ("json", FAILING.to_json()), ("markdown", FAILING.to_markdown())):
        assert main(["show", str(file), "--format", form]) == 1
        assert capsys.readouterr().out == text
    file.write_text(PASSING.to_json())
    assert main(["show", str(file)]) == 0


def test_show_of_a_collection_names_its_checks_and_of_none_fails(tmp_path, capsys):
    file = tmp_path / "a.json"
    file.write_text(written.render_all({"mine": PASSING}))
    assert main(["show", str(file)]) == 0
    assert capsys.readouterr().out.startswith("mine:\ntensor")
    assert main(["show", str(file), "--format", "json"]) == 0
    assert capsys.readouterr().out == file.read_text()
    file.write_text(written.render_all({}))
    assert main(["show", str(file)]) == 1
    assert capsys.readouterr().out == "No check ran.\n"
