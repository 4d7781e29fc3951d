import pytest

from handgrad.compare.facts.causes import Scaled, Unknown
from handgrad.compare.facts.failures import LosesDigits, Overflow, Raised, RaisesAgain, Unstable
from handgrad.compare.facts.remarks import BlindSpot
from handgrad.compare.names import Key
from handgrad.compare.report.summary import (
    closeness,
    closest,
    closing,
    deciding,
    differing,
    fails,
    headline,
    outcome,
    shared_environment,
    shown,
    table,
    value,
)
from handgrad.compare.results import Details, Finding, Results, Row

ROW = Row(1, "backward", "dW1", "B2", (2, 2), 0.5, rho=0.25, rho_basis="ladder")
OTHER = ROW._replace(name="db1", equation="B3", step=2, rho=0.5)
KEY = Key(1, "backward", "dW1")


def finding(verdict="FAULT", cause=None, **facts):
    return Finding(KEY, verdict, cause or Scaled(2.0), **facts)


@pytest.mark.parametrize(
    ("results", "verdict", "sentence"),
    [
        (Results((ROW, OTHER), environment={"precisions": ["float64"]}), "OK",
         "by hand and torch agree on all 2 tensors of 2 steps, in float64; the largest difference is 0.5 of what "
         "rounding explains (db1 at step 2)."),
        (Results((ROW,)), "OK",
         "by hand and torch agree on the one tensor of 1 step; the largest difference is 0.25 of what rounding "
         "explains (dW1 at step 1)."),
        (Results(()), "OK", "nothing was compared."),
        (Results((ROW,), (finding("WEAK", LosesDigits()),)), "OK, but WEAK",
         "1 tensor among 1 of 1 step, first dW1 at step 1, is off by more than rounding explains; nothing is shown "
         "wrong."),
        (Results((ROW,), (finding("WEAK", LosesDigits()), finding("UNTOLD", Unstable()))), "OK, but UNTOLD",
         "nothing is told of 1 tensor among 1 of 1 step, first dW1 at step 1: rounding moves torch's own result by as "
         "much as the difference."),
        (Results((ROW, OTHER), (finding(equation="B2"), finding("WEAK", LosesDigits()))), "FAULT",
         "dW1 (B2) is the first tensor that differs, at step 1; 1 tensor wrong by itself and 1 WEAK among 2 compared "
         "tensors of 2 steps."),
        (Results((), (finding("MISSING"),)), "MISSING",
         "dW1 is the first tensor that is missing, at step 1; 1 tensor missing; none was compared."),
        (Results((ROW, OTHER), (finding("MISSING"), finding(), finding("WEAK", LosesDigits()))), "MISSING",
         "dW1 is the first tensor that is missing, at step 1; 1 tensor wrong by itself and 1 tensor missing and 1 WEAK "
         "among 2 compared tensors of 2 steps."),
        (Results((ROW,), (finding("NONFINITE", Overflow()),)), "NONFINITE",
         "dW1 is the first tensor that overflows on both sides, at step 1 among 1 compared tensor of 1 step."),
        (Results((ROW,), (finding(cause=Raised("ValueError", "mine")),)), "FAULT",
         "an exception ends step 1 in its backward phase among 1 compared tensor of 1 step."),
        (Results((ROW,), (finding(cause=RaisesAgain(Raised("ValueError", "mine"))),)), "FAULT",
         "dW1 is the first tensor that differs, at step 1; 1 tensor wrong by itself among 1 compared tensor "
         "of 1 step."),
        (Results((ROW,), (finding(cause=Unknown()),), details=Details(reads={"J": ("W1",)})), "FAULT",
         "dW1 is the first tensor that differs, at step 1; 1 tensor differs among 1 compared tensor of 1 step, and "
         "which is wrong by itself cannot be told: the reference taps nothing."),
    ],
)  # fmt: skip
def test_the_outcome_is_told_by_the_type_of_the_cause(results, verdict, sentence):
    assert headline(results) == (verdict, sentence)
    assert closing(results)[0] == f"{verdict}: {sentence}"


def test_what_an_update_does_is_its_own_although_nothing_is_tapped():
    update = Finding(Key(1, "update", "W1_next"), "FAULT", Unknown())
    results = Results((ROW,), (update,), details=Details(reads={"J": ("W1",)}))
    assert "1 tensor wrong by itself" in closing(results)[0]


def test_the_second_line_lists_what_could_not_be_seen():
    spots = (BlindSpot("a", "decay", "l2 is 0", "set l2"), BlindSpot("b", "a kink", "no entry is 0"))
    assert closing(Results((ROW,), blind_spots=spots))[1] == (
        "Not shown by this run: decay (l2 is 0; set l2); a kink (no entry is 0)."
    )
    assert closing(Results((ROW,)))[1].endswith("nothing on the list of known blind spots.")


def test_what_fails_decides_although_something_weak_comes_first():
    weak, wrong = finding("WEAK", LosesDigits()), finding()
    assert deciding(Results((), (weak, wrong))) is wrong
    assert deciding(Results((), (weak,))) is weak
    untold = finding("UNTOLD", Unstable())
    assert deciding(Results((), (weak, untold))) is untold
    assert deciding(Results(())) is None


def test_the_closest_row_is_the_one_that_was_not_flagged():
    flagged = ROW._replace(rho=1e9, verdict="FAULT")
    assert closest(Results((ROW, OTHER, flagged))) is OTHER
    assert closest(Results((flagged,))) is None
    assert closeness(ROW) == "0.25 of what rounding explains"
    assert closeness(ROW._replace(rho_basis="twins")) == "0.25 of what rounding can drift to"
    assert closeness(ROW._replace(rho=None)) == "0.5"


def test_a_tensor_is_shown_once_where_it_fails_first_or_comes_closest_to_that():
    steps = [ROW._replace(step=step, rho=rho) for step, rho in ((1, 0.1), (2, 0.9), (3, 0.2))]
    assert shown(steps) == [steps[1]]
    failing = [ROW._replace(step=step, rho=rho, verdict="FAULT") for step, rho in ((4, 8.0), (5, 9.0))]
    assert shown([*steps, *failing]) == [failing[0]]


def test_the_table_leaves_equations_out_where_none_is_known():
    columns, rows = table(Results((ROW,)))
    assert (columns[0], rows[0][0]) == ("eq.", "B2")
    columns, rows = table(Results((ROW._replace(equation="", shape=(), index=(1, 0), by_hand=0.1, torch=None),)))
    assert columns[0] == "tensor"
    assert rows == [("dW1", "scalar", "1", "0.25", "0.5", "1,0", "0.1", "", "OK")]


def test_a_strict_check_fails_on_anything():
    weak = Results((ROW,), (finding("WEAK", LosesDigits()),))
    strict = Results((ROW,), weak.findings, environment={"strict": True})
    assert not fails(weak, strict=False)
    assert fails(weak, strict=True)
    assert differing({"a": weak, "b": strict, "c": Results((ROW,), (finding(),))}) == ["b", "c"]


def test_the_outcome_of_several():
    right, wrong = Results((ROW,)), Results((ROW,), (finding(),))
    assert outcome({"a": right}, {}) == "1 check agrees"
    assert outcome({"a": right, "b": right}, {"c": ""}) == "2 checks agree, 1 check could not run"
    assert outcome({"a": right, "b": wrong}, {}) == "1 of 2 checks differs"
    assert outcome({"a": wrong, "b": wrong}, {}) == "2 of 2 checks differ"
    assert outcome({}, {"c": "", "d": ""}) == "2 checks could not run"
    assert outcome({}, {}) == "no check ran"


def test_the_environment_that_all_share():
    a, b = (Results((ROW,), environment={"torch": "2", "seed": seed}) for seed in (0, 1))
    assert shared_environment([a, b]) == {"torch": "2"}
    assert value({"a": (1, None), "b": "x"}) == "a 1, none, b x"
