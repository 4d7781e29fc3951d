"""Malformed derivations, updates and trainers: a finding or one sentence, never a traceback of ours."""

import contextlib

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handgrad import InputError, Report, check_gradients, check_initializer, check_training, check_updates, tap

PARAMS = {"W": np.arange(1.0, 7.0).reshape(2, 3), "b": np.array([0.5, -0.5])}
BATCH = (np.linspace(-1, 1, 12).reshape(4, 3), np.linspace(2, 3, 8).reshape(4, 2))
NAMES = ("W", "b", "X", "Z", "J", "dW", "db", "dX", "dZ", "dw", "", "v", "vW", "W_next", "Z[2]")


def reference(p, X, Y):
    Z = tap("Z", X @ p["W"].T + p["b"])
    return ((Z - Y) ** 2).mean()


class Subclass(np.ndarray):
    """As np.matrix is one, without its warning."""


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(), st.complex_numbers(), st.text(max_size=3)
)
shapes = st.sampled_from([(), (0,), (1,), (2,), (3,), (2, 1), (1, 2), (2, 3), (3, 2), (4, 2), (2, 2, 3), (4, 0)])
dtypes = st.sampled_from(["f8", "f4", "f2", "i8", "u1", "?", "c16", "O", "U3", "M8[s]", "longdouble"])


@st.composite
def arrays(draw):
    array = np.zeros(draw(shapes), draw(dtypes))
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            array = array + draw(st.sampled_from([0.0, 1.0, -2.5, np.nan, np.inf, 1e300, 1e-320]))
    return draw(st.sampled_from([array, array.tolist(), np.zeros((2, 3)).view(Subclass), np.ma.masked_all((2, 3))]))


TENSORS = (torch.ones(2, 3), torch.ones(2, 3, requires_grad=True), torch.ones(2, 3, dtype=torch.bfloat16))


values = st.one_of(scalars, arrays(), st.lists(scalars, max_size=3), st.just(object()), st.sampled_from(TENSORS))
returned = st.one_of(values, st.dictionaries(st.one_of(st.sampled_from(NAMES), scalars), values, max_size=5))


def sound(act):
    """Whatever it is handed, a check reports or says what to change; and the report can be shown in every form."""
    with contextlib.suppress(InputError):  # a message of one line by construction
        report = act()
        assert isinstance(report, Report)
        assert str(report)
        assert report.to_markdown()
        assert report.to_json()


fuzz = settings(max_examples=50, suppress_health_check=list(HealthCheck))


@fuzz
@given(returned)
def test_derivations_that_return_anything(result):
    sound(lambda: check_gradients(lambda p, X, Y: result, reference, PARAMS, BATCH))


@fuzz
@given(returned, st.one_of(values, st.tuples(values, values)))
def test_params_and_batches_of_anything(params, batch):
    sound(lambda: check_gradients(lambda p, X, Y: {"dW": p["W"]}, reference, params, batch))


@fuzz
@given(st.one_of(returned, st.tuples(returned, values)))
def test_updates_that_return_anything(result):
    sound(lambda: check_updates(lambda p, g, s: result, lambda t: torch.optim.SGD(t, lr=0.1), PARAMS))


@fuzz
@given(st.lists(returned, max_size=4))
def test_trainers_that_yield_anything(results):
    sound(lambda: check_training(lambda p, b: iter(results), reference, torch.optim.Adam, PARAMS, [BATCH] * 2))


@fuzz
@given(values)
def test_references_that_return_anything(result):
    sound(lambda: check_gradients(lambda p, X, Y: {"dW": p["W"]}, lambda p, X, Y: result, PARAMS, BATCH))


@fuzz
@given(values, shapes)
def test_initializers_that_return_anything(result, shape):
    sound(lambda: check_initializer(lambda s, rng: result, torch.nn.init.normal_, shape))
