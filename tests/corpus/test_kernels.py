"""The kernels are right in exact arithmetic, round differently in every variant, and each mistake moves a gradient."""

from dataclasses import replace

import pytest
import torch

from tests.corpus.kernels import KERNELS, mistakes_of
from tests.corpus.kernels_arithmetic import (
    BFLOAT16,
    DOUBLE,
    EXACT,
    FLOAT16,
    FLOAT32,
    PRECISIONS,
    poor,
    truncated,
    variants,
)
from tests.corpus.kernels_bugs import BUGS, function_of_bug
from tests.corpus.kernels_planted import (
    cotangents_of,
    doubled,
    function_of,
    gradients_of,
    inputs_of,
    outputs_of,
    size_of,
)

NAMES = [(name, shape) for name, kernel in KERNELS.items() for shape in kernel.shapes]
FEWEST = {
    ("rotary", torch.float32): 1,  # nothing is added, and float32 is what is computed in
    ("rotary", torch.float16): 2,
    ("rotary", torch.bfloat16): 2,
    ("embedding", torch.bfloat16): 4,  # sums of bfloat16 numbers that float32 often holds exactly
}
"""Of seven variants so many differ where fewer do than all."""


def drawn(kernel, shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(7)
    inputs = inputs_of(kernel, generator, kernel.shapes[shape], dtype, 1.0)
    return inputs, cotangents_of(kernel.reference, inputs, generator)


@pytest.mark.parametrize(("name", "shape"), NAMES)
def test_every_variant_is_right_in_float64(name, shape):
    kernel = KERNELS[name]
    inputs, cotangents = drawn(kernel, shape)
    right = gradients_of(kernel.reference, inputs, cotangents)
    for a in variants(DOUBLE, 1):
        function = function_of(kernel, a)
        assert size_of(outputs_of(function, inputs), outputs_of(kernel.reference, inputs)) < 1e-12
        assert size_of(gradients_of(function, inputs, cotangents), right) < 1e-12, a.name


@pytest.mark.parametrize("name", KERNELS)
def test_every_mistake_moves_a_gradient(name):
    kernel = KERNELS[name]
    cases = [drawn(kernel, shape) for shape in ("small", "mid")]
    right = [gradients_of(function_of(kernel, EXACT), *case) for case in cases]
    for mistake in mistakes_of(kernel):
        wrong = (gradients_of(function_of(kernel, EXACT, mistake), *case) for case in cases)
        assert max(map(size_of, wrong, right)) > 1e-9, mistake.what


@pytest.mark.parametrize("precision", PRECISIONS.values(), ids=PRECISIONS)
@pytest.mark.parametrize("name", KERNELS)
def test_variants_are_close_and_differ_in_bits(name, precision):
    """What is stored in 16 bits may be equal again: differences are sought before."""
    kernel = KERNELS[name]
    inputs, cotangents = drawn(kernel, "long", precision.storage)
    exact = gradients_of(kernel.reference, doubled(inputs), doubled(cotangents))
    seen = set()
    for a in variants(precision, 1):
        gradients = gradients_of(function_of(kernel, a), inputs, cotangents)
        assert size_of(gradients, exact) < 20 * precision.unit, a.name
        function = function_of(kernel, replace(a, storage=torch.float32))
        wide = [tensor.float() if tensor.is_floating_point() else tensor for tensor in inputs]
        wide = gradients_of(function, wide, [cotangent.float() for cotangent in cotangents])
        seen.add(b"".join(gradient.numpy().tobytes() for gradient in wide))
    assert len(seen) >= FEWEST.get((name, precision.storage), 7)


@pytest.mark.parametrize(("name", "shape"), NAMES)
def test_large_inputs_do_not_overflow_in_float16(name, shape):
    kernel, generator = KERNELS[name], torch.Generator().manual_seed(7)
    inputs = inputs_of(kernel, generator, kernel.shapes[shape], torch.float16, 30.0)
    cotangents = cotangents_of(kernel.reference, inputs, generator)
    for a in variants(FLOAT16, 1):
        function = function_of(kernel, a)
        tensors = [*outputs_of(function, inputs), *gradients_of(function, inputs, cotangents)]
        assert all(tensor.isfinite().all() for tensor in tensors), a.name


def test_a_gradient_slips_where_it_is_told_to():
    kernel = KERNELS["linear"]
    inputs, cotangents = drawn(kernel, "small")
    right = gradients_of(kernel.reference, inputs, cotangents)
    factor = next(m for m in mistakes_of(kernel) if "0.98" in m.what)
    for number in range(3):
        wrong = gradients_of(function_of(kernel, EXACT, factor, number), inputs, cotangents)
        sizes = [size_of([w], [r]) for w, r in zip(wrong, right, strict=True)]
        assert [size > 0.019 for size in sizes] == [i == number for i in range(3)]


def test_there_are_enough_mistakes_and_each_has_its_words():
    words = {(name, mistake.what) for name, kernel in KERNELS.items() for mistake in mistakes_of(kernel)}
    assert len(words) == sum(len(mistakes_of(kernel)) for kernel in KERNELS.values())
    assert sum(len(kernel.mistakes) for kernel in KERNELS.values()) >= 150
    assert len(words) >= 400


def test_operands_of_tf32_keep_ten_bits():
    x = torch.tensor([1 + 2.0**-10, 1 + 2.0**-10 + 2.0**-11, -1 - 2.0**-11, 3e38])
    assert torch.equal(truncated(x)[:3], torch.tensor([1 + 2.0**-10, 1 + 2.0**-10, -1.0]))
    assert FLOAT32.operand(x) is x


def test_sums_in_16_bits_stall():
    ones = torch.ones(500)
    assert poor(BFLOAT16).sum(ones, 0) == 256
    assert variants(BFLOAT16, 1)[0].sum(ones, 0) == 500


# --- the bugs of public kernels


def of_bug(bug, layout):
    """Gradients of the reference, of the mended kernel and of the one with the bug, for one layout of dy."""
    generator = torch.Generator().manual_seed(7)
    inputs = bug.draw(generator)
    cotangents = [layout(dy) for dy in cotangents_of(bug.reference, inputs, generator)]
    functions = bug.reference, function_of_bug(bug), function_of_bug(bug, bug.mistake)
    kept = [dy.clone() for dy in cotangents]
    gradients = [gradients_of(function, inputs, cotangents) for function in functions]
    return gradients, any(not torch.equal(dy, was) for dy, was in zip(cotangents, kept, strict=True))


def strided(tensor):
    return torch.stack([tensor, tensor], -1)[..., 0]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.report)
def test_a_bug_shows_and_its_mended_kernel_is_right(bug):
    (right, mended, wrong), overwritten = of_bug(bug, torch.clone)
    assert size_of(mended, right) < 1e-12
    (also_right, also_mended, misread), _ = of_bug(bug, strided)
    assert size_of(also_mended, also_right) < 1e-12
    shown = {
        "apex #1430": overwritten,
        "pytorch #194719": size_of(wrong, right) < 1e-12 and size_of(misread, right) > 0.1,
    }
    assert shown.get(bug.report, size_of(wrong, right) > 0.1)
