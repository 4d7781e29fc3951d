"""The verdict in one coarse precision: right kernels pass, in any arithmetic; factors and entries are a FAULT."""

import pytest
import torch

from handgrad.compare.oracle.coarse.evaluation import Draw
from handgrad.compare.oracle.coarse.exact import exact_of
from handgrad.compare.oracle.coarse.formats import FORMATS, TF32
from handgrad.compare.verdict.coarse.case import case_of
from handgrad.compare.verdict.coarse.rule import judge

EPS = 1e-5
DW = 2  # the position of dw, behind y and dx


def reference(x, w):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * w


def draws_of(name, scale=1.0, n=19, d=23):
    drawn = torch.Generator().manual_seed(7)
    dtype = getattr(torch, name)

    def normal(*shape):
        return torch.randn(shape, generator=drawn)

    inputs = ((scale * normal(n, d)).to(dtype), (1 + 0.3 * normal(d)).to(dtype))
    return [Draw(inputs, (0, 1), (normal(n, d).to(dtype),)) for _ in range(2)]


def kernel(draw, eps=EPS, parts=1, rounded=False):
    """y, dx, dw in float32, sums in some parts, intermediates rounded to the type of storage or not."""
    x, w, dy = (t.float() for t in (*draw.inputs, *draw.cotangents))
    dtype = draw.inputs[0].dtype
    kept = (lambda t: t.to(dtype).float()) if rounded else (lambda t: t)

    def summed(t, axis):
        pieces = [kept(piece.sum(axis, keepdim=True)) for piece in t.chunk(parts, axis)]
        return sum(pieces[1:], pieces[0])

    d = x.shape[-1]
    r = torch.rsqrt(summed(x * x, 1) / d + eps)
    m = kept(dy * w)
    normed = kept(x * r)
    dx = r * (m - normed * summed(m * normed, 1) / d)
    return [t.to(dtype) for t in (x * r * w, dx, summed(dy * normed, 0)[0])]


CASES = {
    name: case_of(exact_of(reference, draws_of(name)), FORMATS[name]) for name in ("bfloat16", "float16", "float32")
}
every_format = pytest.mark.parametrize("name", CASES)


def judged(name, position, change=lambda t: t, **arithmetic):
    case = CASES[name]
    return judge(case, position, [change(kernel(draw, **arithmetic)[position]) for draw in case.exact.draws])


ARITHMETIC = {"plain": {}, "in parts": {"parts": 4}, "rounded": {"rounded": True, "parts": 3}}


@every_format
@pytest.mark.parametrize("arithmetic", ARITHMETIC.values(), ids=ARITHMETIC)
def test_right_kernels_are_ok_whatever_their_arithmetic(name, arithmetic):
    for position in range(3):
        verdict = judged(name, position, **arithmetic)
        assert verdict.verdict == "OK"
        assert verdict.statistics.worst < 0.7


@pytest.mark.parametrize(("name", "factor"), [("bfloat16", 0.98), ("float16", 0.99), ("float32", 0.999)])
def test_a_small_factor_is_a_fault_and_named(name, factor):
    for position in (1, 2):
        verdict = judged(name, position, lambda t: (t.double() * factor).to(t.dtype))
        assert verdict.verdict == "FAULT"
        assert verdict.resolution < 1 - factor + 2.0**-8
    wrong = [(kernel(draw)[1].double() * factor).to(draw.inputs[0].dtype) for draw in CASES[name].exact.draws]
    along = CASES[name].explained(1, wrong)
    assert along.step is None
    assert along.share == pytest.approx(factor - 1, abs=verdict.resolution / 2)


@every_format
def test_a_constant_that_is_rounded_once_is_ok_and_twice_no_fault(name):
    u = FORMATS[name].stored
    assert judged(name, 1, lambda t: (t.double() * (1 - u)).to(t.dtype)).verdict == "OK"
    assert judged(name, 1, lambda t: (t.double() * (1 - u) ** 2).to(t.dtype)).verdict != "FAULT"


@every_format
def test_one_entry_one_row_and_nothing_at_all_are_faults(name):
    def entry(t):
        t.reshape(-1)[t.abs().reshape(-1).argmax()] *= 1.5
        return t

    def row(t):
        t[3] = 0
        return t

    for change in (entry, row, torch.zeros_like, torch.neg, lambda t: t.roll(1, -1)):
        assert judged(name, 1, change).verdict == "FAULT"


def test_the_step_that_is_off_is_named_with_its_constant():
    case = CASES["float32"]
    wrong = [kernel(draw, eps=1e-3)[0] for draw in case.exact.draws]
    assert judge(case, 0, wrong).verdict == "FAULT"
    along = case.explained(0, wrong)
    assert along.step.constant == EPS
    assert EPS * (1 + along.share) == pytest.approx(1e-3, rel=1e-3)


def test_what_a_scale_hides_and_what_shows_it():
    """eps is next to nothing beside the variance of ordinary inputs, and not of small ones."""
    small = case_of(exact_of(reference, draws_of("bfloat16", scale=0.01)), FORMATS["bfloat16"])
    assert judged("bfloat16", 0, eps=1e-3).verdict == "OK"
    assert judge(small, 0, [kernel(draw, eps=1e-3)[0] for draw in small.exact.draws]).verdict == "FAULT"

    def least(case):
        step = next(step for step in case.exact.steps if step.constant is not None)
        return min(measure.directions.resolution[step] for measure in case.measures)

    assert least(CASES["bfloat16"]) > 100 > 1 > least(small)


def test_where_rounding_is_all_there_is_nothing_is_told():
    """x + 1000 - 1000 has no digit left in bfloat16."""
    far = case_of(exact_of(lambda x, w: (x + 1000) * w - 1000 * w, draws_of("bfloat16")), FORMATS["bfloat16"])
    x, w = (t.double() for t in far.exact.draws[0].inputs)
    verdict = judge(far, 0, [x * w] * 2)
    assert (verdict.verdict, verdict.why) == ("UNTOLD", "blind")


def test_a_flipped_mask_is_no_fault():
    """A rounding flips a ReLU: the reference's own noise runs are off as much."""
    draws = draws_of("bfloat16")
    flipping = case_of(exact_of(lambda x, w: torch.relu(x * w - x * w * 1.001) * 100, draws), FORMATS["bfloat16"])
    x, w = (t.double() for t in draws[0].inputs)
    assert judge(flipping, 0, [torch.relu(x * w * 0.002) * 100] * 2).verdict == "UNTOLD"


def test_products_in_tf32_are_ok_in_tf32_and_no_more():
    def linear(x, w):
        return x @ w

    drawn = torch.Generator().manual_seed(3)
    x, w, c = (torch.randn(shape, generator=drawn) for shape in ((17, 64), (64, 9), (17, 9)))

    def cut(t):
        return (t.contiguous().view(torch.int32) & -8192).view(torch.float32)

    case = case_of(exact_of(linear, [Draw((x, w), (0, 1), (c,))]), TF32)
    assert judge(case, 0, [cut(x) @ cut(w)]).verdict == "OK"
    assert judge(case, 0, [x @ w]).verdict == "OK"
    assert judge(case, 0, [0.995 * (cut(x) @ cut(w))]).verdict == "FAULT"
    exact = case_of(case.exact, FORMATS["float32"])
    assert judge(exact, 0, [cut(x) @ cut(w)]).verdict == "FAULT"
