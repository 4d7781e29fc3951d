"""Attention, an LSTM and pooled embeddings by hand, and the slips that people make in them."""

from math import sqrt

import torch
import torch.nn.functional as F

from handgrad import tap
from tests.corpus.planted import Mistake, Operation


# attention with a causal mask ----------------------------------------------------------------------------------------
def reference_attention(params, X, T):
    """Compute half the squared error of one head of causal attention."""
    Q, K, V = (tap(name, X @ params[f"W{name}"]) for name in "QKV")
    n, d = Q.shape
    later = torch.triu(torch.ones(n, n), 1).bool()
    S = tap("S", (Q @ K.T / sqrt(d)).masked_fill(later, -1e9))
    O = tap("O", tap("P", torch.softmax(S, dim=1)) @ V)
    return ((O - T) ** 2).sum() / 2


def _draw_attention(rng):
    params = {f"W{name}": rng.standard_normal((4, 3)) for name in "QKV"}
    return params, (rng.standard_normal((6, 4)), rng.standard_normal((6, 3)))


ATTENTION = """def derivation(params, X, T):
    # forward
    Q, K, V = X @ params["WQ"], X @ params["WK"], X @ params["WV"]
    n, d = Q.shape
    later = np.triu(np.ones((n, n)), 1) > 0
    S = np.where(later, -1e9, Q @ K.T / np.sqrt(d))
    E = np.exp(S - S.max(axis=1, keepdims=True))
    P = E / E.sum(axis=1, keepdims=True)
    O = P @ V
    J = ((O - T) ** 2).sum() / 2

    # backward
    dO = O - T
    dP = dO @ V.T
    dV = P.T @ dO
    dS = P * (dP - (dP * P).sum(axis=1, keepdims=True))
    G = np.where(later, 0, dS)
    dQ = G @ K / np.sqrt(d)
    dK = G.T @ Q / np.sqrt(d)
    forward = {"J": J, "Q": Q, "K": K, "V": V, "S": S, "P": P, "O": O}
    backward = {"dO": dO, "dP": dP, "dV": dV, "dS": dS, "dQ": dQ, "dK": dK}
    return {**forward, **backward, "dWQ": X.T @ dQ, "dWK": X.T @ dK, "dWV": X.T @ dV}
"""

SOFTMAX_BACKWARD = "P * (dP - (dP * P).sum(axis=1, keepdims=True))"
ATTENTION_MISTAKES = (
    Mistake("The row sum is left out of dS.", SOFTMAX_BACKWARD, "P * dP"),
    Mistake("The sum in dS runs over the queries.", "(dP * P).sum(axis=1,", "(dP * P).sum(axis=0,"),
    Mistake("The row sum in dS is that of dP alone.", "(dP * P).sum(", "dP.sum("),
    Mistake("P is left out before the bracket.", "dS = P * (dP", "dS = (dP"),
    Mistake("The softmax is differentiated entry by entry.", SOFTMAX_BACKWARD, "dP * P * (1 - P)"),
    Mistake("The root of d is left out of dQ.", "G @ K / np.sqrt(d)", "G @ K"),
    Mistake("dK is divided by d.", "G.T @ Q / np.sqrt(d)", "G.T @ Q / d"),
    Mistake("dQ reads the queries.", "dQ = G @ K", "dQ = G @ Q"),
    Mistake("dS is not transposed in dK.", "dK = G.T @ Q", "dK = G @ Q"),
    Mistake("P is not transposed in dV.", "dV = P.T @ dO", "dV = P @ dO"),
    Mistake("dV reads the scores.", "dV = P.T @ dO", "dV = S.T @ dO"),
    Mistake("The mask is left out.", "S = np.where(later, -1e9, Q @ K.T / np.sqrt(d))", "S = Q @ K.T / np.sqrt(d)"),
    Mistake("The mask begins one key too late.", "np.ones((n, n)), 1)", "np.ones((n, n)), 2)"),
    Mistake("The softmax runs over the queries.", "P = E / E.sum(axis=1, keepdims=True)", "P = E / E.sum(axis=0)"),
    Mistake("The scores are multiplied by the root of d.", "Q @ K.T / np.sqrt(d)", "Q @ K.T * np.sqrt(d)"),
    Mistake("dP reads the keys.", "dP = dO @ V.T", "dP = dO @ K.T"),
)


# LSTM ----------------------------------------------------------------------------------------------------------------
def reference_lstm(params, X, T):
    """Compute half the squared error of the last state of an LSTM."""
    h = torch.zeros(X.shape[1], len(params["b"]) // 4)
    c = torch.zeros_like(h)
    for t in range(1, len(X) + 1):
        gates = (X[t - 1] @ params["W"] + h @ params["R"] + params["b"]).chunk(4, dim=1)
        i, f, g, o = (tap(f"{name}{t}", gate) for name, gate in zip("ifgo", gates, strict=True))
        c = tap(f"c{t}", torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g))
        h = tap(f"h{t}", torch.sigmoid(o) * torch.tanh(c))
    return ((h - T) ** 2).sum() / 2


def _draw_lstm(rng):
    params = {"W": rng.standard_normal((2, 12)), "R": rng.standard_normal((3, 12)), "b": rng.standard_normal(12)}
    return params, (rng.standard_normal((3, 4, 2)), rng.standard_normal((4, 3)))


LSTM = """def derivation(params, X, T):
    W, R, b = params["W"], params["R"], params["b"]
    steps, n, _ = X.shape
    taken = {}

    def s(x):
        return 1 / (1 + np.exp(-x))

    # forward
    h = np.zeros((n, len(b) // 4))
    c = np.zeros_like(h)
    kept = {0: (None, None, None, None, c, h)}
    for t in range(1, steps + 1):
        i, f, g, o = np.split(X[t - 1] @ W + h @ R + b, 4, axis=1)
        c = s(f) * c + s(i) * np.tanh(g)
        h = s(o) * np.tanh(c)
        kept[t] = i, f, g, o, c, h
        taken |= {f"i{t}": i, f"f{t}": f, f"g{t}": g, f"o{t}": o, f"c{t}": c, f"h{t}": h}
    J = ((h - T) ** 2).sum() / 2

    # backward
    dh = h - T
    dc = np.zeros_like(c)
    dW, dR, db = np.zeros_like(W), np.zeros_like(R), np.zeros_like(b)
    for t in range(steps, 0, -1):
        i, f, g, o, c, h = kept[t]
        *_, c_prev, h_prev = kept[t - 1]
        taken[f"dh{t}"] = dh
        do = dh * np.tanh(c) * s(o) * (1 - s(o))
        dc = dc + dh * s(o) * (1 - np.tanh(c) ** 2)
        taken[f"dc{t}"] = dc
        di = dc * np.tanh(g) * s(i) * (1 - s(i))
        dg = dc * s(i) * (1 - np.tanh(g) ** 2)
        df = dc * c_prev * s(f) * (1 - s(f))
        dgates = np.concatenate([di, df, dg, do], axis=1)
        taken |= {f"di{t}": di, f"dg{t}": dg, f"do{t}": do}
        if t > 1:
            taken[f"df{t}"] = df
        dW = dW + X[t - 1].T @ dgates
        dR = dR + h_prev.T @ dgates
        db = db + dgates.sum(axis=0)
        dh = dgates @ R.T
        dc = dc * s(f)
    return {"J": J, **taken, "dW": dW, "dR": dR, "db": db}
"""

LSTM_MISTAKES = (
    Mistake("df reads the cell of its own step.", "df = dc * c_prev", "df = dc * c"),
    Mistake("do reads the cell without its tanh.", "do = dh * np.tanh(c)", "do = dh * c"),
    Mistake("The derivative of the output gate is left out.", "np.tanh(c) * s(o) * (1 - s(o))", "np.tanh(c)"),
    Mistake(
        "The tanh of the cell is differentiated at h.", "s(o) * (1 - np.tanh(c) ** 2)", "s(o) * (1 - np.tanh(h) ** 2)"
    ),
    Mistake("The derivative of the tanh has the cell itself.", "s(o) * (1 - np.tanh(c) ** 2)", "s(o) * (1 - c**2)"),
    Mistake("The way along the cells is left out.", "dc = dc + dh * s(o)", "dc = dh * s(o)"),
    Mistake("The forget gate is left out on the way back.", "dc = dc * s(f)", "dc = dc * 1"),
    Mistake("di reads the candidate without its tanh.", "di = dc * np.tanh(g)", "di = dc * g"),
    Mistake("dg reads the forget gate.", "dg = dc * s(i)", "dg = dc * s(f)"),
    Mistake("The derivative of the candidate is left out.", "dg = dc * s(i) * (1 - np.tanh(g) ** 2)", "dg = dc * s(i)"),
    Mistake("dR reads the state of its own step.", "h_prev.T @ dgates", "h.T @ dgates"),
    Mistake("dW is that of the first step alone.", "dW = dW + X[t - 1]", "dW = X[t - 1]"),
    Mistake("Two gates change places on the way back.", "[di, df, dg, do]", "[di, dg, df, do]"),
    Mistake("The candidate has a ReLU.", "s(i) * np.tanh(g)\n", "s(i) * np.maximum(g, 0)\n"),
    Mistake("Input and forget gate change places.", "s(f) * c + s(i) * np.tanh(g)", "s(i) * c + s(f) * np.tanh(g)"),
)


# pooled embeddings ---------------------------------------------------------------------------------------------------
def reference_embedding(params, words, T):
    """Compute half the squared error of a linear map of the mean embedding of some words."""
    M = tap("M", tap("V", F.embedding(words, params["E"])).mean(dim=1))
    return ((tap("Z", M @ params["W"]) - T) ** 2).sum() / (2 * len(T))


def _draw_embedding(rng):
    params = {"E": rng.standard_normal((6, 4)), "W": rng.standard_normal((4, 3))}
    return params, (rng.integers(0, 6, (5, 3)), rng.standard_normal((5, 3)))


EMBEDDING = """def derivation(params, words, T):
    E, W = params["E"], params["W"]
    n, m = words.shape

    # forward
    V = E[words]
    M = V.mean(axis=1)
    Z = M @ W
    J = ((Z - T) ** 2).sum() / (2 * n)

    # backward
    dZ = (Z - T) / n
    dW = M.T @ dZ
    dM = dZ @ W.T
    dV = np.repeat(dM[:, None], m, axis=1) / m
    dE = np.zeros_like(E)
    np.add.at(dE, words, dV)
    return {"J": J, "V": V, "M": M, "Z": Z, "dZ": dZ, "dW": dW, "dM": dM, "dV": dV, "dE": dE}
"""

EMBEDDING_MISTAKES = (
    Mistake("Words that stand several times are overwritten.", "np.add.at(dE, words, dV)", "dE[words] = dV"),
    Mistake("The number of words is left out of dV.", "m, axis=1) / m", "m, axis=1)"),
    Mistake("The words are summed.", "M = V.mean(axis=1)", "M = V.sum(axis=1)"),
    Mistake("The first word alone is taken.", "M = V.mean(axis=1)", "M = V[:, 0]"),
    Mistake("The largest entries are taken.", "M = V.mean(axis=1)", "M = V.max(axis=1)"),
    Mistake("Every word is the one before.", "V = E[words]", "V = E[np.roll(words, 1, axis=1)]"),
    Mistake(
        "Each row is divided by how often its word stands.",
        "np.add.at(dE, words, dV)",
        "np.add.at(dE, words, dV)\n    dE /= np.maximum(np.bincount(words.ravel(), minlength=6), 1)[:, None]",
    ),
)


OPERATIONS = (
    Operation("attention", reference_attention, ATTENTION, _draw_attention, ATTENTION_MISTAKES),
    Operation("LSTM", reference_lstm, LSTM, _draw_lstm, LSTM_MISTAKES),
    Operation("embedding", reference_embedding, EMBEDDING, _draw_embedding, EMBEDDING_MISTAKES),
)
