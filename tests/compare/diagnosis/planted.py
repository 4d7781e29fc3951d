"""Mistakes planted in one tensor of a small reference, and the search for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from handgrad.compare.diagnosis.bits import Observed
from handgrad.compare.diagnosis.edits.edit import ODD, Edit
from handgrad.compare.diagnosis.edits.segment import Segment
from handgrad.compare.diagnosis.edits.wording import Formulas
from handgrad.compare.diagnosis.factors import names_of
from handgrad.compare.diagnosis.search import Elsewhere, Search, explanations
from handgrad.compare.facts.causes import Cause
from handgrad.compare.oracle.graph import Form
from handgrad.compare.oracle.reference import recorded_graph

PARAMETERS = {"W": (4, 3), "b": (3,), "V": (3, 4), "U": (3, 3), "E": (4, 4)}
BATCH = {"X": (5, 4), "Y": (5, 3)}
OTHERS = {"Z": (5, 3), "z": (5, 3), "A": (5, 3), "T": (3, 3), "h0": (5, 3), "h1": (5, 3), "h2": (5, 3)}
OTHERS |= {f"d{name}": shape for name, shape in (OTHERS | PARAMETERS).items()} | {"vU": (3, 3)}
SIZES = {3, 4, 5}

Reference = Callable[..., Tensor]
Wrong = Callable[[Any], Tensor]  # a tensor, of all tensors that there are


def drawn(seed: int, like: Callable[[Tensor], Tensor] = lambda x: x) -> dict[str, Tensor]:
    """Parameters, inputs and records, each entry another."""
    generator = torch.Generator().manual_seed(seed)
    shapes = PARAMETERS | BATCH | OTHERS
    return {n: like(torch.randn(shape, generator=generator, dtype=torch.float64)) for n, shape in shapes.items()}


def segment_of(
    reference: Reference, name: str, records: Sequence[str], tensors: Mapping[str, Tensor], form: Form = "textbook"
) -> Segment:
    arrays = {n: tensor.numpy() for n, tensor in tensors.items()}
    params, batch, given = ({n: arrays[n] for n in names} for names in (PARAMETERS, BATCH, records))
    return Segment(recorded_graph(reference, params, batch, given, form), name)


def search_of(
    reference: Reference,
    name: str,
    wrong: Wrong,
    records: Sequence[str] = (),
    times: Mapping[str, str] | None = None,
    like: Callable[[Tensor], Tensor] = lambda x: x,
    form: Form = "textbook",
) -> Search:
    """`times`: for tensors of another time, the one whose draw stands for each."""
    tensors = drawn(1, like)
    segment = segment_of(reference, name, records, tensors, form)
    others = {n: tensors[of] for n, of in (times or {}).items()}
    segment = Segment(segment.graph.beside(others), name, frozenset(others))
    observed = Observed(wrong(SimpleNamespace(**tensors)).double().contiguous(), segment.target.value.double())
    return Search(segment, observed, names_of(SIZES), frozenset(PARAMETERS))


def reruns(
    search: Search,
    wrong: Wrong,
    like: Callable[[Tensor], Tensor] = lambda x: x,
    times: Mapping[str, str] | None = None,
) -> Callable[[], Iterator[Elsewhere]]:
    def elsewhere() -> Iterator[Elsewhere]:
        for seed in (2, 3):
            moved = drawn(seed, like)
            inputs = {n: moved[(times or {}).get(n, n)] for n in search.segment.graph.inputs}
            yield Elsewhere(inputs, wrong(SimpleNamespace(**moved)))

    return elsewhere


def causes(
    reference: Reference,
    name: str,
    wrong: Wrong,
    records: Sequence[str] = (),
    times: Mapping[str, str] | None = None,
    like: Callable[[Tensor], Tensor] = lambda x: x,
) -> list[Cause]:
    """What the search says of a tensor that holds what `wrong` gives, without the formulas that it stands in."""
    search = search_of(reference, name, wrong, records, times, like)
    return [*map(_bare, named(search, reruns(search, wrong, like, times)))]


def named(search: Search, elsewhere: Callable[[], Iterable[Elsewhere]]) -> list[Cause]:
    return [each.cause for each in explanations([search], elsewhere)]


def fitting(enumeration: Callable[..., Iterator[Edit]], search: Search) -> list[Cause]:
    """What one enumeration of edits of steps says, at any step."""
    values = {node: node.value for node in search.segment.graph.nodes}
    words = Formulas(search.segment, search.numbers)
    found = []
    with torch.no_grad():
        for node in search.segment.steps:
            for edit in enumeration(search.segment, node, search.numbers):
                with suppress(*ODD):
                    if search.observed.is_explained_by(search.segment.predicted(edit.changes, values)):
                        found.append(_bare(edit.cause(words)))
    return found


def either(*enumerations: Callable[..., Iterator[Edit]]) -> Callable[..., Iterator[Edit]]:
    """Several enumerations as one."""
    return lambda segment, node, numbers: (edit for each in enumerations for edit in each(segment, node, numbers))


def _bare(cause: Cause) -> Cause:
    return replace(cause, inside="") if hasattr(cause, "inside") else cause
