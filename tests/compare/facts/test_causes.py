"""Every fact can be built, has a stable code and one plain sentence, and goes into JSON.

golden/causes.txt holds all the sentences. After a wanted change look at what

    .venv/bin/python -m tests.compare.facts.test_causes

writes into it.
"""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from handgrad.compare.facts import causes, compounds, edits, failures, functions, operands, remarks, updates, weights
from handgrad.compare.facts.causes import Cause, factor_of, fitted_of
from handgrad.compare.facts.fact import Fact, content_of
from handgrad.compare.facts.remarks import Note

GOLDEN = Path(__file__).parent / "golden" / "causes.txt"

EPSILON_OF = ("log(P)", "sqrt(V)", "log(P)", "sqrt(V + 1e-08)", "sqrt(V) + 1e-08")
RAISED = failures.Raised("ValueError", "shapes differ", "my_derivation.py", 41)

EXAMPLES: tuple[Fact, ...] = (
    causes.Unknown(),
    causes.Zero(),
    causes.WrongSign(),
    causes.WrongSign("A1"),
    causes.Scaled(2.0, ("n",)),
    causes.Scaled(6.0, ("n", "n_x")),
    causes.Scaled(-1 / 6, ("1/n",), part=""),
    causes.Scaled(1 + 1e-12),
    causes.Scaled(0.5, part="Z2"),
    causes.Scaled(3.0, of_update=True, varies=True),
    causes.PartialBatch(0.75, "n/(batch size)"),
    causes.PartialBatch(0.75, "n/(batch size)", part=""),
    causes.BiasSum("dZ1", "the mean", "the sum over axis 1", 1 / 6),
    causes.Examples((2,), ()),
    causes.Examples((2, 4), ((5, 2),), positions=True),
    causes.WrongDerivative("dA1", "(1 - Z1^2)"),
    causes.DerivativeTooMuch("(1 - A1^2)"),
    causes.DerivativeMissing("A1", "Z1"),
    causes.DerivativeTwice("A1", "Z1"),
    causes.DerivativeAt("Z1", "A1"),
    causes.LossFormula(edits.Epsilon(1e-8, "inside", "log(P)")),
    causes.InDerivative("sigmoid", edits.MissingFactor("1 - A1", inside="A1 * (1 - A1)")),
    causes.LabelsSwapped("Y"),
    operands.OperandTransposed("W2"),
    operands.Unused("b1"),
    operands.Copied("dA1"),
    operands.WrongTerm(-1.0, "dA2"),
    operands.WrongTerm(-2.0, "dA2"),
    operands.WrongTerm(0.5, "dA2"),
    operands.UpdatedAtRate("W2", "dW2", 0.1),
    operands.UpdatedOperand("W2"),
    operands.UpdatedTogether(("W2", "W3")),
    operands.Stale("A1"),
    operands.StaleTogether(("W1", "b1")),
    operands.OfStepBefore(),
    operands.Accumulated("dW1"),
    operands.Overwritten("A1"),
    operands.SharesMemory("A1"),
    operands.DecayAdded(0.25, "W1"),
    operands.DecayAdded(-0.1, "W1", names=("learning rate",)),
    operands.DecayAdded(-1.0, "W1"),
    operands.DecayAdded(0.5, "W1", l2=0.5, plain=True),
    updates.VelocityForm("v = beta v + dw", "dw without its 1 - beta", "lr, momentum=beta"),
    updates.VelocityForm("v = dw", "there is no memory", from_zero=True),
    updates.StartsFrom("W1"),
    updates.StartsFrom(fitted=0.5),
    updates.VelocityReset(),
    updates.OptimizerReset(),
    updates.DecayInVelocity(0.1, "W1"),
    *(updates.Counted(how) for how in updates.HOW_COUNTED),
    updates.StateCorrected("square_avg", "alpha"),
    updates.StateStart("square_avg", "1"),
    updates.StateStart("momentum_buffer", "0", "dw", "lr=0.05, momentum=0.9"),
    *(updates.DecayForm(how, 0.1) for how in updates.HOW_DECAY),
    updates.DecayForm("gradient", 0.03, is_due=False),
    updates.EpsilonPlace("eps", "exp_avg_sq", "sqrt(exp_avg_sq) / sqrt(1 - beta2^t)"),
    updates.OtherSetting("eps", 3e-5, 1e-8),
    updates.DecaySetting("weight_decay", 0.1 / 7, 0.1),
    updates.ClippedGradient(1.0, "value"),
    updates.ClippedGradient(5.0, "norm of all gradients"),
    updates.UpdateFormula("W1 + rate dW1", "it goes up the gradient"),
    updates.MomentumFormula("W1 - rate (beta vW1 + dW1)", twin="lr, momentum=beta, nesterov=True"),
    updates.LeftOut(),
    updates.Ascends(),
    updates.DecayInUpdate(-0.01, "W1"),
    updates.OtherUpdate("torch.optim.SGD(lr=0.2)"),
    updates.OtherUpdate("torch.optim.SGD(lr=0.1, maximize=True)", "ascends"),
    updates.OtherMomentum("torch.optim.SGD(lr=0.1, momentum=0.9)"),
    updates.OtherDecay("torch.optim.Adam(lr=0.1, weight_decay=0.02)"),
    updates.OfGradient(causes.Scaled(2.0, ("n",))),
    weights.InitializerFamily("normal", "uniform"),
    weights.InitializerFamily("normal", "uniform", samples=4096),
    weights.InitializerFamily("uniform", "normal", 0, ("kaiming_uniform_()",), ("kaiming_normal_()", "normal_()")),
    *(weights.InitializerFamily("normal, cut at 2 deviations", "normal", 9, cut=how) for how in weights.HOW_CUT),
    weights.InitializerRepeated("rows"),
    weights.InitializerMean(0.5, 0.0),
    weights.InitializerStatistic(1.0, 0.0, "mean", "entry", (10,)),
    weights.InitializerStatistic(0.0, 1.0, "share of zeros", "column", (2, 0, 1)),
    weights.InitializerStatistic(-0.06, 0.001, "mean", "the diagonal", ()),
    weights.InitializerStatistic(1.66, 1.0, "unevenness of the squared singular values", "", ()),
    weights.InitializerScale(2.0, 0.2, 0.1),
    weights.InitializerScale(2.0, 0.2, 0.1, ("sqrt(2/n)",), ("1/sqrt(2 n)", "sqrt(1/m)")),
    weights.InitializerScale(2.0, 0.2, 0.1, ("sqrt(2/n)",), (), ("kaiming_normal_()",), ("normal_()",)),
    weights.InitializerScale(1.25, 0.25, 0.2, rescaled="by hand"),
    updates.OtherOrder("X"),
    updates.OtherExamples("X"),
    updates.Transposed(),
    updates.Transposed(decay=True),
    updates.AxesPermuted((1, 0, 2)),
    updates.Reversed(0),
    updates.Reordered(1, (2, 0, 3, 1)),
    updates.FilledByColumns(),
    updates.AtKink("Z1", 3),
    updates.Masked("Z1", 1),
    updates.SlicesDiffer(0, (3,)),
    updates.SlicesDiffer(0, (0, 3), zero=True),
    updates.SlicesZero(1, (3,)),
    updates.Isolated(((1, 2),)),
    updates.Isolated(((1,), (4,))),
    updates.StateForm("m"),
    updates.StateForm("v", 0.99),
    compounds.Both(edits.MissingTerm(("+ b",), "h @ U + b"), edits.RowsOverwritten()),
    compounds.Compound(edits.MissingTerm(("+ b",), "h @ U + b")),
    compounds.Alternative(edits.MissingTerm(("+ b",), "h @ U + b"), "positive numbers alone"),
    compounds.AtOneUse(edits.MissingTerm(("+ b",), "h @ U + b"), "X^T @ g"),
    compounds.Repeated(edits.MissingTerm(("+ b",), "h @ U + b"), 3),
    edits.MissingTerm(("- xhat * mean(dO * xhat)",)),
    edits.MissingTerm(("- mean(dO)", "- xhat * mean(dO * xhat)"), "rstd * (dO - mean(dO) - xhat * mean(dO * xhat))"),
    edits.TermSign(("X @ W",)),
    edits.TermSign(("P", "Q"), "1 - P - Q"),
    edits.TermTimes("b", "twice", 2.0),
    edits.TermTimes("tanh(Z)", "1/5 times", 0.2, "tanh(Z) + Y"),
    edits.TermTimes("dO", "half of", 0.5),
    edits.ExtraTerm("W1"),
    edits.ExtraTerm("-U", "Z2"),
    edits.MissingFactor("P"),
    edits.MissingFactor("sqrt(5)", is_divisor=True, inside="Q @ K^T / sqrt(5)"),
    *(edits.FactorForm("P", how) for how in edits.HOW_FACTORS),
    edits.FactorForm("P", "twice", "P * dP"),
    edits.FactorInside("r", "h"),
    edits.OtherFunction("relu", "tanh", "Z"),
    edits.OtherFunction("", "tanh", "Z"),
    edits.OtherFunction("the derivative of gelu", "that of silu", "Z"),
    edits.Setting("align_corners", True, "upsample_linear1d"),
    edits.Clipped(1.0),
    edits.Clipped(0.25, by_length=True),
    edits.OtherNumber("0.5", "2"),
    edits.OtherNumber("1e-08", "1e-05", "Z^2 + 1e-05"),
    edits.NumbersExchanged("0.1", "0.9"),
    *(edits.Epsilon(1e-8, how, of) for how, of in zip(edits.HOW_EPSILON, EPSILON_OF, strict=True)),
    edits.OtherReduction("the mean", "the sum over axis 0", "dZ"),
    edits.OtherReduction("1/(6 - 1) of the sum", "the mean over axis 1", "U^2", "mean(U^2; axis 1) + 1e-05"),
    edits.NotReduced("the sum over axis 1", "dP * P"),
    edits.NotReduced("the sum over axis 1", "dP * P", "dP - sum(dP * P; axis 1)"),
    edits.RowsOverwritten(),
    edits.PartOfSum("dZ", 0, 4),
    edits.PartOfSum("dZ", 0, 0, alone=True, inside="sum(dZ; axis 0)"),
    edits.OneForAll("X", 0),
    edits.OtherMask("", "[Z > 0]"),
    edits.OtherMask("[A > 0]", "[Z > 0]", "where([Z > 0], dA, 0)"),
    edits.OtherOperand("Z1", "A1"),
    edits.OtherOperand("tanh'(Z1)", "A1", "dA1 * A1"),
    edits.OperandsExchanged("Q", "K"),
    edits.OperandsExchanged("Q", "K", backward=True),
    *(edits.FactorOfTerms("b", "Y", belongs, divides, "Z") for belongs in (True, False) for divides in (True, False)),
    edits.OperandOrder("W @ X", "X @ W"),
    edits.OperandOrder("X * W, entry by entry,", "X @ W"),
    *(edits.OperandPlaces("X", how, (0, 1) if how == "exchanged" else (0,)) for how in edits.HOW_PLACES),
    edits.OperandPlaces("", "reversed", (0, 1)),
    edits.OperandPlaces("X", "reversed", (0,), "X @ W"),
    edits.PartsReordered("Z", (1, 0, 2)),
    *(edits.OtherKernel("W", how) for how in edits.HOW_KERNEL),
    edits.KernelSetting("padding", 0, "1"),
    edits.KernelSetting("padding", "the edge's values", "zeros"),
    failures.NotComputed(),
    failures.NotComputed("dw1", "float32"),
    failures.NotReal("a list"),
    failures.NotReal("a tensor on the device meta", "it as .detach().cpu().numpy()"),
    failures.UnknownName("dW1", ("dW1", "db1")),
    failures.WrongShape((4,), (4, 1)),
    failures.WrongShape((3, 4), (4, 3), "float32", "agree"),
    RAISED,
    failures.Raised("OverflowError", "too large", dtype="float32"),
    failures.ReturnedInstead("derivation", "returns", "a list", "return a dict"),
    failures.Mutates("derivation", "parameter", "W1"),
    failures.TwoAnswers("derivation", ("dW1", "db1"), "draw nothing at random in it"),
    failures.IgnoresArguments(("dW", "J"), ("W",)),
    failures.IgnoresArguments(("dW",), ("W", "X")),
    failures.RaisesAgain(RAISED),
    failures.Aliased(),
    failures.TooFewYields(1, 3),
    failures.TooManyYields(3),
    failures.NoBatch(4),
    failures.NotFinite(float("nan"), 0.5),
    failures.Overflow(),
    failures.Overflow(moved=True),
    failures.LosesDigits(),
    failures.FewerDigits("bfloat16"),
    failures.OverflowsInside(),
    failures.Unstable(),
    failures.SpecialPoint(),
    failures.RoundingGrows(),
    failures.NeverMoves("hand back the updated ones"),
    failures.NothingMoves("take a rate that is not 0"),
    failures.WeightsNotFinite(),
    failures.WeightsNotFinite(too_large=True),
    failures.DrawsNotFinite(8, (3, 4)),
    failures.SameWeights(),
    failures.FewDistinct(2, 12, 12),
    failures.WeightsDiffer(),
    failures.ZeroSpread(0.0, 0.5),
    failures.ZeroSpread(0.5, 0.0),
    failures.Raised("AssertionError", "", "kernel.py", 7),
    functions.NoGradient("w"),
    functions.NoGradient("w", connected=False),
    functions.Detached("w"),
    functions.OutputCount(("a Tensor of torch.float32", "a Tensor of torch.int64"), 1, 2),
    *(functions.WrongFor(situation) for situation in functions.SITUATIONS),
    functions.RaisesWhere("strided-upstream", failures.Raised("AssertionError", "", "kernel.py", 7)),
    functions.SomeNeeded(("x",)),
    functions.SomeNeeded(("x", "w")),
    functions.SharedByCalls(),
    functions.OtherAnswer(),
    functions.Unwritten(),
    functions.Random(),
    functions.Overwritten(),
    functions.LowerPrecision("bfloat16", "float32"),
    functions.OtherPrecision("y", "float64", "float32"),
    functions.NotEqual(3, 12),
    functions.NotCompared(("y2",)),
    functions.NotCompared(("y2", "y3")),
    functions.NotLinear("dy", 4.0),
    *(functions.UpstreamMisread("dy", how) for how in functions.MISREAD),
    functions.ThroughUpstream(("dy1",), ("dy2", "dy3")),
    functions.StepOff("mul", -0.1, 7),
    functions.StepOff("mul", -1.0, 7, is_backward=True),
    functions.StepOff("exp", 0.5, 0, end=2),
    functions.StepOff("sub", -1.0, 7, is_backward=True, of="silu"),
    functions.StepOff("sub", 0.25, 7, end=0, of="softmax"),
    functions.RightInFloat32("bfloat16"),
    *(functions.NotTold(why, 0.02) for why in functions.WHY),
    functions.NotTold("blind", 4.6e21, "float64"),
    functions.SecondCut("x"),
    functions.SecondOff("x"),
    functions.SecondAbsent(),
    functions.SecondAbsent(RAISED),
    functions.NoSecondDerivative(),
    functions.NoSecondDerivative(("x", "w")),
    functions.WouldShow((("y", 0.013), ("dx", 0.02))),
    functions.OpaqueSteps(("lgamma",)),
    functions.OpaqueSteps(("lgamma", "digamma")),
    functions.CoarserInside("TF32"),
    functions.NamedIn("float64"),
    remarks.Float64Inside(),
    remarks.Float64Only(RAISED),
    remarks.RefusesFloat64(RAISED),
    remarks.Float32Only(),
    remarks.TorchInFloat32(),
    remarks.OutOfRange(),
    remarks.MeanLeftOut("n"),
    remarks.Undone(("dS",), ("dA",), 0.5),
    remarks.Undone(("dZ2", "dZ1"), ("dW2", "dW1"), 4.0, varies=True),
    remarks.Undone(("dA", "dS"), ("dw", "db"), -6.0),
    remarks.Undone(("A",), ("J", "dA", "dw"), form="transposed"),
    remarks.Undone(("dZ",), ("dW",), 2.0, "packed"),
    remarks.VelocityTimes(10.0),
    remarks.VelocityTimes(10.0, "1/(1 - beta)"),
    remarks.NotJudged("Z3"),
    remarks.NotTapped(("y", "xhat")),
    *(remarks.NotTapped(("A0",), "X", by) for by in remarks.ALIKE_BY),
    remarks.NoBuffer(("vW1", "vb1"), "Adam"),
    remarks.OtherShape("db1", (4,), (4, 1)),
    remarks.OwnLossKinks("W1", ((0, 1), (2, 0))),
    remarks.OwnLossDiffers("dW1", (0, 1), 0.5, 0.25, 1e-9, 150),
    remarks.BlindSpot("square", "a transposed W1", "W1 is square", "take another width", ("W1",)),
    remarks.BlindSpot("batch", "a short batch", ""),
    remarks.Persists("moves"),
    remarks.Persists("ratio"),
    remarks.Persists("stands"),
    remarks.Persists("unmoved"),
    remarks.Persists("own-loss"),
    remarks.NoDerivation("autograd"),
    remarks.NoDerivation("differences"),
    remarks.NoDerivation("optimizer"),
    remarks.TorchInexact("dZ", ("softplus is the identity beyond its threshold of 20 in torch",)),
    remarks.NothingButRounding("db"),
    remarks.AsFloat32(),
    remarks.Operands((("Z1", 88.0), ("b1", -0.5))),
    remarks.Reads(("Z1", "W1")),
    remarks.Unrecorded(("dA1",), "dZ1"),
    remarks.Unrecorded(("J",), "db1", ("dZ1", "dA1")),
    remarks.Unrecorded(("J",), "db1", ("dH", "dZ"), (remarks.Tap("H", "net.py", 3), remarks.Tap("Z", "layer.py", 9))),
    remarks.FromZero(),
    remarks.ThenRaised(RAISED),
)

CODES = {
    "sign", "scale", "transpose", "permuted", "shape", "bias-sum", "activation-derivative", "kink", "mask",
    "wrong-operand", "updated-weights", "loss-formula", "dropped-example", "partial-batch", "stale", "accumulated",
    "reset", "momentum-form", "update-form", "regularisation", "initializer-scale", "initializer-family", "order",
    "isolated-elements", "precision-loss", "not-finite", "zero", "mutated-input", "not-repeatable", "aliased",
    "missing", "unknown-name", "exception", "unknown", "untold", "ignored-arguments",
    "missing-term", "missing-factor", "function", "constant", "reduction", "kernel",
    "layout", "subset", "linearity", "upstream", "step", "double-backward", "dtype", "random",
}  # fmt: skip
"""The codes of causes, part of the public API: a cause that has another breaks what users have written."""

MODULES = (causes, compounds, edits, operands, updates, weights, failures, functions, remarks)
TYPES = {
    kind
    for module in MODULES
    for kind in vars(module).values()
    if (isinstance(kind, type) and issubclass(kind, Fact) and hasattr(kind, "code")) or kind is remarks.BlindSpot
}
every_example = pytest.mark.parametrize("fact", EXAMPLES, ids=lambda fact: type(fact).__name__)


def sentences() -> str:
    return "".join(f"{fact.code} {type(fact).__name__}: {fact}".rstrip() + "\n" for fact in EXAMPLES)


def test_every_type_has_an_example():
    assert TYPES == {*map(type, EXAMPLES)}


@every_example
def test_a_fact_is_said_in_one_line(fact):
    text = str(fact)
    assert text == text.strip()
    assert "\n" not in text
    assert "  " not in text
    assert "{" not in text
    assert text


@every_example
def test_a_note_is_a_sentence_and_a_cause_is_a_part_of_one(fact):
    *_, last = str(fact)
    assert (last == ".") == isinstance(fact, Note)


@every_example
def test_the_code_of_a_cause_is_one_of_the_public_ones(fact):
    assert (fact.code in CODES) == isinstance(fact, Cause)


def test_every_public_code_has_a_cause():
    assert {fact.code for fact in EXAMPLES if isinstance(fact, Cause)} == CODES


@every_example
def test_a_fact_goes_into_json(fact):
    content = content_of(fact)
    assert (content["code"], content["type"], content["text"]) == (fact.code, type(fact).__name__, str(fact))
    assert {field.name for field in fields(fact)} <= content.keys()
    assert json.dumps(json.loads(json.dumps(content))) == json.dumps(content)


@every_example
def test_facts_are_equal_by_their_fields_and_frozen(fact):
    same = type(fact)(**{field.name: getattr(fact, field.name) for field in fields(fact)})
    assert same == fact
    assert hash(same) == hash(fact)
    with pytest.raises(AttributeError):
        fact.anything = 1


def test_only_some_causes_have_a_factor_or_a_fitted_number():
    assert factor_of(causes.Scaled(2.0)) == 2.0
    assert factor_of(causes.WrongSign()) == -1.0
    assert factor_of(causes.BiasSum("dZ1", "the mean", "the sum over axis 1", 1 / 6)) == 1 / 6
    assert factor_of(updates.OfGradient(causes.Scaled(2.0))) == 2.0
    assert factor_of(operands.Unused("b1")) is None
    assert fitted_of(operands.DecayAdded(0.25, "W1")) == 0.25
    assert fitted_of(operands.DecayAdded(0.5, "W1", l2=0.5, plain=True)) is None
    assert fitted_of(operands.UpdatedAtRate("W1", "dW1", 0.1)) == -0.1
    assert fitted_of(updates.StartsFrom(fitted=0.5)) == 0.5
    assert fitted_of(causes.Scaled(2.0)) is None


def test_the_sentences_are_the_golden_ones():
    assert sentences() == GOLDEN.read_text(encoding="utf-8")


if __name__ == "__main__":
    GOLDEN.write_text(sentences(), encoding="utf-8")
