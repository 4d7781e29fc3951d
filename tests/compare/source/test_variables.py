"""Steps of a recorded graph are called by the variables of the reference's code."""

import numpy as np

from handgrad import tap
from handgrad.compare.oracle.reference import recorded_graph
from handgrad.compare.source.variables import variables

PARAMS = {"W": np.arange(4.0).reshape(2, 2) + 1, "b": np.array([0.5, -0.25])}
BATCH = {"X": np.arange(6.0).reshape(3, 2) / 7, "Y": np.ones((3, 2))}


def named(reference):
    graph = recorded_graph(reference, PARAMS, BATCH, {}, "textbook")
    return {name: node.kind for node, name in variables(graph).items()}


def test_a_variable_is_what_the_last_step_of_its_statement_gives():
    def reference(p, X, Y):
        gate = (X @ p["W"] + p["b"]).sigmoid()
        mixed = (
            gate * Y
            - X.exp()
        )  # fmt: skip
        kept = mixed * Y
        return kept.sum()

    assert named(reference) == {"gate": "sigmoid", "kept": "mul"}


def test_in_a_loop_each_visit_has_its_own():
    def reference(p, X, Y):
        h = X.exp()
        for _ in range(2):
            h = (h @ p["W"]).tanh()
        return (h * Y).sum()

    assert named(reference) == {"h": "exp", "h[0]": "tanh", "h[1]": "tanh"}


def test_what_is_assigned_twice_unpacked_or_tapped_is_not_told():
    def reference(p, X, Y):
        a = X @ p["W"]
        a = a.tanh()
        low, high = a.min(0)[0], a.max(0)[0]
        Z = tap("Z", a * Y)
        return (Z + low * high).sum()

    assert named(reference) == {}
