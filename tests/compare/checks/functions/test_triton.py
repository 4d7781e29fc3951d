"""Triton kernels on the CPU, in Triton's interpreter: right ones pass, a mistake in a kernel is told where it is."""

import importlib.util

import pytest
import torch

from handgrad import check_function
from handgrad.compare.facts.functions import NotLinear, StepOff, Unwritten, UpstreamMisread, WrongFor
from tests.corpus.kernels import KERNELS
from tests.corpus.planted import Mistake
from tests.repository import ROOT

pytest.importorskip("triton", reason="Triton has wheels for Linux alone")
SOURCE = (ROOT / "tests" / "corpus" / "kernels_triton.py").read_text(encoding="utf-8")
CLASSES = {"layer norm": "LayerNorm", "RMS norm": "RMSNorm", "softmax cross-entropy": "CrossEntropy"}
DTYPES = (torch.bfloat16, torch.float16, torch.float32)
SIZES = {"layer norm": 5.0}  # of the inputs; rows whose mean is not near 0

PLANTED = {
    "layer norm": (
        ("y dx dw", None, Mistake("The mean is over the padded block.", "tl.sum(x, 1) / d", "tl.sum(x, 1) / BLOCK")),
        (
            "y dx dw",
            None,
            Mistake("The padding counts.", "tl.where(inside, x - mean[:, None], 0.0)", "x - mean[:, None]"),
        ),
        ("dx", StepOff, Mistake("The shift is over the padded block.", "tl.sum(m, 1) / d", "tl.sum(m, 1) / BLOCK")),
        (
            "dx",
            StepOff,
            Mistake("A term is missing.", " - shift[:, None] - xhat * along[:, None]", " - shift[:, None]"),
        ),
        (
            "db",
            NotLinear,
            Mistake("A row beyond the last is 1.", "DY + at, mask=inside, other=0", "DY + at, mask=inside, other=1"),
        ),
    ),
    "RMS norm": (
        (
            "dx dw",
            UpstreamMisread,
            Mistake("dy is that of row 0.", "DY + rows[:, None] * yrow", "DY + rows[:, None] * 0"),
        ),
        (
            "dx dw",
            WrongFor,
            Mistake("dy is read by the strides of x.", "DY + rows[:, None] * yrow", "DY + rows[:, None] * xrow"),
        ),
        ("dx dw", Unwritten, Mistake("The last rows are left out.", "ROWS, n, tl", "ROWS, n - n % ROWS, tl")),
        ("dw", None, Mistake("Only the last rows count.", "dw += tl.sum", "dw = tl.sum")),
        ("dw", Unwritten, Mistake("All programs write one part.", "DW + tl.program_id(0) * d", "DW")),
    ),
    "softmax cross-entropy": (
        ("y dz", None, Mistake("The padding counts as a class.", "other=-1e30", "other=0.0")),
        ("y dz", None, Mistake("The sum is not rescaled.", "total * tl.exp(most - now)", "total")),
        ("dz", UpstreamMisread, Mistake("dy is that of row 0.", "DY + rows, mask", "DY + rows * 0, mask")),
        (
            "dz",
            None,
            Mistake("The target is sought in every tile.", "columns[None, :] ==", "columns[None, :] % TILE =="),
        ),
    ),
}
"""By kernel: the tensors that are wrong, the type of the first one's cause if it is known, and the mistake."""


@pytest.fixture
def kernels_of(tmp_path):
    """The kernels of a source, in a file, which Triton reads them from."""

    def load(source):
        file = tmp_path / "planted_kernels.py"
        file.write_text(source, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(file.stem, file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def checked(kernels, name, dtype, shape=(37, 33)):
    generator = torch.Generator().manual_seed(3)
    drawn = KERNELS[name].draw(generator, shape, SIZES.get(name, 1.0))
    inputs = [t.to(dtype) if t.is_floating_point() else t for t in drawn]
    return check_function(getattr(kernels, CLASSES[name]), KERNELS[name].reference, inputs)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CLASSES)
def test_a_right_kernel_passes(name, dtype, kernels_of):
    report = checked(kernels_of(SOURCE), name, dtype)
    assert report.findings == (), str(report)
    assert {row.verdict for row in report.rows} == {"OK"}


@pytest.mark.parametrize("shape", [(37, 48), (1, 3), (16, 16)], ids=str)
def test_at_other_sizes(shape, kernels_of):
    for name in CLASSES:
        report = checked(kernels_of(SOURCE), name, torch.float16, shape)
        assert report.findings == (), str(report)


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, planted in PLANTED.items() for number in range(len(planted))]
)
def test_a_mistake_in_a_kernel_is_told_at_its_tensors(name, number, kernels_of):
    tensors, cause, mistake = PLANTED[name][number]
    report = checked(kernels_of(mistake.planted(SOURCE)), name, DTYPES[number % len(DTYPES)])
    told = [name for finding in report.findings for name in (finding.where.name, *finding.together)]
    assert " ".join(dict.fromkeys(told)) == tensors, (mistake.what, str(report))
    assert {finding.verdict for finding in report.findings} == {"FAULT"}
    assert cause is None or type(report.first.cause) is cause, str(report.first.cause)
