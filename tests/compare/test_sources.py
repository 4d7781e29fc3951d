"""Which lines compute a tensor, found by reading the code as people write it."""

import linecache
import textwrap

import numpy as np
import pytest

from handgrad import check_gradients, check_training, check_updates, per_example
from handgrad.compare.experiment.settings import Experiment
from handgrad.compare.names import Key
from handgrad.compare.report.details import Code
from handgrad.compare.source import listing as sources
from handgrad.compare.source.labels import labelled, network_code
from handgrad.compare.source.pieces import LINES, PIECES
from handgrad.compare.verdict.excerpts import excerpt

COUNT = iter(range(1000))


def module(code):
    """The names that code defines, its lines known under a file name as those of a file would be."""
    text = textwrap.dedent(code).lstrip("\n")
    file = f"written_{next(COUNT)}.py"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    names = {"np": np, "__name__": "written"}
    exec(compile(text, file, "exec"), names)
    return names, text.splitlines()


def marked(code, name="dW1", function="derivation"):
    """The lines, stripped, that are said to compute a tensor."""
    names, lines = module(code)
    found = sources.by_hand(names[function], {name: name.removesuffix("_next")})
    return [lines[n - 1].strip() for piece in found for n in piece.tensors.get(name, ())]


WAYS = {
    "a name returned under its own name": """
        def derivation(P, X):
            dW1 = X @ X.T
            return {"dW1": dW1}
    """,
    "a name returned under another": """
        def derivation(P, X):
            g = X @ X.T
            return dict(dW1=g)
    """,
    "written into the dict": """
        def derivation(P, X):
            return {"dW1": X @ X.T}
    """,
    "a key filled later": """
        def derivation(P, X):
            grads = {}
            grads["dW1"] = X @ X.T
            return grads
    """,
    "a key with a number in it": """
        def derivation(P, X):
            grads = {}
            for l in (1, 2):
                grads[f"dW{l}"] = X @ X.T
            return grads
    """,
    "a function of its own": """
        def backward(X):
            unrelated = X + 1
            dW = X @ X.T
            return unrelated, dW

        def derivation(P, X):
            dX, g = backward(X)
            return {"dX": dX, "dW1": g}
    """,
    "a dict from another function": """
        def backward(X):
            dW1 = X @ X.T
            return {"dW1": dW1}

        def derivation(P, X):
            return {"J": X.sum(), **backward(X)}
    """,
    "an attribute of a layer": """
        class Dense:
            def backward(self, X):
                self.dW = X @ X.T
                return X

        def derivation(P, X):
            layer = Dense()
            layer.backward(X)
            return {"dW1": layer.dW}
    """,
    "unpacked": """
        def derivation(P, X):
            dX, dW = X + 1, X @ X.T
            return {"dX": dX, "dW1": dW}
    """,
    "built up in a loop": """
        def derivation(P, X):
            dW1 = 0
            for x in X.T:
                dW1 += np.outer(x, x)
            return {"dW1": dW1}
    """,
    "in a closure": """
        def made(scale):
            def derivation(P, X):
                g = scale * X
                return {"dW1": g}
            return derivation

        derivation = made(2)
    """,
}
SAID = {
    "a name returned under its own name": ["dW1 = X @ X.T"],
    "a name returned under another": ["g = X @ X.T"],
    "written into the dict": ['return {"dW1": X @ X.T}'],
    "a key filled later": ['grads["dW1"] = X @ X.T'],
    "a key with a number in it": ['grads[f"dW{l}"] = X @ X.T'],
    "a function of its own": ["dW = X @ X.T"],
    "a dict from another function": ["dW1 = X @ X.T"],
    "an attribute of a layer": ["self.dW = X @ X.T"],
    "unpacked": ["dX, dW = X + 1, X @ X.T"],
    "built up in a loop": ["dW1 = 0", "dW1 += np.outer(x, x)"],
    "in a closure": ["g = scale * X"],
}


@pytest.mark.parametrize("way", WAYS)
def test_the_line_that_computes_a_gradient_is_found(way):
    assert marked(WAYS[way]) == SAID[way]


def test_what_cannot_be_told_is_not_marked():
    code = """
        def derivation(P, X):
            return {name: eval("X") for name in ("d" + "W1",)}
    """
    assert marked(code) == ['return {name: eval("X") for name in ("d" + "W1",)}'], "a key that a variable holds"
    assert marked("def derivation(P, X):\n    return make(X)\n") == []


def test_an_update_in_place_and_a_trainer_are_found():
    update = """
        def update(params, grads, state):
            for name in params:
                params[name] -= 0.1 * grads["d" + name]
    """
    assert marked(update, "W_next", "update") == ['params[name] -= 0.1 * grads["d" + name]']
    trainer = """
        def trainer(params, batches):
            W = params["W"]
            for X in batches:
                W = W - 0.1 * X
                yield {"W": W}
    """
    assert marked(trainer, "W_next", "trainer") == ["W = W - 0.1 * X"]


def test_what_a_line_reads_is_found_where_it_was_assigned_last():
    code = Code("by hand", "f.py", 10, "    def f(X):\n        a = X\n        a = a + 1\n        b = a * X\n", {})
    assert sources.read_on(code, [13]) == {"a": 12, "X": 10}, "an argument comes in at the def"
    assert sources.read_on(code, [12]) == {"a": 11}
    assert sources.read_on(code, [11]) == {"X": 10}
    elsewhere = Code("by hand", "f.py", 1, "def f(self):\n    return np.exp(self.z)\n", {})
    assert sources.read_on(elsewhere, [2]) == {"np": 0, "self": 0}
    assert sources.read_on(Code("by hand", "f.py", 1, "x = (lambda a:", {}), [1]) == {}


def test_code_without_a_source_gives_none():
    names = {}
    exec("def derivation(P, X):\n    return {'dW1': X}\n", names)
    assert sources.by_hand(names["derivation"], {"dW1": "dW1"}) == ()
    assert sources.by_hand(np.linalg.norm, {}) == ()
    assert sources.by_hand(len, {}) == ()


def test_what_was_read_is_read_again_after_the_file_has_changed(tmp_path):
    import importlib.util

    file = tmp_path / "mine.py"
    file.write_text("def derivation(P, X):\n    dW1 = X\n    return {'dW1': dW1}\n")
    spec = importlib.util.spec_from_file_location("mine", file)
    mine = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mine)
    (first,) = sources.by_hand(mine.derivation, {"dW1": "dW1"})
    assert sources.by_hand(mine.derivation, {"dW1": "dW1"})[0] is first
    assert sources.by_hand(mine.derivation, {"dW1": "X"})[0].tensors == {}
    file.write_text("def derivation(P, X):\n    dW1 = X + 1  # changed\n    return {'dW1': dW1}\n")
    (again,) = sources.by_hand(mine.derivation, {"dW1": "dW1"})
    assert "# changed" in again.text


def test_a_long_function_is_cut_and_few_are_kept():
    body = "\n".join(f"    a{i} = X" for i in range(1000))
    calls = " + ".join(f"f{i}(X)" for i in range(40))
    helpers = "\n".join(f"def f{i}(X):\n    return X\n" for i in range(40))
    names, _ = module(f"{helpers}\ndef derivation(P, X):\n    y = {calls}\n{body}\n    return {{'dW1': y}}\n")
    found = sources.by_hand(names["derivation"], {})
    assert len(found) <= PIECES
    assert len(found[0].text.splitlines()) == LINES


REFERENCE = """
    def reference(p, X):
        Z = tap("Z", p["W1"] @ X)
        A = tap("A", Z * Z)
        return A.sum()
"""


def test_in_torch_a_gradient_is_taken_where_its_tensor_is_read():
    names, lines = module(REFERENCE)
    reads = {"Z": ("W1",), "A": ("Z",), "J": ("A",)}
    (piece,) = sources.in_torch(names["reference"], ["Z", "dZ", "dW1", "dA", "J"], reads)
    at = {name: [lines[n - 1].strip() for n in numbers] for name, numbers in piece.tensors.items()}
    first, second, last = (line.strip() for line in lines[1:4])
    assert at == {"Z": [first], "dW1": [first], "dZ": [second], "dA": [last], "J": [last]}


def test_a_report_has_the_code_of_both_sides_with_the_wrong_line():
    import torch

    def derivation(p, x):
        dw = -2 * p["w"] * x
        return {"J": (p["w"] ** 2 * x).sum(), "dw": dw}

    def reference(p, x):
        return (p["w"] ** 2 * x).sum()

    params, batch = {"w": np.array([1.0, 2.0])}, (np.array([0.3, -0.7]),)
    report = check_gradients(derivation, reference, params, batch)
    by_hand, in_torch = report.details.code
    (line,) = by_hand.tensors["dw"]
    assert by_hand.text.splitlines()[line - by_hand.first].strip() == 'dw = -2 * p["w"] * x'
    assert (by_hand.side, in_torch.side, by_hand.file) == ("by hand", "torch", "test_sources.py")
    (entries,) = report.details.excerpts
    assert entries.by_hand == ((-0.6, 2.8),)
    assert entries.torch == ((0.6, -2.8),)

    once = per_example(lambda p, x: {"J": x.sum(), "dw": x}, axis=0)
    again = check_gradients(once, reference, {"w": np.array([1.0, 2.0])}, (np.ones((3, 2)),))
    assert "per_example(lambda p, x" in again.details.code[0].text, "what is wrapped is shown, not what wraps it"

    def ascent(params, grads, state):
        return {name: w + 0.1 * grads[f"d{name}"] for name, w in params.items()}, state

    def sgd(tensors):
        return torch.optim.SGD(tensors, lr=0.1)

    update = check_updates(ascent, sgd, params)
    assert [piece.side for piece in update.details.code] == ["by hand", "torch"]
    assert update.details.code[0].tensors["w_next"]
    assert update.details.excerpts[0].name == "w_next"

    def trainer(params, batches):
        w = params["w"]
        for (x,) in batches:
            w = w + 0.1 * 2 * w * x
            yield {"w": w}

    training = check_training(trainer, reference, sgd, params, [batch, batch])
    assert training.details.code[0].tensors["w_next"]
    assert training.details.excerpts[0].name == "w_next"


# --- the notes' network


def test_the_networks_code_is_found_by_its_labels():
    names = ("Z1", "A1", "losses", "dZ2", "dW1", "dZ1", "vW1", "W1_next")
    code = network_code(Experiment(), names)
    for name in names:
        for side in ("by hand", "torch"):
            assert any(name in piece.tensors for piece in code if piece.side == side), (name, side)
    (weights,) = [piece for piece in code if piece.side == "by hand" and "dW1" in piece.tensors]
    (line,) = weights.tensors["dW1"]
    assert "# (B2)" in weights.text.splitlines()[line - weights.first]
    taken_at = {"dW1": "(F1)", "dZ1": "(F2)", "dZ2": "(L2)"}  # where torch takes a gradient its tensor is used
    for name, label in taken_at.items():
        (piece,) = [piece for piece in code if piece.side == "torch" and name in piece.tensors]
        assert f"# {label}" in piece.text.splitlines()[piece.tensors[name][0] - piece.first]
    derivative = [piece for piece in code if piece.side == "by hand" and "dZ1" in piece.tensors]
    assert any("def tanh_derivative" in piece.text for piece in derivative), "a wrong derivative shows as dZ"


def test_every_label_leads_to_its_line():
    for package in ("manual", "torchref"):
        for label in ("F1", "L2", "O3"):
            found = labelled(package, label)
            assert found is not None
            assert f"({label})" in found.text.splitlines()[found.line - found.first]
    assert labelled("torchref", "B2") is None


# --- entries


@pytest.mark.parametrize(
    ("shape", "index", "first", "size"),
    [
        ((), (), (), (1, 1)),
        ((3,), (2,), (0,), (1, 3)),
        ((40,), (39,), (28,), (1, 12)),
        ((4, 5), (3, 4), (0, 0), (4, 5)),
        ((30, 40), (29, 0), (22, 0), (8, 12)),
        ((2, 3, 30, 4), (1, 2, 15, 3), (1, 2, 11, 0), (8, 4)),
    ],
    ids=str,
)
def test_an_excerpt_has_the_entry_that_it_is_about(shape, index, first, size):
    rng = np.random.default_rng(3)
    ours, theirs = rng.standard_normal(shape), rng.standard_normal(shape)
    found = excerpt(Key(2, "backward", "dT"), ours, theirs, index)
    assert found.start == first
    assert (len(found.by_hand), len(found.by_hand[0])) == size
    at = tuple(i - j for i, j in zip(index, first, strict=True))[-2:]
    row, column = (*(0,) * (2 - len(at)), *at)
    assert found.by_hand[row][column] == ours[index]
    assert found.torch[row][column] == theirs[index]
