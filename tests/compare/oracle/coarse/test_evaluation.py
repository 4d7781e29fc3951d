"""A reference is evaluated in float64 whatever it casts to, attention step by step; and what one step contributes."""

import pytest
import torch
import torch.nn.functional as F

from handgrad import InputError
from handgrad.compare.oracle.coarse.effects import Effect
from handgrad.compare.oracle.coarse.evaluation import Draw, evaluate

X = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
C = torch.randn(5, 7, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)


def test_outputs_and_gradients_are_in_float64_whatever_is_cast():
    def casting(x):
        return (x.float().exp() * torch.ones(7, dtype=torch.float32)).to(x.dtype)

    y, dx = evaluate(casting, Draw((X,), (0,), (C,)), Effect())
    assert torch.equal(y, X.double().exp())
    assert torch.equal(dx, C.double() * X.double().exp())


def test_an_input_without_influence_has_zeros():
    _, dx, dw = evaluate(lambda x, w: x * 2, Draw((X, X[0]), (0, 1), (C,)), Effect())
    assert torch.equal(dx, 2 * C.double())
    assert torch.equal(dw, torch.zeros(7, dtype=torch.float64))


def test_attention_is_looked_into():
    q = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(2))
    mode = Effect()
    evaluate(lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True), Draw((q,), (0,), (q,)), mode)
    assert not mode.opaque
    assert sum(step.operation == "bmm" and step.axis is None for step in mode.steps) >= 6


def test_what_is_not_looked_into_is_named():
    mode = Effect()
    evaluate(lambda x: torch.linalg.inv(x[:, :5]), Draw((X,), (0,), (C[:, :5],)), mode)
    assert "linalg_inv_ex" in mode.opaque


def test_a_reference_that_raises_is_told_with_its_line():
    def wrong(x):
        return x @ x

    with pytest.raises(InputError, match=r"test_evaluation\.py line \d+"):
        evaluate(wrong, Draw((X,), (0,), (C,)), Effect())
    with pytest.raises(InputError, match="floating tensor"):
        evaluate(lambda x: None, Draw((X,), (0,), (C,)), Effect())


def test_a_reference_that_draws_gets_the_same_numbers():
    drop = lambda x: F.dropout(x, 0.5)  # noqa: E731
    first, again = (evaluate(drop, Draw((X,), (0,), (C,)), Effect())[0] for _ in range(2))
    assert torch.equal(first, again)


def norm(x):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 0.25)


def test_steps_have_their_line_their_constant_and_their_count():
    mode = Effect()
    evaluate(norm, Draw((X,), (0,), (C,)), mode)
    forward = [step for step in mode.steps if step.place is not None and not step.place.is_backward]
    (added,) = [step for step in forward if step.constant is not None]
    assert (added.operation, added.constant, added.place.line) == ("add", 0.25, norm.__code__.co_firstlineno + 1)
    assert added.size == pytest.approx(1.2, rel=0.3)
    assert {step.terms for step in forward if step.operation == "mean"} == {7}
    assert any(step.place is not None and step.place.is_backward for step in mode.steps)


def test_an_effect_is_the_derivative_with_respect_to_the_step():
    draw, mode = Draw((X,), (0,), (C,)), Effect()
    y, _ = evaluate(norm, draw, mode)
    mean = next(step for step in mode.steps if step.operation == "mean" and step.axis is None)
    constant = next(step for step in mode.steps if step.constant is not None)
    x = X.double()
    variance = x.square().mean(-1, keepdim=True)
    due = x * torch.rsqrt(variance * 1.25 + 0.25)
    assert torch.allclose(evaluate(norm, draw, Effect(mean, 0.25))[0], due)
    due = x * torch.rsqrt(variance + 0.25 * 1.25)
    assert torch.allclose(evaluate(norm, draw, Effect(constant, 0.25))[0], due)
    end = next(step for step in mode.steps if step.operation == "mean" and step.axis == 0)
    changed = evaluate(norm, draw, Effect(end, 0.25))[0]
    assert torch.equal(changed[:-1], y[:-1])
    assert (changed[-1] != y[-1]).all()
