"""Which lines compute a tensor, found by reading the code as people write it."""

import pytest

from handgrad.compare.source.assignments import computing, tapping
from handgrad.compare.source.pieces import pieces_of
from tests.compare.source.written import module, texts


def lines_of(spans):
    return sorted({number for _, first, last in spans for number in range(first, last + 1)})


def computed_at(code, name="dW1", function="derivation"):
    """The lines, stripped, that are said to compute what is returned under a name."""
    names, lines = module(code)
    return texts(lines, lines_of(computing(name, [*pieces_of(names[function])])))


WAYS = {
    "a name returned under its own name": (
        """
        def derivation(P, X):
            dW1 = X @ X.T
            return {"dW1": dW1}
    """,
        ["dW1 = X @ X.T"],
    ),
    "a name returned under another": (
        """
        def derivation(P, X):
            g = X @ X.T
            return dict(dW1=g)
    """,
        ["g = X @ X.T"],
    ),
    "written into the dict": (
        """
        def derivation(P, X):
            return {"dW1": X @ X.T}
    """,
        ['return {"dW1": X @ X.T}'],
    ),
    "a key filled later": (
        """
        def derivation(P, X):
            grads = {}
            grads["dW1"] = X @ X.T
            return grads
    """,
        ['grads["dW1"] = X @ X.T'],
    ),
    "a key with a number in it": (
        """
        def derivation(P, X):
            grads = {}
            for l in (1, 2):
                grads[f"dW{l}"] = X @ X.T
            return grads
    """,
        ['grads[f"dW{l}"] = X @ X.T'],
    ),
    "a function of its own": (
        """
        def backward(X):
            unrelated = X + 1
            dW = X @ X.T
            return unrelated, dW

        def derivation(P, X):
            dX, g = backward(X)
            return {"dX": dX, "dW1": g}
    """,
        ["dW = X @ X.T"],
    ),
    "a dict from another function": (
        """
        def backward(X):
            dW1 = X @ X.T
            return {"dW1": dW1}

        def derivation(P, X):
            return {"J": X.sum(), **backward(X)}
    """,
        ["dW1 = X @ X.T"],
    ),
    "an attribute of a layer": (
        """
        class Dense:
            def backward(self, X):
                self.dW = X @ X.T
                return X

        def derivation(P, X):
            layer = Dense()
            layer.backward(X)
            return {"dW1": layer.dW}
    """,
        ["self.dW = X @ X.T"],
    ),
    "unpacked": (
        """
        def derivation(P, X):
            dX, dW = X + 1, X @ X.T
            return {"dX": dX, "dW1": dW}
    """,
        ["dX, dW = X + 1, X @ X.T"],
    ),
    "built up in a loop": (
        """
        def derivation(P, X):
            dW1 = 0
            for x in X.T:
                dW1 += np.outer(x, x)
            return {"dW1": dW1}
    """,
        ["dW1 = 0", "dW1 += np.outer(x, x)"],
    ),
    "in a closure": (
        """
        def made(scale):
            def derivation(P, X):
                g = scale * X
                return {"dW1": g}
            return derivation

        derivation = made(2)
    """,
        ["g = scale * X"],
    ),
}


@pytest.mark.parametrize(("code", "expected"), WAYS.values(), ids=WAYS)
def test_the_line_that_computes_a_gradient_is_found(code, expected):
    assert computed_at(code) == expected


def test_a_key_that_a_variable_holds_may_be_any_name():
    code = """
        def derivation(P, X):
            return {name: eval("X") for name in ("d" + "W1",)}
    """
    assert computed_at(code) == ['return {name: eval("X") for name in ("d" + "W1",)}']


def test_what_cannot_be_told_is_not_marked():
    assert computed_at("def derivation(P, X):\n    return make(X)\n") == []


def test_an_update_in_place_and_a_trainer_are_found():
    update = """
        def update(params, grads, state):
            for name in params:
                params[name] -= 0.1 * grads["d" + name]
    """
    assert computed_at(update, "W", "update") == ['params[name] -= 0.1 * grads["d" + name]']
    trainer = """
        def trainer(params, batches):
            W = params["W"]
            for X in batches:
                W = W - 0.1 * X
                yield {"W": W}
    """
    assert computed_at(trainer, "W", "trainer") == ["W = W - 0.1 * X"]


READS = {"Z": ("W1",), "A": ("Z",), "J": ("A",)}


def test_in_torch_a_gradient_is_taken_where_its_tensor_is_read():
    names, lines = module("""
        def reference(p, X):
            Z = tap("Z", p["W1"] @ X)
            A = tap("A", Z * Z)
            return A.sum()
    """)
    pieces = [*pieces_of(names["reference"])]
    first, second, last = (line.strip() for line in lines[1:4])
    expected = {"Z": first, "dW1": first, "dZ": second, "dA": last, "J": last}
    assert {name: texts(lines, lines_of(tapping(name, pieces, READS))) for name in expected} == {
        name: [line] for name, line in expected.items()
    }


def test_a_tap_in_a_loop_over_names_may_be_any():
    names, lines = module("""
        def reference(p, X):
            for name in ("Z", "A"):
                X = tap(name, p["W1"] @ X)
            return X.sum()
    """)
    pieces = [*pieces_of(names["reference"])]
    assert texts(lines, lines_of(tapping("Z", pieces, READS))) == ['X = tap(name, p["W1"] @ X)']
    assert tapping("distance", pieces, READS) == set()
