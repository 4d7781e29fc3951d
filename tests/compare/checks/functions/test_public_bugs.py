"""Eight public bugs are a FAULT with a named cause, and OK once mended, in every precision."""

import pytest
import torch

from handgrad import check_function
from tests.corpus.kernels_bugs import BUGS, function_of_bug, inputs_of_bug

CODES = {
    "Liger-Kernel #1298": "upstream",
    "unsloth #4533": "missing",
    "apex #1430": "mutated-input",
    "quack #53": "upstream",
    "Fast-LLM #228": "activation-derivative",
    "ROCm/TransformerEngine #336": "upstream",
    "flash-linear-attention #963": "linearity",
    "pytorch #194719": "layout",
}
in_every_precision = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
every_bug = pytest.mark.parametrize("bug", BUGS, ids=[bug.report for bug in BUGS])


def checked(bug, dtype, mistake=None):
    inputs = inputs_of_bug(bug, torch.Generator().manual_seed(7), dtype)
    return check_function(function_of_bug(bug, mistake), bug.reference, inputs)


@in_every_precision
@every_bug
def test_a_bug_is_a_fault_with_a_name(bug, dtype):
    report = checked(bug, dtype, bug.mistake)
    assert not report.ok
    assert report.first.cause.code == CODES[bug.report]
    assert report.environment["dtype"] == str(dtype).removeprefix("torch.")


@in_every_precision
@every_bug
def test_its_mended_version_is_right(bug, dtype):
    report = checked(bug, dtype)
    assert report.findings == (), str(report)
    assert {row.verdict for row in report.rows} == {"OK"}


@every_bug
def test_both_in_float64_by_the_finer_rule(bug):
    assert checked(bug, torch.float64, bug.mistake).first.cause.code == CODES[bug.report]
    right = checked(bug, torch.float64)
    assert right.findings == (), str(right)
