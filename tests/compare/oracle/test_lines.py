"""The line of a step is the user's, not torch's or ours, with the visit and the direction."""

from __future__ import annotations

import inspect

import numpy as np
import torch
from torch import Tensor

from handgrad import tap
from handgrad.compare.oracle.graph import Node
from handgrad.compare.oracle.reference import Reference, recorded_graph

RNG = np.random.default_rng(3)
PARAMS = {"W": RNG.normal(size=(3, 3))}
BATCH = {"X": RNG.normal(size=(4, 3))}


def loop(p: dict[str, Tensor], X: Tensor) -> Tensor:
    h = X
    for _ in range(2):
        g = h @ p["W"]
        h = torch.tanh(g)
    return tap("A", h).sum()


def loop_in_one_line(p: dict[str, Tensor], X: Tensor) -> Tensor:
    h = X
    for _ in range(3): h = torch.tanh(h @ p["W"])  # fmt: skip # noqa: E701
    return tap("A", h).sum()


def steps(kind: str, reference: Reference = loop) -> list[Node]:
    return [node for node in recorded_graph(reference, PARAMS, BATCH, {}, "textbook").nodes if node.kind == kind]


def test_a_step_is_done_by_a_line_of_the_reference() -> None:
    source, first = inspect.getsourcelines(loop)
    (line,) = [first + i for i, text in enumerate(source) if "tanh" in text]
    places = [node.place for node in steps("tanh")]
    assert [(place.file, place.line) for place in places if place] == [(__file__, line)] * 2


def test_visits_of_a_line_are_counted() -> None:
    assert [node.place.visit for node in steps("tanh") if node.place] == [1, 2]


def test_a_loop_in_one_line_comes_to_it_again() -> None:
    assert [node.place.visit for node in steps("tanh", loop_in_one_line) if node.place] == [1, 2, 3]
    back = [node.place.visit for node in steps("mul", loop_in_one_line) if node.place and node.place.is_backward]
    assert [*dict.fromkeys(back)] == [3, 2, 1]


def test_a_step_back_is_of_the_visit_that_it_differentiates() -> None:
    back = [node.place.visit for node in steps("mul") if node.place and node.place.is_backward]
    assert [*dict.fromkeys(back)] == [2, 1]


def test_steps_back_are_of_the_line_that_is_differentiated() -> None:
    (line,) = {node.place.line for node in steps("tanh") if node.place}
    back = [node.place for node in steps("mul") if node.place and node.place.is_backward]
    assert {place.line for place in back} == {line}
    assert not any(node.place.is_backward for node in steps("tanh") if node.place)
