"""Smoothed cross-entropy, focal loss and the KL divergence by hand, and the slips that people make in them."""

import numpy as np
import torch
import torch.nn.functional as F

from handgrad import tap
from tests.corpus.planted import Mistake, Operation


def _one_hot(rng, n, classes):
    return np.eye(classes)[rng.integers(0, classes, n)]


# cross-entropy with smoothed labels ----------------------------------------------------------------------------------
def reference_cross_entropy(params, X, Y):
    """Compute the cross-entropy of an affine map with labels that keep 0.9 of their weight."""
    Z = tap("Z", X @ params["W"] + params["b"])
    S = tap("S", 0.9 * Y + 0.1 / Y.shape[1])
    return -(S * F.log_softmax(Z, dim=1)).sum() / len(X)


def _draw_cross_entropy(rng):
    params = {"W": rng.standard_normal((4, 3)), "b": rng.standard_normal(3)}
    return params, (rng.standard_normal((7, 4)), _one_hot(rng, 7, 3))


CROSS_ENTROPY = """def derivation(params, X, Y):
    n, K = Y.shape

    # forward
    Z = X @ params["W"] + params["b"]
    S = 0.9 * Y + 0.1 / K
    E = np.exp(Z - Z.max(axis=1, keepdims=True))
    P = E / E.sum(axis=1, keepdims=True)
    J = -(S * np.log(P)).sum() / n

    # backward
    dZ = (P - S) / n
    dW = X.T @ dZ
    db = dZ.sum(axis=0)
    return {"J": J, "Z": Z, "S": S, "dZ": dZ, "dW": dW, "db": db}
"""

CROSS_ENTROPY_MISTAKES = (
    Mistake("dZ reads the labels before smoothing.", "(P - S) / n", "(P - Y) / n"),
    Mistake("The smoothing is not shared among the classes.", "0.1 / K", "0.1"),
    Mistake("The smoothing is shared among the wrong classes.", "0.1 / K", "0.1 / (K - 1)"),
    Mistake("J reads the labels before smoothing.", "-(S * np.log", "-(Y * np.log"),
    Mistake("The logarithm is the decimal one.", "np.log(P)", "np.log10(P)"),
    Mistake("dZ normalises over the examples.", "dZ = (P - S)", "Q = np.exp(Z)\n    dZ = (Q / Q.sum(axis=0) - S)"),
    Mistake("The exponentials are not normalised.", "P = E / E.sum(axis=1, keepdims=True)", "P = E"),
    Mistake("dZ is divided by the number of entries.", "(P - S) / n", "(P - S) / P.size"),
    Mistake("The probabilities are left out of dZ.", "(P - S) / n", "-S / n"),
)


# focal loss ----------------------------------------------------------------------------------------------------------
def reference_focal(params, X, Y):
    """Compute the focal loss with exponent 2 of a softmax."""
    P = tap("P", torch.softmax(tap("Z", X @ params["W"]), dim=1))
    return -(Y * (1 - P) ** 2 * torch.log(P)).sum() / len(X)


def _draw_focal(rng):
    return {"W": rng.standard_normal((4, 3))}, (rng.standard_normal((7, 4)), _one_hot(rng, 7, 3))


FOCAL = """def derivation(params, X, Y):
    n = len(X)

    # forward
    Z = X @ params["W"]
    E = np.exp(Z - Z.max(axis=1, keepdims=True))
    P = E / E.sum(axis=1, keepdims=True)
    J = -(Y * (1 - P) ** 2 * np.log(P)).sum() / n

    # backward
    dP = Y * (2 * (1 - P) * np.log(P) - (1 - P) ** 2 / P) / n
    dZ = P * (dP - (dP * P).sum(axis=1, keepdims=True))
    dW = X.T @ dZ
    return {"J": J, "Z": Z, "P": P, "dP": dP, "dZ": dZ, "dW": dW}
"""

FOCAL_MISTAKES = (
    Mistake(
        "The weight is taken for a constant.", "(2 * (1 - P) * np.log(P) - (1 - P) ** 2 / P)", "(-((1 - P) ** 2) / P)"
    ),
    Mistake("The exponent does not come down.", "(2 * (1 - P) * np.log", "((1 - P) * np.log"),
    Mistake("The derivative of the weight has the wrong sign.", "(2 * (1 - P) * np.log", "(-2 * (1 - P) * np.log"),
    Mistake("The exponent in J is 1.", "(Y * (1 - P) ** 2 *", "(Y * (1 - P) *"),
    Mistake("The weight in J is P squared.", "(Y * (1 - P) ** 2 *", "(Y * P**2 *"),
    Mistake("J has no weight.", "(Y * (1 - P) ** 2 *", "(Y *"),
    Mistake("dZ has the diagonal alone.", "P * (dP - (dP * P).sum(axis=1, keepdims=True))", "dP * P * (1 - P)"),
)


# Kullback-Leibler divergence -----------------------------------------------------------------------------------------
def reference_divergence(params, X, Q):
    """Compute the divergence of a softmax from given distributions, in the mean over the batch."""
    L = tap("L", torch.log_softmax(tap("Z", X @ params["W"]), dim=1))
    return F.kl_div(L, Q, reduction="batchmean")


def _draw_divergence(rng):
    return {"W": rng.standard_normal((4, 3))}, (rng.standard_normal((7, 4)), rng.dirichlet(np.ones(3), 7))


DIVERGENCE = """def derivation(params, X, Q):
    n = len(X)

    # forward
    Z = X @ params["W"]
    L = Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))
    J = (Q * (np.log(Q) - L)).sum() / n

    # backward
    dL = -Q / n
    dZ = dL - np.exp(L) * dL.sum(axis=1, keepdims=True)
    dW = X.T @ dZ
    return {"J": J, "Z": Z, "L": L, "dL": dL, "dZ": dZ, "dW": dW}
"""

DIVERGENCE_MISTAKES = (
    Mistake("The entropy of the given distribution is left out.", "(Q * (np.log(Q) - L))", "(Q * -L)"),
    Mistake("The divergence is taken the other way round.", "(Q * (np.log(Q) - L))", "(np.exp(L) * (L - np.log(Q)))"),
    Mistake("J is the mean over all entries.", "(np.log(Q) - L)).sum() / n", "(np.log(Q) - L)).mean()"),
    Mistake("The normaliser is left out of dZ.", " - np.exp(L) * dL.sum(axis=1, keepdims=True)", ""),
    Mistake("L stands for its exponential.", "np.exp(L) * dL", "L * dL"),
    Mistake("The normaliser is added in dZ.", "dL - np.exp(L)", "dL + np.exp(L)"),
)


OPERATIONS = (
    Operation(
        "smoothed cross-entropy", reference_cross_entropy, CROSS_ENTROPY, _draw_cross_entropy, CROSS_ENTROPY_MISTAKES
    ),
    Operation("focal loss", reference_focal, FOCAL, _draw_focal, FOCAL_MISTAKES),
    Operation("divergence", reference_divergence, DIVERGENCE, _draw_divergence, DIVERGENCE_MISTAKES),
)
