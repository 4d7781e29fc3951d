"""The source of both sides with the lines that compute each tensor."""

import importlib.util

import numpy as np
import torch

from handgrad import check_gradients, check_training, check_updates, per_example
from handgrad.compare.ownership import named
from handgrad.compare.results import Code
from handgrad.compare.source import listing
from tests.compare.source.written import module, texts


def test_what_a_line_reads_is_found_where_it_was_assigned_last():
    code = Code("by hand", "f.py", 10, "    def f(X):\n        a = X\n        a = a + 1\n        b = a * X\n", {})
    assert listing.read_on(code, [13]) == {"a": 12, "X": 10}, "an argument comes in at the def"
    assert listing.read_on(code, [12]) == {"a": 11}
    assert listing.read_on(code, [11]) == {"X": 10}
    elsewhere = Code("by hand", "f.py", 1, "def f(self):\n    return np.exp(self.z)\n", {})
    assert listing.read_on(elsewhere, [2]) == {"np": 0, "self": 0}
    assert listing.read_on(Code("by hand", "f.py", 1, "x = (lambda a:", {}), [1]) == {}


def test_only_what_the_line_itself_reads_counts():
    text = """def f(h, x, D):
    g = {n: np.zeros(2) for n in D}
    d = {"a": h}
    for k in D:
        g["d" + k] += d[k] @ x
    a, b = sum(d[k] for k in D), 2
    return {"g": g,
            "a": a * h, "b": b}"""
    code = Code("by hand", "f.py", 1, text, {})
    assert listing.read_on(code, [5]) == {"k": 0, "d": 3, "x": 1}, "g is filled, and k is no comprehension's"
    assert listing.read_on(code, [8]) == {"a": 6, "h": 1, "b": 6}, "the line before it is another entry"
    assert listing.read_on(code, [7]) == {"g": 2}


def test_code_without_a_source_gives_none():
    assert listing.by_hand(len, {"dW1": "dW1"}) == ()


def test_where_an_array_was_seen_to_be_made_comes_before_what_is_read():
    names, lines = module("""
        def derivation(P, X):
            dW = X * 1
            dW = X * 2
            return {"dW": dW}
    """)
    file = names["derivation"].__code__.co_filename
    (read,) = listing.by_hand(names["derivation"], {"dW": "dW"})
    assert texts(lines, read.tensors["dW"]) == ["dW = X * 1", "dW = X * 2"]
    (seen,) = listing.by_hand(names["derivation"], {"dW": "dW"}, {"dW": (file, 3)})
    assert texts(lines, seen.tensors["dW"]) == ["dW = X * 2"]


def test_a_function_in_which_an_array_was_made_is_shown_too():
    names, lines = module("""
        def hidden(X):
            return X * 2

        def derivation(P, X):
            return {"dW": globals()["hidden"](X)}
    """)
    file = names["derivation"].__code__.co_filename
    derivation, hidden = listing.by_hand(names["derivation"], {"dW": "dW"}, {"dW": (file, 2)})
    assert "dW" not in derivation.tensors
    assert texts(lines, hidden.tensors["dW"]) == ["return X * 2"]


def test_of_a_statement_of_many_lines_the_part_that_is_read_is_marked():
    names, lines = module("""
        def derivation(P, X):
            return {
                "dW": X * 2,
                "db": X * 3,
            }
    """)
    file = names["derivation"].__code__.co_filename
    (code,) = listing.by_hand(names["derivation"], {"dW": "dW"}, {"dW": (file, 2)})
    assert texts(lines, code.tensors["dW"]) == ['"dW": X * 2,']


def test_an_optimizer_is_built_where_its_builder_returns():
    names, lines = module("""
        def sgd(tensors):
            rate = 0.1
            return SGD(tensors, lr=rate)
    """)
    (code,) = listing.building(names["sgd"], ["W_next", "b_next"])
    assert code.side == "torch"
    assert texts(lines, code.tensors["b_next"]) == ["return SGD(tensors, lr=rate)"]


def test_what_was_read_is_read_again_after_the_file_has_changed(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def derivation(P, X):\n    dW1 = X\n    return {'dW1': dW1}\n")
    spec = importlib.util.spec_from_file_location("mine", file)
    mine = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mine)
    (first,) = listing.by_hand(mine.derivation, {"dW1": "dW1"})
    assert listing.by_hand(mine.derivation, {"dW1": "dW1"})[0] is first
    assert listing.by_hand(mine.derivation, {"dW1": "X"})[0].tensors == {}
    file.write_text("def derivation(P, X):\n    dW1 = X + 1  # changed\n    return {'dW1': dW1}\n")
    (again,) = listing.by_hand(mine.derivation, {"dW1": "dW1"})
    assert "# changed" in again.text


REFERENCE = """
    def reference(p, X):
        Z = tap("Z", p["W1"] @ X)
        A = tap("A", Z * Z)
        return A.sum()
"""


def test_in_torch_a_gradient_is_taken_where_its_tensor_is_read():
    names, lines = module(REFERENCE)
    reads = {"Z": ("W1",), "A": ("Z",), "J": ("A",)}
    (piece,) = listing.in_torch(names["reference"], ["Z", "dZ", "dW1", "dA", "J"], reads)
    at = {name: texts(lines, numbers) for name, numbers in piece.tensors.items()}
    first, second, last = (line.strip() for line in lines[1:4])
    assert at == {"Z": [first], "dW1": [first], "dZ": [second], "dA": [last], "J": [last]}


def test_a_report_has_the_code_of_both_sides_with_the_wrong_line():
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
    assert (by_hand.side, in_torch.side, by_hand.file) == ("by hand", "torch", named(__file__))
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
