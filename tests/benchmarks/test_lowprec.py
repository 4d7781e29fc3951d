"""A small part of the benchmark of checks in one low precision; where peers are measured the verdict is replaced."""

import random
from dataclasses import dataclass

import pytest
import torch

import handgrad
from tests.benchmarks import lowprec_cases
from tests.benchmarks.lowprec import column_of, rules_table, shown, targets
from tests.benchmarks.lowprec_cases import (
    ON_LOSSES,
    Outcome,
    bug_tasks,
    drawn,
    factor_outcome,
    factor_tasks,
    judged,
    measures,
    multiplying_in,
    poor_outcome,
    right_outcome,
    torch_outcome,
    torch_tasks,
    wrong_outcome,
)
from tests.benchmarks.lowprec_peers import PEERS
from tests.benchmarks.lowprec_torch import CALLS, roundings
from tests.corpus.kernels import KERNELS
from tests.corpus.kernels_arithmetic import BFLOAT16, PRECISIONS, TF32
from tests.corpus.kernels_planted import cotangents_of


@pytest.fixture
def always_ok(monkeypatch):
    monkeypatch.setattr(lowprec_cases, "judged", lambda function, reference, inputs: "OK")


def outcome(corpus="right", verdict="OK", **facts):
    held = {"subject": "linear", "shape": "mid", "precision": "bfloat16", "regime": "ordinary", "arithmetic": "plain"}
    told = {"what": "", "size": 0.0, "seconds": 1.0, "elements": 100}
    return Outcome(**{**held, **told, "corpus": corpus, "verdict": verdict, **facts})


def measured(outcomes):
    return {title: (share, met) for title, share, _, met in targets(outcomes)}


# --- cases


def test_a_case_can_be_drawn_again(always_ok):
    def told(each):
        return each.subject, each.shape, each.precision, each.regime, each.what, each.size, each.alarms

    for index in (0, 30):
        assert told(wrong_outcome(3, index)) == told(wrong_outcome(3, index))
    assert told(wrong_outcome(3, 0)) != told(wrong_outcome(4, 0))


def test_a_mistake_has_a_size_and_right_code_none(always_ok):
    wrong = [wrong_outcome(1, index) for index in range(13)]
    assert {each.subject for each in wrong} == {*KERNELS}
    assert all(each.size > 1e-9 and each.what for each in wrong)
    assert [(each.size, each.what) for each in (right_outcome(1, 0), right_outcome(1, 14))] == [(0.0, "")] * 2


def test_the_rules_of_today_alarm_and_miss(always_ok):
    """What the tables show of the peers is computed: on these cases each misses something, and some alarm wrongly."""
    right, wrong = ([function(1, index) for index in range(52)] for function in (right_outcome, wrong_outcome))
    for name in PEERS:
        assert any((name, "random") not in each.alarms for each in wrong), name
        assert any((name, "random") in each.alarms for each in wrong), name
    assert any(("assert_close against eager", "random") in each.alarms for each in right)
    ones, drawn_at_random = (
        sum((name, how) in each.alarms for each in wrong for name in PEERS) for how in ("ones", "random")
    )
    assert ones < drawn_at_random


def test_a_factor_is_on_what_it_says(always_ok):
    task = next(task for task in factor_tasks() if task[2] == ON_LOSSES)
    assert {factor_outcome(1, task, index).subject for index in range(3)} == {"softmax cross-entropy"}
    units = [task for task in factor_tasks() if task[0] != "factors"]
    assert {factor_outcome(1, task, 0).arithmetic for task in units} == {"plain"}
    assert {(name, 1 - value) for corpus, name, value in units if corpus == "one unit"} == {
        (precision.name, precision.unit) for precision in PRECISIONS.values() if precision is not TF32
    }


def test_sums_in_16_bits_cost_something(always_ok):
    assert max(poor_outcome(1, index).size for index in range(6)) > 1e-3


def test_tf32_is_announced_to_torch_and_taken_back():
    before = torch.get_float32_matmul_precision()
    with multiplying_in(TF32):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before


def test_a_small_upstream_gradient_reaches_the_kernel():
    case = drawn(random.Random(1), KERNELS["linear"], BFLOAT16, "small upstream")
    (output,) = case.function()(*case.inputs)
    assert output.abs().max() < 1e-3
    assert torch.equal(output, case.kernel.reference(*case.inputs) * 2.0**-17) or case.a.name != "plain"


def test_torchs_own_kernels_store_about_one_rounding_but_for_those_that_add_in_16_bits():
    def error(name):
        generator = torch.Generator().manual_seed(3)
        inputs = tuple(t.bfloat16() for t in CALLS[name].draw(generator, 1.0))
        return roundings(CALLS[name].function, inputs, cotangents_of(CALLS[name].function, inputs, generator))

    assert 0.9 < error("linear") < 1.1
    assert error("layer_norm, 4096 rows") > 20


def test_a_path_that_torch_takes_for_gaps_in_memory_is_measured_too():
    """Batch norm stores its mean in 16 bits there, and the products that it adds."""
    generator = torch.Generator().manual_seed(5)
    inputs = tuple(t.half() for t in CALLS["batch_norm"].draw(generator, 0.1))
    cotangents = cotangents_of(CALLS["batch_norm"].function, inputs, generator)
    assert roundings(CALLS["batch_norm"].function, inputs, cotangents) > 2.5


def test_every_task_is_measured_once(always_ok):
    numbers = {"right": 2, "wrong": 3, "poor": 1, "factors": 1, "torch": 5, "bugs": 1}
    tasks = measures(1, numbers)
    assert len(tasks) == 6 + len(factor_tasks()) + 5 + len(bug_tasks())
    assert len(measures(1, {**dict.fromkeys(numbers, 0), "torch": 1000})) == len(torch_tasks())
    assert (len(CALLS), len(torch_tasks()), len(bug_tasks())) == (60, 540, 48)
    assert measures(1, dict.fromkeys(numbers, 0)) == []


def test_every_call_of_torchs_has_gradients_in_every_type(always_ok):
    for task in torch_tasks():
        if task[2] == 1:
            assert torch_outcome(1, task).size < 5000, task


# --- tables


def test_a_mistake_stands_in_the_column_of_its_size():
    columns = [column_of(outcome(size=size)) for size in (0.02, 0.0199, 1e-3, 1e-4, 9e-5)]
    assert columns == [">= 2 %", "0.5 to 2 %", "0.1 to 0.5 %", "0.01 to 0.1 %", "smaller"]


def test_shares_are_of_what_was_run():
    outcomes = [outcome(), outcome(verdict="FAULT", alarms=frozenset({("rtol = atol = 1e-2", "ones")}))]
    row = next(line for line in rules_table(outcomes).splitlines() if line.startswith("rtol"))
    assert row.split()[5:8] == ["0.0", "/", "50.0"]
    assert any("FAULT + UNTOLD of all" in table for table in shown(outcomes))


def test_targets_are_missed_where_they_should_be():
    right = [outcome(precision=name) for name in PRECISIONS] * 50
    assert all(met for title, (_, met) in measured(right).items())
    alarm = measured([*right, outcome(verdict="FAULT", precision="float16")])
    assert [title for title, (_, met) in alarm.items() if not met] == ["right, float16: FAULT"]
    unsure = measured([*right, *[outcome(verdict="UNTOLD")] * 3])
    assert [title for title, (_, met) in unsure.items() if not met] == ["right: UNTOLD"]
    wrong = [outcome("wrong", "FAULT", what="x", size=0.1), outcome("wrong", "OK", what="x", size=0.01)]
    assert measured(wrong)["mistakes >= 2 % in 16 bits"] == ("1 of 1 (100.00 %)", True)
    assert not measured([*wrong, outcome("wrong", "UNTOLD", what="x", size=0.1)])["mistakes >= 2 % in 16 bits"][1]
    assert not measured([*right, outcome(seconds=6.0)])["a check of at most 1e5 elements"][1]
    assert measured([*right, outcome(seconds=6.0, elements=200000)])["a check of at most 1e5 elements"][1]


def test_torchs_kernels_may_be_flagged_where_they_lose_digits():
    def of_torch(size, verdict="FAULT", precision="bfloat16", subject="glu"):
        return outcome("torch", verdict, subject=subject, size=size, precision=precision)

    long = of_torch(50, subject="layer_norm, 4096 rows")
    fine = [of_torch(1, "OK", precision=name) for name in ("bfloat16", "float16", "float32")]
    assert all(met for _, met in measured([*fine, long, of_torch(3.1)]).values())
    missed = measured([*fine, long, of_torch(2.9), of_torch(9, precision="float32")])
    assert [title for title, (_, met) in missed.items() if not met] == [
        "torch in bfloat16, at most 3 roundings: FAULT",
        "torch in float32: FAULT",
    ]


def test_units_of_roundoff_and_bugs_are_counted():
    counted = [
        outcome("factors", "FAULT", what="0.98"),
        outcome("one unit", "OK", what="0.996"),
        outcome("two units", "UNTOLD", what="0.992"),
        outcome("bugs", "FAULT", what="x"),
        outcome("bugs", "OK"),
    ]
    rows = measured(counted)
    assert all(rows[title][1] for title in ("factor 0.98 in bfloat16", "one rounded constant: OK", "mended: OK"))
    assert all(rows[title][1] for title in ("two rounded constants: FAULT", "public bugs: FAULT"))
    worse = measured([*counted, outcome("one unit", "UNTOLD"), outcome("two units", "FAULT"), outcome("bugs", "FAULT")])
    assert not any(
        worse[title][1] for title in ("one rounded constant: OK", "two rounded constants: FAULT", "mended: OK")
    )


# --- the check itself


@dataclass
class Told:
    """A report, as far as the benchmark reads it."""

    ok: bool
    findings: tuple[str, ...]


@pytest.mark.parametrize(
    ("report", "verdict"), [(Told(True, ()), "OK"), (Told(True, ("x",)), "UNTOLD"), (Told(False, ("x",)), "FAULT")]
)
def test_the_verdict_is_that_of_the_report(monkeypatch, report, verdict):
    monkeypatch.setattr(handgrad, "check_function", lambda function, reference, inputs: report)
    assert judged(abs, abs, [torch.ones(2)]) == verdict


def test_handgrad_tells_right_kernels_from_wrong_ones():
    right = [right_outcome(1, index) for index in range(0, 52, 5)]
    assert [str(each) for each in right if each.verdict == "FAULT"] == []
    wrong = [each for each in (wrong_outcome(1, index) for index in range(0, 52, 5)) if each.size >= 2e-2]
    assert len(wrong) >= 4
    assert [str(each) for each in wrong if each.verdict != "FAULT"] == []
