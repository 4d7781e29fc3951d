"""The kernels that a check of functions of tensors is measured on, and all mistakes that each can have."""

from tests.corpus.kernels_attention import KERNELS as ATTENTION
from tests.corpus.kernels_dense import KERNELS as DENSE
from tests.corpus.kernels_images import KERNELS as IMAGES
from tests.corpus.kernels_norms import KERNELS as NORMS
from tests.corpus.kernels_planted import Kernel, Slip
from tests.corpus.kernels_slips import SLIPS
from tests.corpus.planted import Mistake

__all__ = ["KERNELS", "mistakes_of"]

KERNELS = {kernel.name: kernel for kernel in (*DENSE, *NORMS, *ATTENTION, *IMAGES)}


def mistakes_of(kernel: Kernel) -> tuple[Mistake | Slip, ...]:
    """Those of the operation, and those that any kernel can have."""
    return (*kernel.mistakes, *(slip for slip in SLIPS if slip.what not in kernel.unmoved))
