"""The functions and classes that a function is made of."""

import functools

import numpy as np

from handgrad import per_example
from handgrad.compare.source.pieces import LINES, PIECES, piece_around, pieces_of
from tests.compare.source.written import module


def pieces_by_name(function):
    return {piece.name: piece for piece in pieces_of(function)}


def test_code_without_a_source_has_no_pieces():
    names = {}
    exec("def derivation(P, X):\n    return {'dW1': X}\n", names)
    for function in (names["derivation"], np.linalg.norm, len):
        assert [*pieces_of(function)] == []


def test_a_long_function_is_cut_and_few_are_kept():
    body = "\n".join(f"    a{i} = X" for i in range(1000))
    calls = " + ".join(f"f{i}(X)" for i in range(40))
    helpers = "\n".join(f"def f{i}(X):\n    return X\n" for i in range(40))
    names, _ = module(f"{helpers}\ndef derivation(P, X):\n    y = {calls}\n{body}\n    return {{'dW1': y}}\n")
    pieces = [*pieces_of(names["derivation"])]
    assert len(pieces) <= PIECES
    assert (pieces[0].name, len(pieces[0].lines)) == ("derivation", LINES)


def test_functions_classes_and_instances_that_a_function_names_are_its_pieces():
    names, _ = module("""
        class Dense:
            def forward(self, X):
                return twice(X)

        def twice(X):
            return 2 * X

        def made(layers):
            def derivation(P, X):
                for layer in layers:
                    X = layer.forward(X)
                return {"J": np.sum(X)}
            return derivation

        derivation = made([Dense(), Dense()])
    """)
    assert [*pieces_by_name(names["derivation"])] == ["derivation", "Dense", "twice"]


def test_what_is_wrapped_is_a_piece_not_what_wraps_it():
    once = per_example(lambda p, x: {"J": x.sum(), "dw": x}, axis=0)
    for function in (once, functools.partial(once)):
        (piece,) = pieces_of(function)
        assert "per_example(lambda p, x" in piece.lines[0]


def test_a_line_has_the_innermost_function_around_it():
    names, _ = module("""
        def outer():
            def inner():
                return 1
            return inner
        x = 1
    """)
    file = names["outer"].__code__.co_filename
    assert (piece_around(file, 3).name, piece_around(file, 3).first) == ("inner", 2)
    assert piece_around(file, 4).name == "outer"
    assert piece_around(file, 5).lines == ("x = 1",)
    assert piece_around(file, 9) is None
