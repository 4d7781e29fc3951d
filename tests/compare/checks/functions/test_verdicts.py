"""Every output and gradient has its row and verdict; what is wrong has a name where one explains all of it."""

import pytest
import torch

from handgrad import check_function
from handgrad.compare.facts.causes import Scaled, Unknown, WrongSign, Zero
from handgrad.compare.facts.edits import OtherNumber
from handgrad.compare.facts.failures import NotFinite
from handgrad.compare.facts.functions import CoarserInside, NotTold, RightInFloat32, StepOff, ThroughUpstream, WouldShow
from tests.compare.checks.functions.kernels import EPS, inputs, made, norm
from tests.corpus.kernels import KERNELS, mistakes_of
from tests.corpus.kernels_arithmetic import FLOAT32, TF32, truncated, variants
from tests.corpus.kernels_planted import function_of, inputs_of
from tests.corpus.kernels_slips import factor


def test_both_sides_of_every_row_are_kept():
    """Those that the row shows an entry of; in float64, of first and of second derivatives."""

    def off(ctx, dy, dx, dw):
        return dx, 1.5 * dw

    given = inputs(torch.float64)
    reports = [check_function(made(off), norm, inputs(dtype)) for dtype in (torch.bfloat16, torch.float64)]
    reports.append(check_function(norm, norm, inputs(torch.float32), second=True))
    for report in reports:
        assert report.arrays.keys() == {(1, row.name) for row in report.rows}
        for row in report.rows:
            by_hand, torchs = report.tensor(row.name)
            assert (by_hand.shape, by_hand[row.index], torchs[row.index]) == (row.shape, row.by_hand, row.torch)
    for report in reports[:2]:
        by_hand, torchs = report.tensor("dw")
        assert by_hand == pytest.approx(1.5 * torchs, rel=0.02)
    assert reports[1].tensor("y")[1] == pytest.approx(norm(*given).numpy())
    assert {name for _, name in reports[2].arrays} == {"y", "dx", "dw", "ddx", "ddw", "ddy"}


def finding_of(backward, dtype=torch.bfloat16):
    report = check_function(made(backward), norm, inputs(dtype))
    (finding,) = report.findings
    return finding


def test_a_right_report_says_what_would_have_shown():
    report = check_function(made(), norm, inputs())
    (note,) = [note for note in report.notes if isinstance(note, WouldShow)]
    assert [name for name, _ in note.shares] == ["y", "dx", "dw"]
    assert all(2.0**-7 <= share < 0.03 for _, share in note.shares)
    for row in report.rows:
        assert (row.verdict, row.rho_basis) == ("OK", "noise")
        assert 0 < row.rho < 0.7
        assert row.phase == ("forward" if row.name == "y" else "backward")


DIGITS = {torch.bfloat16: 3, torch.float16: 4, torch.float32: 6}


@pytest.mark.parametrize(("factor", "dtype"), [(0.9, torch.bfloat16), (0.98, torch.float16), (1.001, torch.float32)])
def test_a_factor(factor, dtype):
    finding = finding_of(lambda ctx, dy, dx, dw: ((dx.double() * factor).to(dx.dtype), dw), dtype)
    assert isinstance(finding.cause, Scaled)
    assert finding.cause.factor == pytest.approx(factor, rel=2 * torch.finfo(dtype).eps)
    assert finding.cause.factor == round(finding.cause.factor, DIGITS[dtype]), "no digits that cannot be told"
    assert finding.rho > 1
    assert finding.worst.by_hand == pytest.approx(factor * finding.worst.torch, rel=0.02)


def test_a_factor_that_is_a_size():
    finding = finding_of(lambda ctx, dy, dx, dw: (dx, dw / 11))
    assert finding.cause.names == ("1/11",)


def test_what_is_wrong_with_some_upstream_gradients_is_seen_in_another_draw():
    held = []

    def first_alone(ctx, dy, dx, dw):
        held.append(dy.clone())
        times = (dy / held[0]).float()
        return dx, dw if times.max() - times.min() < 0.01 else 1.5 * dw

    assert finding_of(first_alone).where.name == "dw"


def test_tensors_that_nothing_explains_have_a_finding_each():
    def noisy(ctx, dy, *gradients):
        drawn = torch.Generator().manual_seed(1)
        return tuple(g * (1 + 0.5 * torch.randn(g.shape, generator=drawn)).to(g.dtype) for g in gradients)

    report = check_function(made(noisy), norm, inputs())
    assert [(f.where.name, f.cause, f.together) for f in report.findings] == [(n, Unknown(), ()) for n in ("dx", "dw")]


def test_a_sign_and_zeros():
    assert finding_of(lambda ctx, dy, dx, dw: (-dx, dw)).cause == WrongSign()
    assert finding_of(lambda ctx, dy, dx, dw: (dx, 0 * dw)).cause == Zero()


def test_nan_is_not_finite():
    def divides(ctx, dy, dx, dw):
        dw[2] = float("nan")
        return dx, dw

    finding = finding_of(divides)
    assert finding.verdict == "NONFINITE"
    assert isinstance(finding.cause, NotFinite)
    assert finding.worst.index == (2,)


def test_a_constant_and_a_step_are_named_with_their_line():
    def other_eps(x, w):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 0.01) * w

    report = check_function(other_eps, norm, inputs(torch.float32))
    assert report.first.where.name == "y"
    assert report.first.cause == OtherNumber("0.01", f"{EPS:g}")
    none = check_function(lambda x: x * x, lambda x: (x + 0.1) * x, (inputs(torch.float32)[0],))
    assert none.first.cause == OtherNumber("0", "0.1")

    def less(ctx, dy, dx, dw):
        x, w = (t.float() for t in ctx.saved_tensors)
        r = torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS)
        m = dy.float() * w
        return r * (m - 0.9 * x * r * r * (m * x).mean(-1, keepdim=True)), dw

    cause = finding_of(less, torch.float32).cause
    assert isinstance(cause, StepOff)
    assert cause.share == pytest.approx(-0.1, abs=1e-3)
    assert cause.line == norm.__code__.co_firstlineno + 2
    assert cause.is_backward


class LeftOut(torch.autograd.Function):
    """silu, whose derivative lacks a term."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x.float() * torch.sigmoid(x.float())).to(x.dtype)

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return (dy.float() * torch.sigmoid(x.float())).to(x.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_part_of_an_operation_that_is_left_out_is_told_of_that_operation(dtype):
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    cause = check_function(LeftOut.apply, lambda x: torch.nn.functional.silu(x), (x,)).first.cause
    assert isinstance(cause, StepOff)
    assert (cause.of, cause.share, cause.is_backward) == ("silu", -1.0, True)


def lossy(wrong=0.0):
    """A softmax through the logarithm of the sum, which is rounded to the inputs' format; wrong by a share."""

    class Softmax(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            p = (x - torch.logsumexp(x, -1, keepdim=True)).exp()
            ctx.save_for_backward(p)
            return p

        @staticmethod
        def backward(ctx, dy):
            (p,) = ctx.saved_tensors
            return p * (dy - (1 - wrong) * (dy * p).sum(-1, keepdim=True))

    return Softmax.apply


@pytest.mark.parametrize(("dtype", "seed"), [(torch.bfloat16, 1), (torch.float16, 4)])
def test_what_16_bits_lose_is_told_where_the_same_is_right_in_float32(dtype, seed):
    x = torch.randn(7, 13, generator=torch.Generator().manual_seed(seed)).to(dtype)

    def own_steps(x):
        return (x - torch.logsumexp(x, -1, keepdim=True)).exp()

    report = check_function(lossy(), lambda x: x.softmax(-1), (x,))
    assert {(f.verdict, f.cause) for f in report.findings} == {("FAULT", RightInFloat32(str(dtype)[6:]))}
    assert check_function(lossy(), own_steps, (x,)).ok, "the remedy"
    wrong = check_function(lossy(0.3), lambda x: x.softmax(-1), (x,))
    assert not isinstance(next(f for f in wrong.findings if f.where.name == "dx").cause, RightInFloat32)
    assert any(f.where.name == "dx" and f.verdict == "FAULT" for f in wrong.findings)


class Product(torch.autograd.Function):
    """x w in TF32, and its gradients by the same."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return truncated(x) @ truncated(w)

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        return Product.apply(dy, w.T), Product.apply(x.T, dy)


def factors(n=17, k=64, m=9):
    drawn = torch.Generator().manual_seed(2)
    return torch.randn(n, k, generator=drawn), torch.randn(k, m, generator=drawn)


def test_products_in_tf32_are_told_and_judged_so():
    report = check_function(Product.apply, lambda x, w: x @ w, factors(), second=True)
    assert report.ok, str(report)
    assert {row.name for row in report.rows} == {"y", "dx", "dw", "ddx", "ddw", "ddy"}
    assert CoarserInside("TF32") in report.notes
    wrong = check_function(lambda x, w: Product.apply(x, w) * 0.99, lambda x, w: x @ w, factors())
    assert not wrong.ok
    small = check_function(lambda x, w: (x @ w) * 0.9998, lambda x, w: x @ w, factors())
    assert not small.ok  # no TF32: a mistake of that size


def test_in_tf32_a_mistake_is_that_of_its_upstream_gradient():
    class Two(Product):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return truncated(x) @ truncated(w), 3 * (truncated(x) @ truncated(w))

        @staticmethod
        def backward(ctx, dy, dz):
            dx, dw = Product.backward(ctx, dy + 3 * dz)
            return dx, dw + Product.backward(ctx, dz)[1].flip(0)

    report = check_function(Two.apply, lambda x, w: (x @ w, 3 * (x @ w)), factors())
    (finding,) = report.findings
    assert (finding.where.name, finding.cause) == ("dw", ThroughUpstream(("dy2",), ("dy1",)))


@pytest.mark.parametrize("name", ["linear", "causal attention", "conv2d"])
@pytest.mark.parametrize("times", [1.05, 0.0])
def test_one_wrong_gradient_in_tf32_is_the_only_one_that_is_told(name, times):
    kernel = KERNELS[name]
    inputs = inputs_of(kernel, torch.Generator().manual_seed(3), kernel.shapes["small"], torch.float32, 1.0)
    function = function_of(kernel, variants(TF32, 3)[1], factor(times), 1)
    report = check_function(function, kernel.reference, inputs)
    assert [f.where.name for f in report.findings] == [report.rows[2].name]
    assert [row.verdict for row in report.rows].count("OK") == len(report.rows) - 1
    assert CoarserInside("TF32") in report.notes


CAUSAL = KERNELS["causal attention"]


def sharp(kernel, arithmetic, draw, mistake=None, precision=TF32):
    """The report on attention whose scores are four times as large: most keys have next to no gradient."""
    inputs = inputs_of(kernel, torch.Generator().manual_seed(draw), kernel.shapes["small"], torch.float32, 30.0)
    function = function_of(kernel, variants(precision, draw)[arithmetic], mistake, 0)
    return check_function(function, kernel.reference, inputs)


@pytest.mark.parametrize(
    ("name", "arithmetic", "draw"), [("attention", 0, 1), (CAUSAL.name, 1, 2), (CAUSAL.name, 6, 3)]
)
def test_products_in_tf32_are_told_beside_a_sharp_softmax(name, arithmetic, draw):
    report = sharp(KERNELS[name], arithmetic, draw)
    assert report.findings == (), str(report)
    assert CoarserInside("TF32") in report.notes


@pytest.mark.parametrize("seed", range(3))
def test_attention_over_three_keys_in_tf32_whose_scores_are_some_hundreds(seed):
    """What the recomputed scores are off by moves the noise runs a hundred times as far as it does right code."""
    q, k, v = torch.randn(3, 2, 3, 8, generator=torch.Generator().manual_seed(seed))
    kernel = KERNELS["attention"]
    report = check_function(function_of(kernel, variants(TF32, seed)[seed]), kernel.reference, (300 * q, k, v))
    assert not any(f.verdict == "FAULT" for f in report.findings), str(report)
    assert CoarserInside("TF32") in report.notes


@pytest.mark.parametrize("precision", [TF32, FLOAT32], ids=["TF32", "float32"])
@pytest.mark.parametrize(
    ("what", "wrong"),
    [("0.9 of the row sum D is subtracted.", {"dq", "dk"}), ("dv misses the last query.", {"dv"})],
)
def test_mistakes_are_found_beside_a_sharp_softmax(what, wrong, precision):
    mistake = next(each for each in mistakes_of(CAUSAL) if each.what == what)
    report = sharp(CAUSAL, 1, 2, mistake, precision)
    found = {name for each in report.findings if each.verdict == "FAULT" for name in (each.where.name, *each.together)}
    assert found == wrong


@pytest.mark.parametrize("draw", range(4))
def test_of_a_few_numbers_all_tensors_tell_whether_products_are_in_tf32(draw):
    """One gradient of three numbers that is off would as well be in TF32, but then the others would be, too."""
    kernel = KERNELS["linear"]
    inputs = inputs_of(kernel, torch.Generator().manual_seed(draw), kernel.shapes["tiny"], torch.float32, 0.01)
    right = function_of(kernel, variants(TF32, draw)[draw])
    assert check_function(right, kernel.reference, inputs).findings == ()
    wrong = function_of(kernel, variants(FLOAT32, draw)[draw], factor(0.999), draw % 2)
    (finding,) = check_function(wrong, kernel.reference, inputs).findings
    assert (finding.where.name, finding.verdict) == (("dx", "dW")[draw % 2], "FAULT")


def test_untold_says_why_and_is_no_failure():
    x, w = inputs()
    report = check_function(lambda x, w: x * w, lambda x, w: (x + 1000) * w - 1000 * w, (x, w))
    assert report.ok
    assert report.first.verdict == "UNTOLD"
    assert {type(f.cause) for f in report.findings} == {NotTold}
    assert {f.cause.why for f in report.findings} <= {"blind", "noise"}
    assert {f.cause.build for f in report.findings} == {"float32"}
    x, w = inputs(torch.float32)
    finer = check_function(lambda x, w: x * w, lambda x, w: (x + 1e7) * w - 1e7 * w, (x, w))
    assert {f.cause.build for f in finer.findings} == {"float64"}
    with pytest.raises(AssertionError):
        report.raise_if_failed(strict=True)
