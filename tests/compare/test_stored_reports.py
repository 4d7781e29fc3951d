"""Reports as JSON against their schema, read back, as Markdown, and two of them against each other."""

import json
import math
import re
import subprocess
import sys

import jsonschema
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handgrad import (
    Experiment,
    Finding,
    InputError,
    Report,
    Row,
    check_gradients,
    check_initializer,
    check_training,
    check_updates,
    load_report,
    load_reports,
)
from handgrad.compare.cli.commands import main
from handgrad.compare.report import json as stored
from handgrad.compare.report import markdown
from handgrad.compare.report.diff import difference, render
from tests.support import ROOT, parsed

SCHEMA = json.loads((ROOT / "compare" / "report" / "schema.json").read_text())
P, BATCH = {"w": np.array([1.0, 2.0, 3.0])}, (np.array([0.3, -0.7, 0.2]),)


def derivation(p, x):
    return {"J": (p["w"] ** 2 * x).sum(), "dw": 2 * p["w"] * x}


def wrong(p, x):
    return derivation(p, x) | {"dw": -2 * p["w"] * x}


def infinite(p, x):
    return derivation(p, x) | {"dw": np.array([np.nan, np.inf, -np.inf])}


def raising(p, x):
    raise ValueError("mine")


def reference(p, x):
    return (p["w"] ** 2 * x).sum()


def update(p, grads, state):
    return {"w": p["w"] - 0.1 * grads["dw"]}, state


def trainer(params, batches):
    w = params["w"]
    for (x,) in batches:
        w = w - 0.1 * 2 * w * x
        yield {"w": w}


def sgd(tensors):
    return torch.optim.SGD(tensors, lr=0.1)


MADE = {
    "gradients": lambda: check_gradients(derivation, reference, P, BATCH),
    "a finding": lambda: check_gradients(wrong, reference, P, BATCH),
    "not finite": lambda: check_gradients(infinite, reference, P, BATCH),
    "an exception": lambda: check_gradients(raising, reference, P, BATCH),
    "nothing returned": lambda: check_gradients(lambda p, x: {}, reference, P, BATCH),
    "one precision": lambda: check_gradients(derivation, reference, P, BATCH, precisions=("float32",)),
    "updates": lambda: check_updates(update, sgd, P),
    "training": lambda: check_training(trainer, reference, sgd, P, [BATCH, BATCH]),
    "initializer": lambda: check_initializer(lambda s, rng: rng.random(s), torch.nn.init.normal_, (40, 60), seed=2),
    "the notes' network": lambda: Experiment(steps=2).run("synthetic"),
    "free running": lambda: Experiment(steps=2, free_running=True).run("synthetic"),
}


@pytest.fixture(params=MADE)
def report(request):
    return MADE[request.param]()


def test_json_is_as_the_schema_says_and_comes_back_the_same(report, tmp_path):
    file = tmp_path / "report.json"
    file.write_text(report.to_json())
    jsonschema.validate(parsed(report.to_json()), SCHEMA)
    again = load_report(file)
    assert again.to_json() == report.to_json()
    assert str(again) == str(report)
    assert again.to_markdown() == report.to_markdown()
    assert again.ok == report.ok


def test_the_environment_names_what_makes_runs_differ(report):
    environment = report.environment
    assert environment["torch"] == torch.__version__
    assert environment["numpy"] == np.__version__
    assert environment["threads"] == torch.get_num_threads()
    assert environment["dtype"] == environment["precisions"][0]
    assert "seed" in environment


def test_a_variable_that_sets_the_threads_of_blas_is_named(monkeypatch):
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert MADE["gradients"]().environment["blas_threads"].startswith("one per processor")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert MADE["gradients"]().environment["blas_threads"] == "OMP_NUM_THREADS=3"


def test_tf32_is_read_whichever_way_it_was_set():
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "tf32"
        assert MADE["gradients"]().environment["tf32"] is True
        matmul.fp32_precision = "ieee"
        assert MADE["gradients"]().environment["tf32"] is False
    finally:
        matmul.fp32_precision = before


def test_the_schema_and_the_readme_have_the_fields_of_the_classes():
    for name, of in (("row", Row), ("finding", Finding)):
        names = [*of.__annotations__]
        assert [*SCHEMA["$defs"][name]["properties"]] == SCHEMA["$defs"][name]["required"] == names
        assert " ".join(f"`{name}`" for name in names) in (ROOT / "README.md").read_text(encoding="utf-8")
    environment = SCHEMA["$defs"]["report"]["properties"]["environment"]["required"]
    assert " ".join(f"`{name}`" for name in environment) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_several_reports_are_stored_by_name(tmp_path):
    reports = {"one": MADE["gradients"](), "two": MADE["a finding"]()}
    file = tmp_path / "reports.json"
    file.write_text(stored.render_all(reports))
    content = parsed(file.read_text())
    jsonschema.validate(content, SCHEMA)
    assert content["ok"] is False
    assert stored.render_all(load_reports(file)) == file.read_text()
    with pytest.raises(InputError, match=r"holds 2 reports: one, two; read it with load_reports"):
        load_report(file)


def test_reading_and_rendering_need_neither_torch_nor_numpy(tmp_path):
    (tmp_path / "a.json").write_text(MADE["the notes' network"]().to_json())
    code = (
        "import sys\nsys.modules['torch'] = sys.modules['numpy'] = None\n"
        "from handgrad import load_report\nreport = load_report('a.json')\n"
        "print(str(report) + report.to_markdown() + report.to_json())\nreport.raise_if_failed()\n"
        "from handgrad.compare.cli.commands import main\nassert main(['show', 'a.json', '--format', 'markdown']) == 0\n"
        "assert main(['diff', 'a.json', 'a.json']) == 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, text=True, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "OK: by hand and torch agree on all" in done.stdout


def test_a_stored_report_becomes_a_page_without_torch(tmp_path):
    (tmp_path / "a.json").write_text(MADE["the notes' network"]().to_json())
    code = (
        "import sys\nsys.modules['torch'] = None\nfrom handgrad.compare.cli.commands import main\n"
        "assert main(['show', 'a.json', '--format', 'html', '--output', 'a.html']) == 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, text=True, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "What is computed from what" in (tmp_path / "a.html").read_text(encoding="utf-8")


GOOD = json.loads(MADE["a finding"]().to_json())


def changed(**values):
    return json.dumps({**GOOD, **values})


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
        changed(schema="handgrad.report/2"),
        "is of schema handgrad.report/2, which this handgrad does not know yet",
    ),
    "newer, several": ('{"schema": "handgrad.reports/12"}', "install a newer handgrad"),
    "no rows": (json.dumps({k: v for k, v in GOOD.items() if k != "rows"}), "rows must be an array and is 'None'"),
    "rows no array": (changed(rows=7), "is a damaged report: rows must be an array and is '7'"),
    "a row no object": (changed(rows=[7]), "rows[0] must be an object and is '7'"),
    "a field missing": (changed(rows=[{"step": 1}]), "rows[0] has no phase"),
    "a wrong type": (
        changed(rows=[{**GOOD["rows"][0], "step": "1"}]),
        "rows[0].step must be a whole number and is '1'",
    ),
    "a wrong index": (
        changed(rows=[{**GOOD["rows"][0], "index": [1.5]}]),
        "rows[0].index must be an array of whole numbers",
    ),
    "a wrong verdict": (
        changed(rows=[{**GOOD["rows"][0], "verdict": "GOOD"}]),
        "rows[0].verdict must be one of OK, WEAK",
    ),
    "a note no text": (changed(notes=[1]), "notes[0] must be a text and is '1'"),
    "ok no boolean": (changed(ok="yes"), "ok must be true or false and is 'yes'"),
    "ok against its findings": (changed(ok=True), "ok is True against its findings"),
    "a precision no text": (
        changed(environment={**GOOD["environment"], "precisions": [64]}),
        "environment.precisions[0] must be a text and is '64'",
    ),
    "rows that fail without a finding": (changed(findings=[], ok=True), "rows fail and findings is empty"),
    "several, one newer": (
        json.dumps({"schema": "handgrad.reports/1", "reports": {"a": {**GOOD, "schema": "handgrad.report/2"}}}),
        "is of schema handgrad.report/2",
    ),
    "a number too long": (
        changed(rows=[{**GOOD["rows"][0], "max_abs_diff": 10**400}]),
        "rows[0].max_abs_diff must be a number",
    ),
    "nothing in it": (changed(rows=[], findings=[], ok=True), "it has neither rows nor findings"),
    "several, one damaged": (
        json.dumps({"schema": "handgrad.reports/1", "ok": True, "reports": {"a b": {**GOOD, "findings": 1}}}),
        "reports['a b'].findings must be an array",
    ),
}


@pytest.mark.parametrize(("content", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_report_gives_one_clear_sentence(content, message, tmp_path, capsys):
    file = tmp_path / "report.json"
    if content is not None:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        load_report(file)
    assert "\n" not in str(caught.value)
    for command in (["show", str(file)], ["diff", str(file), str(file)]):
        assert main(command) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert message in captured.err


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), value=json_values)
def test_a_report_damaged_anywhere_is_refused_or_renders(data, value):
    content = json.loads(json.dumps(GOOD))
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


def test_further_fields_of_a_later_version_are_left(tmp_path):
    file = tmp_path / "a.json"
    file.write_text(changed(later=1, rows=[{**row, "later": 1} for row in GOOD["rows"]]))
    assert load_report(file).to_json() == json.dumps(GOOD, indent=1) + "\n"


# --- Markdown


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_markdown_has_the_verdict_the_culprits_and_the_rest_folded():
    text = MADE["a finding"]().to_markdown()
    lines = text.splitlines()
    assert lines[0] == "### handgrad: FAULT"
    assert lines[2].startswith("dw is the first tensor that differs, at step 1")
    (culprit,) = [cells(line) for line in lines if line.startswith("| 1 ")]
    assert culprit[:5] == ["1", "dw", "", "FAULT", "sign"]
    assert "every entry has the wrong sign" in culprit[5]
    tensors = text[text.index("<details><summary>All 2 tensors") :]
    assert [cells(line)[0] for line in tensors.splitlines() if line.startswith("| ")][:3] == ["tensor", "J", "dw"]
    assert f"| torch         | {torch.__version__}" in text
    assert text.count("<details>") == text.count("</details>") == 2


def test_markdown_shows_names_and_messages_of_the_users_as_they_are():
    row = Row(1, "forward", "a|b<script>`*_x_", "", (1,), 0.5, verdict="FAULT")
    finding = Finding(1, "forward", row.name, "", "FAULT", "unknown", "one\nline | <b>\n# no heading")
    text = Report((row,), (finding,), notes=("- a\n- b",), environment={"check": "<img src=x>"}).to_markdown()
    assert "<script>" not in text.replace("\\<script\\>", "")
    assert "<b>" not in text
    assert "<img" not in text.replace("\\<img", "")
    (culprit,) = [line for line in text.splitlines() if line.startswith("| 1 ")]
    assert len(cells(culprit)) == 6
    assert [line for line in text.splitlines() if line.startswith("#")] == ["### FAULT"] or text.startswith("### ")
    assert "\n# no heading" not in text


def test_markdown_of_several_shows_those_that_differ_in_full_and_the_others_in_a_line():
    reports = {"one": MADE["gradients"](), "two": MADE["a finding"](), "three": MADE["updates"]()}
    text = markdown.render_all(reports)
    lines = text.splitlines()
    assert lines[0] == "### handgrad: 1 of 3 checks differs"
    assert [cells(line)[:2] for line in lines[4:7]] == [["two", "FAULT"], ["one", "OK"], ["three", "OK"]]
    assert [line for line in lines if line.startswith("#### ")] == ["#### two: FAULT"]
    assert text.count("Environment") == 1
    assert markdown.render_all({"one": reports["one"]}).startswith("### handgrad: 1 check agrees\n")


def test_markdown_of_very_many_stays_short_enough_for_a_job_summary():
    row = Row(1, "backward", "dw", "", (3,), 0.0, rho=0.1)
    fine = Report((row,), environment={"check": "c"})
    failing = Report((row._replace(verdict="FAULT"),), (Finding(1, "backward", "dw", "", "FAULT", "sign", "wrong"),))
    text = markdown.render_all({f"test {i}": failing if i % 10 == 0 else fine for i in range(3000)})
    assert len(text) < 2**20
    assert text.startswith("### handgrad: 300 of 3000 checks differ")
    assert "2500 more agree" in text
    assert "280 more differ; the table above has them" in text


# --- two runs


def test_two_equal_runs_are_equal_and_a_changed_one_is_told_by_tensor():
    before, after = MADE["the notes' network"](), Experiment(steps=2, seed=1).run("synthetic")
    same = difference({"report": before}, {"report": before})
    assert same.equal
    assert render(same, "text") == f"Equal: {len(before.rows)} tensors with the same verdicts and rho.\n"
    found = difference({"report": before}, {"report": after})
    assert not found.equal
    assert {change.name for change in found.changes} <= {row.name for row in before.rows}
    assert all(change.verdict == ("OK", "OK") for change in found.changes)
    assert found.environment["experiment.seed"] == (0, 1)
    text = render(found, "text")
    assert f"0 tensors changed verdict, {len(found.changes)} rho alone; the environment differs in check, " in text


def test_a_changed_verdict_is_shown_at_the_step_where_it_changed():
    rows = [Row(step, "backward", "dW", "", (2,), 0.0, rho=0.1 * step) for step in (1, 2, 3)]
    later = [rows[0], rows[1]._replace(rho=9.0), rows[2]._replace(rho=1e6, verdict="FAULT")]
    fine = Report(tuple(rows))
    faulty = Report(tuple(later), (Finding(3, "backward", "dW", "", "FAULT", "unknown", "wrong"),))
    (change,) = difference({"a": fine}, {"a": faulty}).changes
    assert (change.step, change.verdict, change.rho) == (3, ("OK", "FAULT"), (rows[2].rho, 1e6))
    assert (change.changed, change.steps) == (2, 3)
    text = render(difference({"a": fine}, {"a": faulty}), "text")
    assert re.search(r"dW +3 +OK -> FAULT +0.3 -> 1e\+06 +2 of 3 steps", text)
    assert "found first nothing, now FAULT step 3 / backward / dW, unknown." in text
    assert text.endswith("1 tensor changed verdict, 0 rho alone, 1 check changed or missing.\n")


def test_another_factor_is_a_difference_and_said():
    two, three = (
        Report((), (Finding(1, "backward", "dW", "", "FAULT", "scale", "off", factor),)) for factor in (2.0, 3.0)
    )
    (told,) = difference({"report": two}, {"report": three}).outcomes
    assert told == "found first FAULT step 1 / backward / dW, scale 2, now FAULT step 1 / backward / dW, scale 3."


def test_what_only_one_run_has_is_a_difference():
    row = Row(1, "forward", "Z", "", (2,), 0.0, rho=math.nan)
    one, two = Report((row,)), Report((row, row._replace(name="A")))
    assert difference({"a": one}, {"a": one}).equal
    found = difference({"a": one, "b": one}, {"a": two, "c": one})
    assert not found.equal
    assert [(change.name, change.verdict) for change in found.changes] == [("A", (None, "OK"))]
    assert found.outcomes == ("Only the first has b.", "Only the second has c.")
    assert "Only the first has b." in render(found, "text")
    assert "1 tensor changed verdict, 0 rho alone, 2 checks changed or missing." in render(found, "text")
    assert "absent -\\> OK" in render(found, "markdown")
    assert parsed(render(found, "json"))["equal"] is False


def test_diff_on_the_command_line(tmp_path, capsys):
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    a.write_text(MADE["gradients"]().to_json())
    b.write_text(MADE["a finding"]().to_json())
    assert main(["diff", str(a), str(a)]) == 0
    assert capsys.readouterr().out == "Equal: 2 tensors with the same verdicts and rho.\n"
    assert main(["diff", str(a), str(b)]) == 1
    assert re.search(r"^dw +1 +OK -> FAULT ", capsys.readouterr().out, flags=re.MULTILINE)
    assert main(["diff", str(a), str(b), "--format", "markdown", "--output", str(tmp_path / "d.md")]) == 1
    assert (tmp_path / "d.md").read_text().startswith("| tensor ")
    assert main(["diff", str(a), str(b), "--output", str(b)]) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert load_report(b).first.name == "dw"


def test_show_renders_a_stored_report_and_exits_as_the_check_did(tmp_path, capsys):
    file = tmp_path / "a.json"
    report = MADE["a finding"]()
    file.write_text(report.to_json())
    for form, text in (("text", str(report)), ("json", report.to_json()), ("markdown", report.to_markdown())):
        assert main(["show", str(file), "--format", form]) == 1
        assert capsys.readouterr().out == text
    file.write_text(MADE["gradients"]().to_json())
    assert main(["show", str(file)]) == 0


def test_findings_without_a_tensor_are_a_difference_too():
    """A derivation that changes its input, or raises another exception, has the same rows as before."""
    row = Row(1, "forward", "Z", "", (2,), 0.0)
    fine = Report((row,))
    mutating = Report((row,), (Finding(1, "forward", "X", "", "FAULT", "mutated-input", "changed"),))
    raising = Report((row,), (Finding(1, "forward", "X", "", "FAULT", "exception", "raised"),))
    assert not difference({"a": fine}, {"a": mutating}).equal
    assert (
        "a: found first FAULT step 1 / forward / X, mutated-input, now FAULT step 1 / forward / X, exception"
        in render(difference({"a": mutating}, {"a": raising}), "text")
    )


def test_diff_as_markdown_escapes_what_the_user_named():
    row = Row(1, "forward", "a|<b>", "", (2,), 0.0, rho=0.1)
    text = render(difference({"i|<i>": Report((row,))}, {"i|<i>": Report((row._replace(rho=0.2),))}), "markdown")
    (line,) = [line for line in text.splitlines() if "0.1" in line]
    assert len(cells(line)) == 5
    assert "<b>" not in text


def test_show_of_a_collection_names_its_checks_and_of_none_fails(tmp_path, capsys):
    file = tmp_path / "a.json"
    file.write_text(stored.render_all({"mine": MADE["gradients"]()}))
    assert main(["show", str(file)]) == 0
    assert capsys.readouterr().out.startswith("mine:\ncheck_gradients")
    assert main(["show", str(file), "--format", "json"]) == 0
    assert capsys.readouterr().out == file.read_text()
    file.write_text(stored.render_all({}))
    assert main(["show", str(file)]) == 1
    assert capsys.readouterr().out == "No check ran.\n"


def test_control_characters_in_names_do_not_reach_the_terminal():
    row = Row(1, "forward", "a\x1b[31m\u202e\nb", "", (2,), 0.5, verdict="FAULT")
    finding = Finding(1, "forward", row.name, "", "FAULT", "unknown", "as \x1b said")
    report = Report((row,), (finding,), notes=("\x07",))
    for text in (str(report), report.to_markdown()):
        assert not {"\x1b", "\u202e", "\x07"} & set(text)
        assert "\\x1b[31m\\u202e\\nb" in text.replace("\\\\", "\\").replace("\\[", "[")
