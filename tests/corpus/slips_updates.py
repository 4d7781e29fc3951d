"""Adam with decay, RMSprop and Nesterov's momentum by hand, and the slips that people make in them."""

import torch

from tests.corpus.planted import Mistake, Rule


def _draw(rng):
    return {"W": rng.standard_normal((4, 3)), "b": rng.standard_normal(3)}


# Adam ----------------------------------------------------------------------------------------------------------------
def adam(tensors):
    """Make torch's Adam with decay in the gradient."""
    return torch.optim.Adam(tensors, lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1)


ADAM = """def update(params, grads, state):
    state = state or {"t": 0}
    t = state["t"] + 1
    kept, moved = {"t": t}, {}
    for name, w in params.items():
        m, s = state.get(name, (np.zeros_like(w), np.zeros_like(w)))
        g = grads["d" + name] + 0.1 * w
        m = 0.9 * m + (1 - 0.9) * g
        s = 0.999 * s + (1 - 0.999) * g * g
        kept[name] = m, s
        first = m / (1 - 0.9**t)
        second = s / (1 - 0.999**t)
        moved[name] = w - 0.01 * first / (np.sqrt(second) + 1e-8)
    return moved, kept
"""

ADAM_MISTAKES = (
    Mistake("The first moment is not corrected.", "first = m / (1 - 0.9**t)", "first = m"),
    Mistake("The second moment is not corrected.", "second = s / (1 - 0.999**t)", "second = s"),
    Mistake("The root is left out.", "np.sqrt(second)", "second"),
    Mistake("The second moment is that of g.", "(1 - 0.999) * g * g", "(1 - 0.999) * np.abs(g)"),
    Mistake("The decay is left out.", 'g = grads["d" + name] + 0.1 * w', 'g = grads["d" + name]'),
    Mistake("eps is larger and stands inside the root.", "np.sqrt(second) + 1e-8", "np.sqrt(second + 1e-4)"),
    Mistake("The shares of the first moment are exchanged.", "0.9 * m + (1 - 0.9) * g", "0.1 * m + (1 - 0.1) * g"),
    Mistake("The step goes up.", "w - 0.01", "w + 0.01"),
    Mistake("The rate enters twice.", "w - 0.01 * first", "w - 0.01 * 0.01 * first"),
    Mistake("eps is 1e-3.", "+ 1e-8", "+ 1e-3"),
    Mistake("The squares are not weighted.", "(1 - 0.999) * g * g", "g * g"),
    Mistake("The step takes the gradient.", "0.01 * first /", "0.01 * g /"),
)


# RMSprop -------------------------------------------------------------------------------------------------------------
def rmsprop(tensors):
    """Make torch's RMSprop."""
    return torch.optim.RMSprop(tensors, lr=0.01, alpha=0.99, eps=1e-8)


RMSPROP = """def update(params, grads, state):
    state, kept, moved = state or {}, {}, {}
    for name, w in params.items():
        before = state.get(name, np.zeros_like(w))
        g = grads["d" + name]
        s = 0.99 * before + (1 - 0.99) * g * g
        kept[name] = s
        moved[name] = w - 0.01 * g / (np.sqrt(s) + 1e-8)
    return moved, kept
"""

RMSPROP_MISTAKES = (
    Mistake("The root is left out.", "np.sqrt(s)", "s"),
    Mistake("The shares are exchanged.", "0.99 * before + (1 - 0.99) * g * g", "0.01 * before + (1 - 0.01) * g * g"),
    Mistake("The squares are summed.", "0.99 * before + (1 - 0.99) * g * g", "before + g * g"),
    Mistake("The step goes up.", "w - 0.01", "w + 0.01"),
    Mistake("The squares are not weighted.", "(1 - 0.99) * g * g", "g * g"),
    Mistake("|g| stands for its square.", "(1 - 0.99) * g * g", "(1 - 0.99) * np.abs(g)"),
    Mistake("The step reads the squares of the step before.", "np.sqrt(s)", "np.sqrt(before)"),
)


# Nesterov's momentum -------------------------------------------------------------------------------------------------
def nesterov(tensors):
    """Make torch's SGD with Nesterov's momentum."""
    return torch.optim.SGD(tensors, lr=0.1, momentum=0.9, nesterov=True)


NESTEROV = """def update(params, grads, state):
    state, kept, moved = state or {}, {}, {}
    for name, w in params.items():
        before = state.get(name, np.zeros_like(w))
        g = grads["d" + name]
        v = 0.9 * before + g
        kept[name] = v
        moved[name] = w - 0.1 * (g + 0.9 * v)
    return moved, kept
"""

NESTEROV_MISTAKES = (
    Mistake("Nothing looks ahead.", "(g + 0.9 * v)", "v"),
    Mistake("The momentum is left out of the look ahead.", "(g + 0.9 * v)", "(g + v)"),
    Mistake("The gradient is left out.", "(g + 0.9 * v)", "(0.9 * v)"),
    Mistake("The look ahead reads the velocity before.", "(g + 0.9 * v)", "(g + 0.9 * before)"),
    Mistake("The velocity is a weighted mean.", "0.9 * before + g\n", "0.9 * before + 0.1 * g\n"),
)


RULES = (
    Rule("Adam", adam, ADAM, _draw, ADAM_MISTAKES),
    Rule("RMSprop", rmsprop, RMSPROP, _draw, RMSPROP_MISTAKES),
    Rule("Nesterov", nesterov, NESTEROV, _draw, NESTEROV_MISTAKES),
)
