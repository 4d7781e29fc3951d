"""Layer norm, batch norm, RMS norm and cosine similarity by hand, and the slips that people make in them."""

import torch
import torch.nn.functional as F

from handgrad import tap
from tests.corpus.planted import Mistake, Operation


def _half_squares(out, T):
    return ((out - T) ** 2).sum() / (2 * len(T))


def _draw(rng):
    params = {"W": rng.standard_normal((4, 5)), "g": rng.standard_normal(5), "c": rng.standard_normal(5)}
    return params, (rng.standard_normal((7, 4)), rng.standard_normal((7, 5)))


# layer norm ----------------------------------------------------------------------------------------------------------
def reference_layer_norm(params, X, T):
    """Compute half the squared error behind an affine map and a layer norm with gain and offset."""
    U = tap("U", X @ params["W"])
    return _half_squares(tap("O", F.layer_norm(U, (U.shape[1],), params["g"], params["c"])), T)


LAYER_NORM = """def derivation(params, X, T):
    W, g, c = params["W"], params["g"], params["c"]
    n = len(X)

    # forward
    U = X @ W
    mean = U.mean(axis=1, keepdims=True)
    var = ((U - mean) ** 2).mean(axis=1, keepdims=True)
    r = 1 / np.sqrt(var + 1e-5)
    H = (U - mean) * r
    O = g * H + c
    J = ((O - T) ** 2).sum() / (2 * n)

    # backward
    dO = (O - T) / n
    dg = (dO * H).sum(axis=0)
    dc = dO.sum(axis=0)
    dH = dO * g
    along = (dH * H).mean(axis=1, keepdims=True)
    dU = r * (dH - dH.mean(axis=1, keepdims=True) - H * along)
    dW = X.T @ dU
    return {"J": J, "U": U, "O": O, "dO": dO, "dg": dg, "dc": dc, "dU": dU, "dW": dW}
"""

LAYER_NORM_MISTAKES = (
    Mistake("The part of dU along the normalised rows is left out.", " - H * along", ""),
    Mistake("The row mean of dH is not subtracted.", " - dH.mean(axis=1, keepdims=True)", ""),
    Mistake("Mean and variance are taken for constants.", "(dH - dH.mean(axis=1, keepdims=True) - H * along)", "dH"),
    Mistake("The gain is left out on the way back.", "dH = dO * g", "dH = dO"),
    Mistake("1/std is left out of dU.", "dU = r * (", "dU = ("),
    Mistake("1/std enters dU twice.", "dU = r * (", "dU = r * r * ("),
    Mistake("A sum stands where the mean of dH H belongs.", "(dH * H).mean(", "(dH * H).sum("),
    Mistake("eps stands outside the root.", "np.sqrt(var + 1e-5)", "(np.sqrt(var) + 1e-5)"),
    Mistake(
        "The variance is the unbiased one.",
        "((U - mean) ** 2).mean(axis=1, keepdims=True)",
        "U.var(axis=1, keepdims=True, ddof=1)",
    ),
    Mistake("The gradient of the gain reads U.", "dg = (dO * H)", "dg = (dO * U)"),
    Mistake("The mean is not subtracted before the division.", "H = (U - mean) * r", "H = U * r"),
    Mistake("The part along the normalised rows is added.", " - H * along", " + H * along"),
    Mistake("eps is a hundred times as large.", "var + 1e-5", "var + 1e-3"),
)


# batch norm ----------------------------------------------------------------------------------------------------------
def reference_batch_norm(params, X, T):
    """Compute half the squared error behind an affine map and a batch norm in training."""
    U = tap("U", X @ params["W"])
    return _half_squares(tap("O", F.batch_norm(U, None, None, params["g"], params["c"], training=True)), T)


BATCH_NORM = """def derivation(params, X, T):
    W, g, c = params["W"], params["g"], params["c"]
    n = len(X)

    # forward
    U = X @ W
    mean, var = U.mean(axis=0), U.var(axis=0)
    r = 1 / np.sqrt(var + 1e-5)
    H = (U - mean) * r
    O = g * H + c
    J = ((O - T) ** 2).sum() / (2 * n)

    # backward
    dO = (O - T) / n
    dg = (dO * H).sum(axis=0)
    dc = dO.sum(axis=0)
    dH = dO * g
    dU = r / n * (n * dH - dH.sum(axis=0) - H * (dH * H).sum(axis=0))
    dW = X.T @ dU
    return {"J": J, "U": U, "O": O, "dO": dO, "dg": dg, "dc": dc, "dU": dU, "dW": dW}
"""

BATCH_NORM_MISTAKES = (
    Mistake("The variance is the unbiased one.", "U.var(axis=0)", "U.var(axis=0, ddof=1)"),
    Mistake("The part along the normalised columns is left out.", " - H * (dH * H).sum(axis=0)", ""),
    Mistake("The sum over the batch is not subtracted.", " - dH.sum(axis=0)", ""),
    Mistake("U stands for the normalised columns.", "- H * (dH * H)", "- U * (dH * H)"),
    Mistake("1/n is left out of dU.", "dU = r / n * (", "dU = r * ("),
    Mistake("n is left out before dH.", "(n * dH -", "(dH -"),
    Mistake("The gradient of the gain reads the output.", "dg = (dO * H)", "dg = (dO * O)"),
    Mistake("The variance divides where its root should.", "1 / np.sqrt(var + 1e-5)", "1 / (var + 1e-5)"),
)


# RMS norm ------------------------------------------------------------------------------------------------------------
def reference_rms_norm(params, X, T):
    """Compute half the squared error behind an affine map and an RMS norm with gain."""
    U = tap("U", X @ params["W"])
    R = tap("R", torch.sqrt((U * U).mean(dim=1, keepdim=True) + 1e-6))
    return _half_squares(tap("O", params["g"] * U / R), T)


RMS_NORM = """def derivation(params, X, T):
    W, g = params["W"], params["g"]
    n, k = len(X), W.shape[1]

    # forward
    U = X @ W
    R = np.sqrt((U * U).mean(axis=1, keepdims=True) + 1e-6)
    O = g * U / R
    J = ((O - T) ** 2).sum() / (2 * n)

    # backward
    dO = (O - T) / n
    dg = (dO * U / R).sum(axis=0)
    dR = -(dO * g * U / R**2).sum(axis=1, keepdims=True)
    dU = dO * g / R + dR * U / (k * R)
    dW = X.T @ dU
    return {"J": J, "U": U, "R": R, "O": O, "dO": dO, "dg": dg, "dR": dR, "dU": dU, "dW": dW}
"""

RMS_NORM_MISTAKES = (
    Mistake("The way through R is left out.", " + dR * U / (k * R)", ""),
    Mistake("The squares are summed, not averaged.", "(U * U).mean(", "(U * U).sum("),
    Mistake("The number of columns is left out.", "dR * U / (k * R)", "dR * U / R"),
    Mistake("R is not squared in its gradient.", "U / R**2)", "U / R)"),
    Mistake("The gain is left out of dR.", "-(dO * g * U", "-(dO * U"),
    Mistake("dR has the wrong sign.", "dR = -(", "dR = ("),
    Mistake("1/R is left out of the gradient of the gain.", "dg = (dO * U / R)", "dg = (dO * U)"),
    Mistake(
        "The mean is subtracted as in a layer norm.", "O = g * U / R", "O = g * (U - U.mean(1, keepdims=True)) / R"
    ),
    Mistake("eps stands outside the root.", ", keepdims=True) + 1e-6)", ", keepdims=True)) + 1e-6"),
    Mistake("The root is left out.", "R = np.sqrt((U * U)", "R = ((U * U)"),
)


# cosine similarity ---------------------------------------------------------------------------------------------------
def reference_cosine(params, X, T):
    """Compute one minus the cosine between rows and their targets, in the mean."""
    U = tap("U", X @ params["W"])
    a = tap("a", torch.sqrt((U * U).sum(dim=1, keepdim=True)))
    b = torch.sqrt((T * T).sum(dim=1, keepdim=True))
    C = tap("C", (U * T).sum(dim=1, keepdim=True) / (a * b))
    return (1 - C).mean()


def _draw_cosine(rng):
    return {"W": rng.standard_normal((4, 3))}, (rng.standard_normal((7, 4)), rng.standard_normal((7, 3)))


COSINE = """def derivation(params, X, T):
    n = len(X)

    # forward
    U = X @ params["W"]
    a = np.sqrt((U * U).sum(axis=1, keepdims=True))
    b = np.sqrt((T * T).sum(axis=1, keepdims=True))
    C = (U * T).sum(axis=1, keepdims=True) / (a * b)
    J = (1 - C).mean()

    # backward
    dC = -np.ones_like(C) / n
    da = -dC * C / a
    dU = dC * T / (a * b) + da * U / a
    dW = X.T @ dU
    return {"J": J, "U": U, "a": a, "C": C, "dC": dC, "da": da, "dU": dU, "dW": dW}
"""

COSINE_MISTAKES = (
    Mistake("The way through the norm is left out.", " + da * U / a", ""),
    Mistake("The norm of U is left out of dU.", "dC * T / (a * b)", "dC * T / b"),
    Mistake(
        "The norm of U has no root.", "a = np.sqrt((U * U).sum(axis=1, keepdims=True))", "a = (U * U).sum(1)[:, None]"
    ),
    Mistake("The norm of the target is left out.", "keepdims=True) / (a * b)", "keepdims=True) / a"),
    Mistake("da has the wrong sign.", "da = -dC", "da = dC"),
    Mistake("J is the cosine itself.", "(1 - C).mean()", "C.mean()"),
    Mistake(
        "The norm is that of the whole batch.",
        "a = np.sqrt((U * U).sum(axis=1, keepdims=True))",
        "a = np.full((n, 1), np.sqrt((U * U).sum()))",
    ),
    Mistake("1/a is left out behind da.", "da * U / a", "da * U"),
)


OPERATIONS = (
    Operation("layer norm", reference_layer_norm, LAYER_NORM, _draw, LAYER_NORM_MISTAKES),
    Operation("batch norm", reference_batch_norm, BATCH_NORM, _draw, BATCH_NORM_MISTAKES),
    Operation("RMS norm", reference_rms_norm, RMS_NORM, _draw, RMS_NORM_MISTAKES),
    Operation("cosine similarity", reference_cosine, COSINE, _draw_cosine, COSINE_MISTAKES),
)
