import re

import pytest

from handgrad import Finding, ParityError, Report, Row
from handgrad.compare.report import html, markdown
from tests.support import parsed

FINE = Row(1, "forward", "Z1", "F1", (2, 3), 1e-16, (0, 1), 1.0, 1.0)
WRONG = Row(1, "backward", "dW1", "B2", (2, 2), 0.5, (1, 0), -12.64908, -3.16227, verdict="FAULT")
LATER = Row(2, "backward", "dW1", "B2", (2, 2), 0.25, (1, 0), 2.0, 1.75, verdict="FAULT")
LOST = Row(1, "update", "W1_next", "O4", (2, 2), float("nan"), verdict="MISSING")
WORST = "at (1, 0): by hand -12.64908, torch -3.16227"
EXPLAINED = f"too large; {WORST}; affects 2 later tensors"
CULPRIT = Finding(1, "backward", "dW1", "B2", "FAULT", "unknown", EXPLAINED, index=(1, 0))


def test_a_pass_is_ok_and_raises_nothing():
    report = Report(rows=(FINE,))
    assert report.ok
    assert report.first is None
    report.raise_if_failed(strict=True)


@pytest.mark.parametrize("verdict", ["FAULT", "NONFINITE", "MISSING"])
def test_a_failing_verdict_raises_with_the_report_as_its_message(verdict):
    finding = Finding(1, "backward", "dW1", "B2", verdict, "unknown", "too large")
    report = Report(rows=(FINE, WRONG), findings=(finding,))
    assert not report.ok
    assert report.first is finding
    with pytest.raises(ParityError, match="dW1") as caught:
        report.raise_if_failed()
    assert isinstance(caught.value, AssertionError)
    assert str(report) in str(caught.value)


def test_weak_fails_only_when_strict():
    weak = Finding(1, "forward", "A1", "F2", "WEAK", "precision-loss", "loses digits")
    report = Report(rows=(FINE,), findings=(weak,))
    assert report.ok
    report.raise_if_failed()
    with pytest.raises(ParityError):
        report.raise_if_failed(strict=True)


def test_text_shows_the_culprit_in_full_and_the_rest_as_a_count():
    text = str(Report(rows=(FINE, WRONG, LOST, LATER), findings=(CULPRIT,), blind_spots=("a kink",)))
    assert "step 1 / backward / dW1   (B2) dW[l] = dZ[l] A[l-1]^T  FAULT  too large" in text
    assert f"\n  {WORST}\n  affects 2 later tensors\n" in text
    assert "FAULT: dW1 (B2) is the first tensor that differs, at step 1; 1 tensor wrong by itself" in text
    assert text.endswith("Not shown by this run: a kink.\n")
    assert len([line for line in text.splitlines() if line.startswith("B2")]) == 1


def test_json_has_the_fields_of_the_schema_and_strings_for_what_json_has_not():
    report = parsed(Report(rows=(FINE, LOST), findings=(CULPRIT,), environment={"seed": 0}).to_json())
    assert [*report] == ["schema", "ok", "rows", "findings", "notes", "blind_spots", "environment"]
    row = "step phase name equation shape max_abs_diff index by_hand torch rho rho_basis verdict"
    finding = "step phase name equation verdict cause explanation factor index"
    assert [*report["rows"][0]] == row.split()
    assert [*report["findings"][0]] == finding.split()
    assert report["rows"][1]["max_abs_diff"] == "nan"
    assert report["rows"][0]["rho"] is None


def test_what_fails_decides_the_outcome_although_something_weak_comes_first():
    weak = Finding(1, "forward", "A1", "F2", "WEAK", "precision-loss", "loses digits")
    report = Report(rows=(FINE, WRONG), findings=(weak, CULPRIT))
    assert report.first is weak
    told = "FAULT: dW1 (B2) is the first tensor that differs, at step 1; 1 tensor wrong by itself and 1 WEAK among"
    assert told in str(report)
    assert "### handgrad: FAULT" in report.to_markdown()
    assert "<title>handgrad: FAULT dW1</title>" in report.to_html()
    several = {"one": report, "other": Report(rows=(FINE,))}
    assert any("FAULT" in line and "dW1 at step 1" in line for line in markdown.render_all(several).splitlines())
    assert re.search(r'data-label="verdict"><span class="verdict culprit">FAULT<', html.render_all(several))
