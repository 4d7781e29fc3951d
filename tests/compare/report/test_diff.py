import math
import re

from handgrad import Finding, Row, load_report
from handgrad.compare.cli import main
from handgrad.compare.facts.causes import Scaled, Unknown
from handgrad.compare.facts.failures import Mutates, Raised
from handgrad.compare.names import Key
from handgrad.compare.report.diff import difference, render
from handgrad.compare.results import Results
from tests.compare.report.samples import FAILING, PASSING
from tests.compare.report.test_markdown import cells
from tests.support import parsed

ROW = Row(1, "forward", "Z", "", (2,), 0.0, rho=0.1)


def test_two_equal_runs_are_equal():
    same = difference({"report": PASSING}, {"report": PASSING})
    assert same.equal
    assert render(same, "text") == "Equal: 10 tensors with the same verdicts and rho.\n"


def test_a_changed_rho_and_a_changed_setting_are_told():
    environment = {"check": "a", "experiment": {"seed": 0}}
    before = Results((ROW, ROW._replace(name="A")), environment=environment)
    rows = tuple(row._replace(rho=0.2) for row in before.rows)
    after = Results(rows, environment={"check": "b", "experiment": {"seed": 1}})
    found = difference({"report": before}, {"report": after})
    assert not found.equal
    assert [(change.name, change.verdict) for change in found.changes] == [("Z", ("OK", "OK")), ("A", ("OK", "OK"))]
    assert found.environment["experiment.seed"] == (0, 1)
    text = render(found, "text")
    assert "0 tensors changed verdict, 2 rho alone; the environment differs in check, experiment.seed.\n" in text


def test_a_changed_verdict_is_shown_at_the_step_where_it_changed():
    rows = [Row(step, "backward", "dW", "", (2,), 0.0, rho=0.1 * step) for step in (1, 2, 3)]
    later = [rows[0], rows[1]._replace(rho=9.0), rows[2]._replace(rho=1e6, verdict="FAULT")]
    fine = Results(tuple(rows))
    faulty = Results(tuple(later), (Finding(Key(3, "backward", "dW"), "FAULT", Unknown()),))
    (change,) = difference({"a": fine}, {"a": faulty}).changes
    assert (change.step, change.verdict, change.rho) == (3, ("OK", "FAULT"), (rows[2].rho, 1e6))
    assert (change.changed, change.steps) == (2, 3)
    text = render(difference({"a": fine}, {"a": faulty}), "text")
    assert re.search(r"dW +3 +OK -> FAULT +0.3 -> 1e\+06 +2 of 3 steps", text)
    assert "a: found first nothing, now FAULT dW at step 3, unknown." in text
    assert text.endswith("1 tensor changed verdict, 0 rho alone, 1 check changed or missing.\n")


def test_another_factor_is_a_difference_and_said():
    key = Key(1, "backward", "dW")
    two, three = (Results((), (Finding(key, "FAULT", Scaled(factor)),)) for factor in (2.0, 3.0))
    (said,) = difference({"report": two}, {"report": three}).outcomes
    assert said == "found first FAULT dW at step 1, scale 2, now FAULT dW at step 1, scale 3."


def test_what_only_one_run_has_is_a_difference():
    row = ROW._replace(rho=math.nan)
    one, two = Results((row,)), Results((row, row._replace(name="A")))
    assert difference({"a": one}, {"a": one}).equal
    found = difference({"a": one, "b": one}, {"a": two, "c": one})
    assert not found.equal
    assert [(change.name, change.verdict) for change in found.changes] == [("A", (None, "OK"))]
    assert found.outcomes == ("Only the first has b.", "Only the second has c.")
    assert "Only the first has b." in render(found, "text")
    assert "1 tensor changed verdict, 0 rho alone, 2 checks changed or missing." in render(found, "text")
    assert "absent -\\> OK" in render(found, "markdown")
    content = parsed(render(found, "json"))
    assert (content["schema"], content["equal"]) == ("handgrad.diff/1", False)
    assert [*content] == ["schema", "equal", "changes", "outcomes", "environment", "compared"]


def test_findings_without_a_tensor_are_a_difference_too():
    """A derivation that changes its input, or raises another exception, has the same rows as before."""
    fine, key = Results((ROW,)), Key(1, "forward", "X")
    mutating = Results((ROW,), (Finding(key, "FAULT", Mutates("derivation", "batch array", "X")),))
    raising = Results((ROW,), (Finding(key, "FAULT", Raised("ValueError", "mine")),))
    assert not difference({"a": fine}, {"a": mutating}).equal
    assert "a: found first FAULT X at step 1, mutated-input, now FAULT X at step 1, exception." in render(
        difference({"a": mutating}, {"a": raising}), "text"
    )


def test_markdown_escapes_what_the_user_named():
    one, two = (Results((ROW._replace(name="a|<b>", rho=rho),)) for rho in (0.1, 0.2))
    text = render(difference({"i|<i>": one}, {"i|<i>": two}), "markdown")
    (line,) = [line for line in text.splitlines() if "0.1" in line]
    assert len(cells(line)) == 5
    assert "<b>" not in text


def test_on_the_command_line(tmp_path, capsys):
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    a.write_text(PASSING.to_json())
    b.write_text(FAILING.to_json())
    assert main(["diff", str(a), str(a)]) == 0
    assert capsys.readouterr().out == "Equal: 10 tensors with the same verdicts and rho.\n"
    assert main(["diff", str(a), str(b)]) == 1
    assert re.search(r"^dZ1 +1 +OK -> FAULT ", capsys.readouterr().out, flags=re.MULTILINE)
    assert main(["diff", str(a), str(b), "--format", "markdown", "--output", str(tmp_path / "d.md")]) == 1
    assert (tmp_path / "d.md").read_text().startswith("| tensor ")
    assert main(["diff", str(a), str(b), "--output", str(b)]) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert load_report(b).first.where.name == "dZ1"
