"""The verdicts on one step, by records made by hand: what is a culprit, with which facts, and what only follows."""

import numpy as np
import pytest

from handgrad.compare.facts.causes import Unknown
from handgrad.compare.facts.failures import FewerDigits, NotComputed, NotFinite, Overflow, Unstable
from handgrad.compare.facts.remarks import AsFloat32, Operands, OutOfRange, Persists, Reads
from handgrad.compare.names import Key, phase_of
from handgrad.compare.verdict import bounds
from handgrad.compare.verdict.steps import judge_step
from tests.compare.verdict.witnesses import Told

RNG = np.random.default_rng(2)
NAMES = ("Z", "A", "J", "dA", "dZ", "dW")
READS = {"Z": frozenset({"W"}), "A": frozenset({"Z"}), "J": frozenset({"A"})}
RIGHT = {
    "Z": RNG.standard_normal((2, 3)),
    "A": RNG.standard_normal((2, 3)),
    "J": np.array(0.7),
    "dA": RNG.standard_normal((2, 3)),
    "dZ": RNG.standard_normal((2, 3)),
    "dW": RNG.standard_normal((2, 4)),
}


def judged(records, local=RIGHT, torch=RIGHT, dtypes=("float64",), reads=READS, told=None, **allowances):
    """The judgements on NAMES by name, where torch makes `local` of the records and `torch` on its own."""
    keys = [(Key(1, phase_of(name), name), name.lower()) for name in NAMES]
    runs = {}
    for dtype in dtypes:
        with np.errstate(over="ignore"):
            cast = {n: a.astype(dtype) if a.dtype == np.float64 else a for n, a in records.items()}
        runs[dtype] = Told(cast, local, dtype, allowances=allowances, **(told or {}))
    return dict(zip(NAMES, judge_step(keys, runs, (runs[dtypes[0]].records, torch), reads), strict=True))


NOWHERE_ELSE = {"elsewhere": {}}  # the derivation cannot be run again


def culprits(judgements):
    return [name for name, judgement in judgements.items() if judgement.finding is not None]


def test_a_right_step_has_rows_with_labels_and_no_finding():
    judgements = judged(RIGHT)
    assert {j.row.verdict for j in judgements.values()} == {"OK"}
    assert judgements["dZ"].row[:5] == (1, "backward", "dZ", "dz", (2, 3))
    assert not culprits(judgements)
    assert not any(j.differs or j.note or j.local or j.excerpt for j in judgements.values())


def test_a_wrong_tensor_has_a_finding_of_unknown_cause_with_what_it_was_computed_from():
    wrong = RIGHT | {"dZ": RIGHT["dZ"] * 2}
    judgements = judged(wrong, dtypes=("float64", "float32"))
    finding = judgements["dZ"].finding
    assert culprits(judgements) == ["dZ"]
    assert (finding.where, finding.verdict, finding.cause) == (Key(1, "backward", "dZ"), "FAULT", Unknown())
    assert finding.equation == "dz"
    worst = np.unravel_index(np.abs(RIGHT["dZ"]).argmax(), (2, 3))
    assert finding.worst.index == worst
    assert (finding.worst.by_hand, finding.worst.torch) == (2 * RIGHT["dZ"][worst], RIGHT["dZ"][worst])
    assert finding.worst.dtype == ""
    assert finding.worst.inputs == ("dA", "Z")
    assert finding.circumstances == (Persists("moves"),)
    assert finding.rho == judgements["dZ"].row.rho > 1
    np.testing.assert_array_equal(judgements["dZ"].local.recorded, wrong["dZ"])
    np.testing.assert_array_equal(judgements["dZ"].local.reference, RIGHT["dZ"])
    assert judgements["dZ"].excerpt.name == "dZ"


@pytest.mark.parametrize(("name", "inputs"), [
    ("A", ("Z",)), ("dA", ("A",)), ("dW", ("dZ", "W")), ("vW", ("dW",)), ("W_next", ("vW", "dW")),
])  # fmt: skip
def test_inputs_are_told_by_the_equation_or_by_what_reads_it_where_they_were_recorded(name, inputs):
    keys = [(Key(1, phase_of(name), name), "")]
    records, reference = {name: np.ones(2), **dict.fromkeys(inputs, np.ones(2))}, {name: np.zeros(2)}
    (judgement,) = judge_step(keys, {"float64": Told(records, reference)}, (records, reference), READS)
    assert judgement.finding.worst.inputs == inputs
    alone = {name: np.ones(2)}
    (judgement,) = judge_step(keys, {"float64": Told(alone, reference)}, (alone, reference), READS)
    assert judgement.finding.worst.inputs == (("W",) if name == "dW" else ())  # a parameter is always there


def test_a_fault_of_float32_alone_says_so_and_shows_that_side():
    right = {d: {n: a.astype(d) for n, a in RIGHT.items()} for d in ("float64", "float32")}
    right["float32"]["dZ"] = (RIGHT["dZ"] * 2).astype("f4")
    runs = {d: Told(records, RIGHT, d) for d, records in right.items()}
    (judgement,) = judge_step([(Key(1, "backward", "dZ"), "")], runs, (right["float64"], RIGHT), READS)
    worst = judgement.finding.worst
    assert (judgement.finding.verdict, worst.dtype) == ("FAULT", "float32")
    assert worst.by_hand == pytest.approx(2 * worst.torch, rel=1e-6)


@pytest.mark.parametrize(("wrong", "shown"), [("float64", "float64"), ("float32", "")])
def test_where_float32_is_printed_a_fault_says_what_it_is_shown_in_if_that_is_float64(wrong, shown):
    right = {d: RIGHT | {"dZ": RIGHT["dZ"] * (1 + (d == wrong))} for d in ("float32", "float64")}
    runs = {d: Told({n: a.astype(d) for n, a in records.items()}, RIGHT, d) for d, records in right.items()}
    (judgement,) = judge_step([(Key(1, "backward", "dZ"), "")], runs, (runs["float32"].records, RIGHT), READS)
    assert judgement.finding.worst.dtype == shown


def test_a_fault_that_float32s_rounding_would_explain_says_so():
    W, A, b = (RNG.standard_normal(shape) for shape in ((2, 4), (4, 3), (2, 1)))
    Z = W @ A + b
    judgements = judged(RIGHT | {"Z": Z * (1 + 1e-9)}, RIGHT | {"Z": Z}, Z=bounds.linear(W, A, b))
    assert judgements["Z"].row.rho_basis == "bound"
    assert judgements["Z"].finding.circumstances == (Persists("moves"), AsFloat32())


# --- what only follows


def test_the_gradient_of_what_a_wrong_value_reads_is_inherited():
    """torch's tanh backward uses its own A, which the derivation does not have."""
    judgements = judged(RIGHT | {"A": RIGHT["A"] * 2, "dZ": RIGHT["dZ"] * 3})
    assert culprits(judgements) == ["A"]
    assert judgements["dZ"].row.verdict == "FAULT"


def test_a_wrong_J_enters_no_gradient():
    assert culprits(judged(RIGHT | {"J": np.array(1.4), "dA": RIGHT["dA"] * 2})) == ["J", "dA"]


def test_a_gradient_that_a_wrong_gradient_enters_is_judged_by_itself():
    assert culprits(judged(RIGHT | {"dA": RIGHT["dA"] * 2, "dZ": RIGHT["dZ"] * 3})) == ["dA", "dZ"]


def test_a_value_that_is_torchs_own_was_not_computed_from_the_wrong_one_before_it():
    local = RIGHT | {"dW": RIGHT["dW"] * 2}  # of the wrong dZ, which dW did not go on with
    wrong = RIGHT | {"dZ": RIGHT["dZ"] * 2}
    assert culprits(judged(wrong, local)) == ["dZ"]
    assert culprits(judged(RIGHT, local)) == ["dW"]  # nothing before it is wrong


def test_what_a_cast_value_makes_of_its_derivative_is_no_culprit():
    A = np.array([[0.999999, 0.5], [0.3, -0.9]])
    cast = A.astype(np.float32).astype(float)
    dA = np.ones((2, 2))
    records = RIGHT | {"A": cast, "dA": dA, "dZ": dA * (1 - cast**2)}
    local = RIGHT | {"A": A, "dA": dA, "dZ": dA * (1 - A**2)}
    judgements = judged(records, local, local, told=NOWHERE_ELSE)
    assert culprits(judgements) == ["A"]
    assert (judgements["A"].row.verdict, judgements["dZ"].row.verdict) == ("WEAK", "WEAK")
    further = judged(records | {"dZ": records["dZ"] + 1e-4}, local, local, told=NOWHERE_ELSE)
    assert culprits(further) == ["A", "dZ"]


def test_what_a_value_that_is_next_to_nothing_off_makes_of_its_derivative_is_no_culprit():
    A, dA, off = np.array([[0.999999, 0.5], [0.3, -0.9]]), np.ones((2, 2)), np.array([[5e-14, 0], [0, 0]])
    records = RIGHT | {"A": A + off, "dA": dA, "dZ": dA * (1 - (A + off) ** 2)}
    local = RIGHT | {"A": A, "dA": dA, "dZ": dA * (1 - A**2)}
    judgements = judged(records, local, local, told={"nothing": ("A",)})
    assert (judgements["A"].row.verdict, judgements["dZ"].row.verdict) == ("OK", "FAULT")
    assert culprits(judgements) == []


# --- what is not finite


def test_after_something_that_was_not_finite_what_is_so_on_both_sides_follows():
    nan = np.full((2, 3), np.nan)
    judgements = judged(RIGHT | {"Z": nan, "A": nan}, RIGHT | {"A": nan})
    assert culprits(judgements) == ["Z"]
    finding = judgements["Z"].finding
    assert (finding.verdict, finding.worst.index) == ("NONFINITE", (0, 0))
    assert isinstance(finding.cause, NotFinite)
    assert judgements["A"].row.verdict == "NONFINITE"


def test_the_first_place_where_both_overflow_is_a_finding_and_says_what_it_was_handed():
    inf = np.full((2, 3), np.inf)
    finding = judged(RIGHT | {"A": inf}, RIGHT | {"A": inf})["A"].finding
    assert finding.cause == Overflow(), "no rate has moved anything"
    assert finding.circumstances == (Operands((("Z", float(RIGHT["Z"][0, 0])),)),)
    finding = judged(RIGHT | {"J": np.array(np.inf)}, RIGHT | {"J": np.array(np.inf)})["J"].finding
    assert finding.circumstances == (Reads(("A",)),)


def test_a_number_where_torch_has_none_is_not_finite_and_no_overflow():
    nan = np.full((2, 3), np.nan)
    finding = judged(RIGHT, RIGHT | {"dA": nan})["dA"].finding
    assert (finding.verdict, finding.cause.by_hand) == ("NONFINITE", RIGHT["dA"][0, 0])
    assert isinstance(finding.cause, NotFinite)


def test_operands_that_are_no_numbers_are_told_by_name():
    nan = np.full((2, 3), np.nan)
    texts = np.full((2, 3), "a")
    finding = judged(RIGHT | {"Z": texts, "A": nan}, RIGHT | {"A": nan})["A"].finding
    assert finding.circumstances == (Reads(("Z",)),)
    assert judged(RIGHT | {"A": nan}, RIGHT | {"A": nan}, reads={})["A"].finding.circumstances == ()


def test_what_float32_cannot_hold_in_torch_either_is_judged_in_float64_alone():
    large = RIGHT | {"A": RIGHT["A"] * 1e40}
    judgements = judged(large, large, large, dtypes=("float64", "float32"), told={"finite": False})
    assert not culprits(judgements)
    assert [name for name in NAMES if judgements[name].note == OutOfRange()] == ["A"]
    assert culprits(judged(large, large, large, dtypes=("float64", "float32"))) == ["A"]  # torch holds it


def test_a_float32_that_is_not_finite_where_it_could_hold_the_value_is_a_finding():
    for allowance in ({}, {"A": bounds.elementwise(8.0)}):
        runs = {d: Told({"A": RIGHT["A"].astype(d)}, RIGHT, d, allowances=allowance) for d in ("float64", "float32")}
        runs["float32"].records["A"][0, 1] = np.nan
        keys = [(Key(1, "forward", "A"), "")]
        (judgement,) = judge_step(keys, runs, (runs["float64"].records, RIGHT), READS)
        assert (judgement.row.verdict, judgement.finding.worst.dtype, judgement.note) == ("NONFINITE", "float32", None)


def test_in_float32_alone_overflow_is_a_finding():
    large = RIGHT | {"A": RIGHT["A"] * 1e40}
    assert culprits(judged(large, large, large, dtypes=("float32",))) == ["A"]


# --- what loses digits


def test_a_weak_tensor_is_shown_where_it_loses_most_digits():
    signs = np.array([[1, -1, 1], [-1, -1, 1]])
    lossy = {"float64": RIGHT["A"] + 1e-9 * signs, "float32": (RIGHT["A"] + 1e-6 * signs).astype("f4")}
    elsewhere = {0: [({"A": RIGHT["A"] + size * signs}, {"A": RIGHT["A"]}) for size in (1e-9, -1e-9, 2e-9)]}
    more = {"allowances": {"A": bounds.elementwise(8.0)}, "elsewhere": elsewhere}
    runs = {d: Told(RIGHT | {"A": lossy[d]}, RIGHT, d, **more) for d in lossy}
    keys = [(Key(1, "forward", "A"), "")]
    (judgement,) = judge_step(keys, runs, (runs["float64"].records, RIGHT), READS)
    finding = judgement.finding
    assert (finding.verdict, finding.cause, judgement.local) == ("WEAK", FewerDigits("float32"), None)
    assert finding.worst.dtype == ""
    assert finding.circumstances == (Operands((("Z", float(RIGHT["Z"][finding.worst.index])),)),)


def test_where_rounding_changes_the_reference_as_much_nothing_is_told():
    elsewhere = {0: [({"dZ": RNG.standard_normal((2, 3))}, {"dZ": RNG.standard_normal((2, 3))}) for _ in range(3)]}
    keys, records = [(Key(1, "backward", "dZ"), "")], {"dZ": RIGHT["dZ"] / 2}
    runs = {"float64": Told(records, RIGHT, elsewhere=elsewhere, roundings=2.0**100)}
    (judgement,) = judge_step(keys, runs, (records, RIGHT), READS)
    assert (judgement.row.verdict, judgement.finding.cause) == ("UNTOLD", Unstable())


def test_in_one_precision_it_goes_without_saying_which():
    finding = judged(RIGHT | {"A": RIGHT["A"].astype("f4").astype(float)}, told=NOWHERE_ELSE)["A"].finding
    assert (finding.verdict, finding.worst.dtype) == ("WEAK", "")


# --- names and shapes come first


def test_a_missing_record_is_a_finding_and_what_comes_after_it_is_judged():
    records = {name: array for name, array in RIGHT.items() if name != "dA"}
    judgements = judged(records | {"dZ": RIGHT["dZ"] * 2})
    assert culprits(judgements) == ["dA", "dZ"]
    assert (judgements["dA"].row.verdict, judgements["dA"].finding.cause) == ("MISSING", NotComputed())
    assert judgements["dA"].differs
