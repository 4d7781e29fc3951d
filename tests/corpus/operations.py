"""Operations derived by hand, right and wrong: what the checker is measured on.

Each operation is written once, as a forward and backward pass over exchangeable primitives (`How`), and states next to
each record the mistakes that people make there. Its variants differ in the primitives only, so they are equal in exact
arithmetic and differ in rounding; its faults are the base with one mistake swapped in. dT is always dJ/dT.
"""

from collections.abc import Callable

import numpy as np

from tests.corpus.branches import build_bilinear, build_residual_blocks, build_tied_autoencoder
from tests.corpus.cases import Case
from tests.corpus.normalisation import build_batch_norm, build_layer_norm
from tests.corpus.selection import build_dropout, build_max_pool
from tests.corpus.sequences import build_embedding, build_recurrent
from tests.corpus.softmax import build_attention, build_softmax_cross_entropy

__all__ = ["BUILDERS"]

BUILDERS: dict[str, Callable[[np.random.Generator], Case]] = {
    "softmax cross-entropy": build_softmax_cross_entropy,
    "layer norm": build_layer_norm,
    "attention": build_attention,
    "residual blocks": build_residual_blocks,
    "tied autoencoder": build_tied_autoencoder,
    "batch norm": build_batch_norm,
    "embedding": build_embedding,
    "recurrent network": build_recurrent,
    "dropout": build_dropout,
    "max-pool": build_max_pool,
    "bilinear form": build_bilinear,
}
