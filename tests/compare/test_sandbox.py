"""Code that is not ours is called on copies, leaves no trace, and what goes wrong in it is kept."""

import random
import threading
from copy import deepcopy

import numpy as np
import pytest
import torch

from handgrad.compare.errors import InputError
from handgrad.compare.facts.failures import NotReal, Raised
from handgrad.compare.ownership import named
from handgrad.compare.per_example import per_example
from handgrad.compare.sandbox import (
    Call,
    as_record,
    assigned_at,
    call,
    defaulting_to,
    fresh,
    located,
    quietly,
    undisturbed,
)

PARAMS = {"w": np.array([1.0, 2.0])}
BATCH = {"x": np.array([3.0, 4.0])}
HERE = named(__file__)


def right(p, x):
    return {"J": p["w"] @ x, "dw": x}


# --- one call


def test_what_is_returned_is_kept_by_name():
    made = call(right, PARAMS, BATCH)
    assert {name: array.tolist() for name, array in made.records.items()} == {"J": 11.0, "dw": [3.0, 4.0]}
    assert (made.is_usable, made.raised, made.instead, made.mutated, made.aliased) == (True, None, "", (), ())


def test_records_are_copies_that_cannot_be_changed():
    kept = {}

    def keeping(p, x):
        kept["dw"] = 2 * x
        return kept

    made = call(keeping, PARAMS, BATCH)
    kept["dw"][:] = 0
    assert made.records["dw"].tolist() == [6.0, 8.0]
    assert not made.records["dw"].flags.writeable


def test_what_is_changed_is_told_and_does_not_reach_the_caller():
    def greedy(p, x):
        p["w"] += 1
        x *= 2
        return right(p, x)

    assert call(greedy, PARAMS, BATCH).mutated == ("w", "x")
    assert (PARAMS["w"].tolist(), BATCH["x"].tolist()) == ([1.0, 2.0], [3.0, 4.0])


@pytest.mark.parametrize(("returned", "instead"), [(None, "None"), ([1], "a list"), (np.ones(1), "an ndarray")])
def test_what_is_no_mapping_is_told(returned, instead):
    def changing(p, x):
        x[:] = 0
        return returned

    made = call(changing, PARAMS, BATCH)
    assert (made.instead, made.is_usable, made.mutated) == (instead, False, ("x",))


def test_an_exception_is_kept_with_its_line_and_the_name_it_was_to_assign():
    def failing(p, x):
        dw = p["w"] @ np.ones(3)
        return {"dw": dw}

    made = call(failing, PARAMS, BATCH)
    assert (made.raised.exception, made.raised.file) == ("ValueError", HERE)
    assert made.raised.line == failing.__code__.co_firstlineno + 1
    assert (made.assigned, made.records, made.is_usable) == ("dw", {}, False)


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, RecursionError, StopIteration])
def test_whatever_is_raised_is_kept(error):
    def raising(p, x):
        raise error("no")

    assert call(raising, PARAMS, BATCH).raised.exception == error.__name__


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError])
def test_what_the_person_at_the_keyboard_asks_for_and_our_own_messages_pass(error):
    def raising(p, x):
        raise error("no")

    with pytest.raises(error):
        call(raising, PARAMS, BATCH)


def test_nothing_is_written_to_the_terminal_by_numpy(recwarn):
    def overflowing(p, x):
        return {"J": np.exp(1000 * x).sum() / 0.0, "c": np.real(np.array(1j)).astype(float)}

    assert np.isinf(call(overflowing, PARAMS, BATCH).records["J"])
    assert not recwarn.list


# --- shared memory

buffer = np.arange(6.0)
MEMORY = {
    "none": ({"a": np.ones(2), "b": np.ones(2)}, ()),
    "the same": ({"a": buffer, "b": buffer}, (("a", "b"),)),
    "a view": ({"a": buffer, "b": buffer.reshape(2, 3).T}, (("a", "b"),)),
    "views of one owner": ({"a": buffer[:4], "b": buffer[2:]}, (("a", "b"),)),
    "views that do not overlap": ({"a": buffer[:3], "b": buffer[3:]}, ()),
    "three": ({"a": buffer, "b": buffer[:2], "c": buffer[4:]}, (("a", "b"), ("a", "c"))),
    "empty": ({"a": buffer[:0], "b": buffer[:0]}, ()),
    "no arrays": ({"a": "x", "b": "x"}, ()),
}


@pytest.mark.parametrize(("returned", "pairs"), MEMORY.values(), ids=MEMORY)
def test_which_arrays_share_memory(returned, pairs):
    assert call(lambda p, x: returned, PARAMS, BATCH).aliased == pairs


# --- names that may be gradients or values


def test_what_a_name_stands_for_is_known_where_the_reference_is():
    def one(p, x):
        return {"dist": p["w"][0] * x}

    made = call(per_example(one, axis=0), PARAMS, BATCH)
    np.testing.assert_allclose(made.records["dist"], [1.5, 2.0])
    assert made.read_for(["J"]) is made
    np.testing.assert_allclose(made.read_for(["dist", "J"]).records["dist"], [3.0, 4.0])


# --- records

RECORDS = {
    "a number": (1.5, np.array(1.5)),
    "a list": ([[1, 2], [3, 4]], np.array([[1, 2], [3, 4]])),
    "a tensor": (torch.ones(2, requires_grad=True), np.ones(2, "f4")),
    "extended precision": (np.ones(2, np.longdouble), np.ones(2)),
    "an extended number": (np.longdouble(1.5), np.array(1.5)),
    "another byte order": (np.ones(2, ">f4"), np.ones(2, "f4")),
    "bfloat16": (torch.ones(2, dtype=torch.bfloat16), np.ones(2, "f4")),
    "float8": (torch.ones(2).to(torch.float8_e4m3fn), np.ones(2, "f4")),
    "a matrix": (np.array([[1.0, 2.0]]).view(np.matrix), np.array([[1.0, 2.0]])),
    "None": (None, np.array(NotReal("None"), object)),
    "ragged": ([[1.0], [1.0, 2.0]], np.array(NotReal("a list"), object)),
    "a subclass": (np.ma.masked_all(2), np.array(NotReal("a MaskedArray"), object)),
}


@pytest.mark.parametrize(("value", "record"), RECORDS.values(), ids=RECORDS)
def test_a_record_is_an_array_or_says_what_it_is(value, record):
    made = as_record(value)
    np.testing.assert_array_equal(made, record)
    assert (made.dtype, made.dtype.isnative, made.flags.writeable) == (record.dtype, True, False)


# --- exceptions


def raised_by(act):
    try:
        act()
    except BaseException as error:
        return error
    pytest.fail("it raises nothing")


def test_the_line_of_an_exception_is_the_users_own():
    def deep():
        return np.linalg.inv(np.ones((2, 3)))

    made = located(raised_by(deep))
    assert (made.exception, made.file, made.line) == ("LinAlgError", HERE, deep.__code__.co_firstlineno + 1)


def test_code_that_does_not_parse_is_told_where_it_stands():
    made = located(raised_by(lambda: compile("x = 1\ny = (", "theirs.py", "exec")))
    assert (made.exception, made.file, made.line) == ("SyntaxError", "theirs.py", 2)


def test_what_no_file_raised_has_none():
    assert located(ValueError("two\n lines")) == Raised("ValueError", "two lines")


def test_a_message_that_cannot_be_printed_is_the_type():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    assert located(Mute()).message == "<Mute>"


ASSIGNMENTS = {
    "a name": ("dW = X @ 0", "dW"),
    "an entry": ('grads["dW"] = 1 / 0', "dW"),
    "in place": ("dW += 1 / 0", "dW"),
    "a comparison": ("dW == 1 / 0", ""),
    "an expression": ("1 / 0", ""),
    "a call with names": ("dict(dW=1 / 0)", ""),
}


@pytest.mark.parametrize(("line", "name"), ASSIGNMENTS.values(), ids=ASSIGNMENTS)
def test_the_name_that_a_line_was_to_assign(tmp_path, line, name):
    path = tmp_path / "theirs.py"
    path.write_text(f"X, dW, grads = 1, 1, {{}}\nif True:\n    {line}\n")
    error = raised_by(lambda: exec(compile(path.read_text(), str(path), "exec"), {}))
    assert assigned_at(error) == name


def test_a_line_that_cannot_be_read_assigns_nothing():
    assert assigned_at(raised_by(lambda: exec("dW = 1 / 0", {}))) == ""
    assert assigned_at(ValueError()) == ""


# --- copies, and what is put back


def test_a_fresh_copy_keeps_nothing_of_the_last_run():
    class Counting:
        count = 0

        def step(self):
            self.count += 1
            return self.count

    ours = Counting()
    assert [fresh(ours).step(), fresh(ours.step)(), ours.step()] == [1, 1, 1]


def test_what_cannot_be_copied_is_handed_on():
    lock = threading.Lock()
    with pytest.raises(TypeError):
        deepcopy(lock)
    assert fresh(lock) is lock


def test_quietly_nothing_raises_and_nothing_is_set_for_good(recwarn):
    before = np.geterr()
    with quietly():
        assert np.isinf(np.float64(1) / 0)
    assert np.geterr() == before
    assert not recwarn.list


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_torch_makes_new_tensors_in_a_dtype_while_it_is_asked_to(dtype):
    def failing():
        assert torch.ones(1).dtype == getattr(torch, dtype)
        raise KeyError

    before = torch.get_default_dtype()
    with pytest.raises(KeyError), defaulting_to(dtype):
        failing()
    assert torch.get_default_dtype() == before


def states():
    generators = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002  # the user's
    return (
        *generators,
        torch.get_default_dtype(),
        torch.get_num_threads(),
        np.geterr(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
    )


def disturb():
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002  # the user's doing
    torch.manual_seed(1)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(torch.get_num_threads() + 1)
    np.seterr(all="raise")
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)
    raise KeyError


def test_all_that_was_set_is_put_back_also_after_an_exception():
    before = states()
    with pytest.raises(KeyError), undisturbed():
        disturb()
    assert states() == before


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
def test_gradients_are_taken_whatever_is_around(around):
    with around():
        with undisturbed():
            w = torch.ones(1, requires_grad=True)
            assert (2 * w).requires_grad
        assert not torch.is_grad_enabled()


def test_a_call_without_anything_is_usable():
    assert Call().is_usable
