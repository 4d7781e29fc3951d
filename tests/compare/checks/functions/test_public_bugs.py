"""Eight public bugs are a FAULT with a named cause, and OK once mended, in every precision."""

import pytest
import torch

from handgrad import check_function
from tests.corpus.public_bugs import BUGS

in_every_precision = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
every_bug = pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])


@in_every_precision
@every_bug
def test_a_bug_is_a_fault_with_a_name(bug, dtype):
    report = check_function(bug.function(mended=False), bug.reference, bug.inputs_in(dtype))
    assert not report.ok
    assert report.first.cause.code == bug.code
    assert report.environment["dtype"] == str(dtype).removeprefix("torch.")
    if report.first.where.phase == "backward":
        assert report.first.line.text.split("(")[0] == "def backward"
        assert report.first.line.file.split("/")[-1] == "public_bugs.py"


@in_every_precision
@every_bug
def test_its_mended_version_is_right(bug, dtype):
    report = check_function(bug.function(mended=True), bug.reference, bug.inputs_in(dtype))
    assert report.findings == (), str(report)
    assert {row.verdict for row in report.rows} == {"OK"}


@every_bug
def test_both_in_float64_by_the_finer_rule(bug):
    wrong, right = (
        check_function(bug.function(mended=mended), bug.reference, bug.inputs_in(torch.float64))
        for mended in (False, True)
    )
    assert wrong.first.cause.code == bug.code
    assert right.findings == (), str(right)
