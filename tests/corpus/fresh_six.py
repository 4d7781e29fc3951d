"""Mistakes made by hand in seven backward passes, residual block to Gaussian mixture, each one text edit."""

import numpy as np
import torch
import torch.nn.functional as F

from handgrad import tap
from tests.corpus.planted import Mistake, Operation

# --- 1. pre-activation residual block on embedded tokens


def residual_reference(params, X, Y):
    H0 = tap("H0", params["E"][X])
    centred = H0 - H0.mean(dim=1, keepdim=True)
    variance = (centred**2).mean(dim=1, keepdim=True)
    xhat = tap("xhat", centred / torch.sqrt(variance + 1e-5))
    L = tap("L", params["gamma"] * xhat + params["beta"])
    A = tap("A", L @ params["W1"] + params["b1"])
    R = tap("R", torch.relu(A))
    Z = tap("Z", H0 + R @ params["W2"] + params["b2"])
    return ((Z - Y) ** 2).mean()


RESIDUAL = """def derivation(params, X, Y):
    E, gamma, beta = params["E"], params["gamma"], params["beta"]
    W1, b1, W2, b2 = params["W1"], params["b1"], params["W2"], params["b2"]
    N, D = Y.shape

    # forward
    H0 = E[X]
    xc = H0 - H0.mean(axis=1, keepdims=True)
    var = (xc ** 2).mean(axis=1, keepdims=True)
    std = np.sqrt(var + 1e-5)
    xhat = xc / std
    L = gamma * xhat + beta
    A = L @ W1 + b1
    R = np.maximum(A, 0)
    Z = H0 + R @ W2 + b2
    J = np.mean((Z - Y) ** 2)

    # backward
    dZ = 2 * (Z - Y) / (N * D)
    dW2 = R.T @ dZ
    db2 = dZ.sum(axis=0)
    dR = dZ @ W2.T
    dA = dR * (A > 0)
    dW1 = L.T @ dA
    db1 = dA.sum(axis=0)
    dL = dA @ W1.T
    dgamma = (dL * xhat).sum(axis=0)
    dbeta = dL.sum(axis=0)
    dxhat = dL * gamma
    along = xhat * (dxhat * xhat).mean(axis=1, keepdims=True)
    dnorm = (dxhat - dxhat.mean(axis=1, keepdims=True) - along) / std
    dH0 = dZ + dnorm
    dE = np.zeros_like(E)
    np.add.at(dE, X, dH0)

    return {
        "J": J, "H0": H0, "xhat": xhat, "L": L, "A": A, "R": R, "Z": Z,
        "dH0": dH0, "dxhat": dxhat, "dL": dL, "dA": dA, "dR": dR, "dZ": dZ,
        "dE": dE, "dgamma": dgamma, "dbeta": dbeta, "dW1": dW1, "db1": db1, "dW2": dW2, "db2": db2,
    }
"""


def residual_draw(rng):
    params = {
        "E": rng.normal(size=(6, 5)),
        "gamma": rng.uniform(0.5, 1.8, size=5),
        "beta": rng.normal(size=5),
        "W1": rng.normal(size=(5, 7)) * 0.6,
        "b1": rng.normal(size=7) * 0.5,
        "W2": rng.normal(size=(7, 5)) * 0.6,
        "b2": rng.normal(size=5) * 0.5,
    }
    return params, (rng.integers(0, 6, size=9), rng.normal(size=(9, 5)))  # nine tokens of six: some come twice


RESIDUAL_MISTAKES = (
    Mistake(
        "The layer norm divides by the unbiased variance (Bessel's correction).",
        "var = (xc ** 2).mean(axis=1, keepdims=True)",
        "var = (xc ** 2).sum(axis=1, keepdims=True) / (D - 1)",
    ),
    Mistake(
        "The eps of the layer norm is added to the standard deviation, not to the variance.",
        "std = np.sqrt(var + 1e-5)",
        "std = np.sqrt(var) + 1e-5",
    ),
    Mistake(
        "The skip connection carries the normalised input, as in a post-norm block.",
        "Z = H0 + R @ W2 + b2",
        "Z = L + R @ W2 + b2",
    ),
    Mistake(
        "The gradient of the mean squared error divides by the rows alone, not by all elements.",
        "dZ = 2 * (Z - Y) / (N * D)",
        "dZ = 2 * (Z - Y) / N",
    ),
    Mistake(
        "The ReLU mask is taken from the incoming gradient, not from the pre-activation.",
        "dA = dR * (A > 0)",
        "dA = dR * (dR > 0)",
    ),
    Mistake(
        "The gradient of W1 uses the normalised input before the gain and the shift.",
        "dW1 = L.T @ dA",
        "dW1 = xhat.T @ dA",
    ),
    Mistake("The gain is forgotten on the way back through the layer norm.", "dxhat = dL * gamma", "dxhat = dL"),
    Mistake(
        "The layer norm's backward pass sums where it must average in the term along xhat.",
        "along = xhat * (dxhat * xhat).mean(axis=1, keepdims=True)",
        "along = xhat * (dxhat * xhat).sum(axis=1, keepdims=True)",
    ),
    Mistake(
        "The standard deviation is treated as a constant in the layer norm's backward pass.",
        "dnorm = (dxhat - dxhat.mean(axis=1, keepdims=True) - along) / std",
        "dnorm = (dxhat - dxhat.mean(axis=1, keepdims=True)) / std",
    ),
    Mistake("The path through the skip connection is forgotten.", "dH0 = dZ + dnorm", "dH0 = dnorm"),
    Mistake(
        "Fancy-index addition keeps only one of several occurrences of the same token.",
        "np.add.at(dE, X, dH0)",
        "dE[X] += dH0",
    ),
)


# --- 2. cross-attention with two heads


def attention_reference(params, X, M, keep, Y):
    B, Tq, _ = X.shape
    Tk = M.shape[1]
    width = params["Wq"].shape[1] // 2
    Q = tap("Q", (X @ params["Wq"] + params["bq"]).reshape(B, Tq, 2, width).transpose(1, 2))
    K = tap("K", (M @ params["Wk"]).reshape(B, Tk, 2, width).transpose(1, 2))
    V = tap("V", (M @ params["Wv"] + params["bv"]).reshape(B, Tk, 2, width).transpose(1, 2))
    S = tap("S", Q @ K.transpose(2, 3) / width**0.5)
    A = tap("A", torch.softmax(S.masked_fill(~(keep[:, None, None, :] > 0), -torch.inf), dim=-1))
    C = tap("C", (A @ V).transpose(1, 2).reshape(B, Tq, 2 * width))
    H = tap("H", X + C @ params["Wo"] + params["bo"])
    logits = tap("logits", H @ params["Wc"] + params["bc"])
    return F.cross_entropy(logits.reshape(B * Tq, -1), Y.reshape(-1))


ATTENTION = """def derivation(params, X, M, keep, Y):
    Wq, bq, Wk, Wv, bv = (params[name] for name in ("Wq", "bq", "Wk", "Wv", "bv"))
    Wo, bo, Wc, bc = (params[name] for name in ("Wo", "bo", "Wc", "bc"))
    B, Tq = Y.shape
    heads = 2
    width = Wq.shape[1] // heads

    def split(t):
        return t.reshape(B, -1, heads, width).transpose(0, 2, 1, 3)

    def merge(t):
        return t.transpose(0, 2, 1, 3).reshape(B, -1, heads * width)

    Q = split(X @ Wq + bq)
    K = split(M @ Wk)
    V = split(M @ Wv + bv)
    scale = 1.0 / np.sqrt(width)
    S = scale * np.einsum("bhqe,bhke->bhqk", Q, K)
    masked = np.where(keep[:, None, None, :] > 0, S, -np.inf)
    A = np.exp(masked - masked.max(axis=-1, keepdims=True))
    A = A / A.sum(axis=-1, keepdims=True)
    C = merge(np.einsum("bhqk,bhke->bhqe", A, V))
    H = X + C @ Wo + bo
    logits = H @ Wc + bc
    shifted = logits - logits.max(axis=-1, keepdims=True)
    logp = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    onehot = np.eye(logits.shape[-1])[Y]
    J = -(onehot * logp).sum() / (B * Tq)

    dlogits = (np.exp(logp) - onehot) / (B * Tq)
    dWc = np.einsum("btd,btc->dc", H, dlogits)
    dbc = dlogits.sum(axis=(0, 1))
    dH = dlogits @ Wc.T
    dWo = np.einsum("btc,btd->cd", C, dH)
    dbo = dH.sum(axis=(0, 1))
    dC = dH @ Wo.T
    dctx = split(dC)
    dA = np.einsum("bhqe,bhke->bhqk", dctx, V)
    dV = np.einsum("bhqk,bhqe->bhke", A, dctx)
    dS = A * (dA - (dA * A).sum(axis=-1, keepdims=True))
    dQ = scale * np.einsum("bhqk,bhke->bhqe", dS, K)
    dK = scale * np.einsum("bhqk,bhqe->bhke", dS, Q)
    dWq = np.einsum("btd,bte->de", X, merge(dQ))
    dbq = dQ.sum(axis=(0, 2)).reshape(-1)
    dWk = np.einsum("btd,bte->de", M, merge(dK))
    dWv = np.einsum("btd,bte->de", M, merge(dV))
    dbv = dV.sum(axis=(0, 2)).reshape(-1)

    return {
        "J": J, "Q": Q, "K": K, "V": V, "S": S, "A": A, "C": C, "H": H, "logits": logits,
        "dQ": dQ, "dK": dK, "dV": dV, "dS": dS, "dA": dA, "dC": dC, "dH": dH, "dlogits": dlogits,
        "dWq": dWq, "dbq": dbq, "dWk": dWk, "dWv": dWv, "dbv": dbv,
        "dWo": dWo, "dbo": dbo, "dWc": dWc, "dbc": dbc,
    }
"""


def attention_draw(rng):
    params = {
        "Wq": rng.normal(size=(6, 8)) * 0.5,
        "bq": rng.normal(size=8) * 0.5,
        "Wk": rng.normal(size=(7, 8)) * 0.5,
        "Wv": rng.normal(size=(7, 8)) * 0.5,
        "bv": rng.normal(size=8) * 0.5,
        "Wo": rng.normal(size=(8, 6)) * 0.5,
        "bo": rng.normal(size=6) * 0.5,
        "Wc": rng.normal(size=(6, 9)) * 0.5,
        "bc": rng.normal(size=9) * 0.5,
    }
    lengths = rng.integers(2, 5, size=4)  # of five keys, at least two are kept and at least one is not
    keep = (np.arange(5) < lengths[:, None]).astype(np.int64)
    return params, (rng.normal(size=(4, 3, 6)), rng.normal(size=(4, 5, 7)), keep, rng.integers(0, 9, size=(4, 3)))


ATTENTION_MISTAKES = (
    Mistake(
        "The scores are scaled by the width of all heads together, not of one.",
        "scale = 1.0 / np.sqrt(width)",
        "scale = 1.0 / np.sqrt(heads * width)",
    ),
    Mistake(
        "Masked scores are set to zero, so that padded keys still get weight.",
        "masked = np.where(keep[:, None, None, :] > 0, S, -np.inf)",
        "masked = np.where(keep[:, None, None, :] > 0, S, 0.0)",
    ),
    Mistake(
        "The heads are merged by a reshape without moving the head axis back.",
        "return t.transpose(0, 2, 1, 3).reshape(B, -1, heads * width)",
        "return t.reshape(B, -1, heads * width)",
    ),
    Mistake(
        "The gradient of the cross-entropy divides by the batch and not by the query positions.",
        "dlogits = (np.exp(logp) - onehot) / (B * Tq)",
        "dlogits = (np.exp(logp) - onehot) / B",
    ),
    Mistake(
        "The bias of the output projection averages over the positions where it must sum.",
        "dbo = dH.sum(axis=(0, 1))",
        "dbo = dH.sum(axis=0).mean(axis=0)",
    ),
    Mistake(
        "The gradient of the attention weights is taken against the keys, not the values.",
        'dA = np.einsum("bhqe,bhke->bhqk", dctx, V)',
        'dA = np.einsum("bhqe,bhke->bhqk", dctx, K)',
    ),
    Mistake(
        "The softmax is differentiated as if it were an elementwise sigmoid.",
        "dS = A * (dA - (dA * A).sum(axis=-1, keepdims=True))",
        "dS = dA * A * (1 - A)",
    ),
    Mistake(
        "The softmax's inner sum runs over the queries, not over the keys.",
        "(dA * A).sum(axis=-1, keepdims=True)",
        "(dA * A).sum(axis=-2, keepdims=True)",
    ),
    Mistake(
        "The scale is applied on the way to the keys and forgotten on the way to the queries.",
        'dQ = scale * np.einsum("bhqk,bhke->bhqe", dS, K)',
        'dQ = np.einsum("bhqk,bhke->bhqe", dS, K)',
    ),
    Mistake(
        "The key projection's gradient is a copy of the value projection's.",
        'dWk = np.einsum("btd,bte->de", M, merge(dK))',
        'dWk = np.einsum("btd,bte->de", M, merge(dV))',
    ),
    Mistake(
        "The attention weights are treated as constants, so that nothing flows to queries and keys.",
        "dS = A * (dA - (dA * A).sum(axis=-1, keepdims=True))",
        "dS = np.zeros_like(S)",
    ),
)


# --- 3. LSTM over a few steps, last state read out


def lstm_reference(params, X, Y):
    B, T, _ = X.shape
    h, c = params["h0"].expand(B, -1), params["c0"].expand(B, -1)
    for t in range(T):
        i, f, g, o = (X[:, t] @ params["Wx"] + h @ params["Wh"] + params["b"]).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    z = tap("z", h @ params["v"] + params["a"])
    return F.binary_cross_entropy_with_logits(z, Y.to(z.dtype))


LSTM = """def derivation(params, X, Y):
    Wx, Wh, b = params["Wx"], params["Wh"], params["b"]
    h0, c0, v, a = params["h0"], params["c0"], params["v"], params["a"]
    B, T, _ = X.shape
    H = h0.shape[0]

    def sigmoid(u):
        return 1 / (1 + np.exp(-u))

    hs = [np.tile(h0, (B, 1))]
    cs = [np.tile(c0, (B, 1))]
    gates = []
    for t in range(T):
        u = X[:, t] @ Wx + hs[t] @ Wh + b
        i = sigmoid(u[:, :H])
        f = sigmoid(u[:, H:2 * H])
        g = np.tanh(u[:, 2 * H:3 * H])
        o = sigmoid(u[:, 3 * H:])
        gates.append((i, f, g, o))
        cs.append(f * cs[t] + i * g)
        hs.append(o * np.tanh(cs[t + 1]))
    z = hs[T] @ v + a
    J = np.mean(np.logaddexp(0, z) - Y * z)

    dz = (sigmoid(z) - Y) / B
    dv = hs[T].T @ dz
    da = np.array([dz.sum()])
    dh = np.outer(dz, v)
    dc = np.zeros((B, H))
    dWx, dWh, db = np.zeros_like(Wx), np.zeros_like(Wh), np.zeros_like(b)
    for t in reversed(range(T)):
        i, f, g, o = gates[t]
        tc = np.tanh(cs[t + 1])
        do = dh * tc
        dc = dc + dh * o * (1 - tc ** 2)
        di = dc * g
        df = dc * cs[t]
        dg = dc * i
        du = np.concatenate([di * i * (1 - i), df * f * (1 - f), dg * (1 - g ** 2), do * o * (1 - o)], axis=1)
        dWx += X[:, t].T @ du
        dWh += hs[t].T @ du
        db += du.sum(axis=0)
        dh = du @ Wh.T
        dc = dc * f
    dh0 = dh.sum(axis=0)
    dc0 = dc.sum(axis=0)
    return {"J": J, "dWx": dWx, "dWh": dWh, "db": db, "dh0": dh0, "dc0": dc0, "dv": dv, "da": da}
"""


def lstm_draw(rng):
    params = {
        "Wx": rng.normal(size=(3, 24)) * 0.7,
        "Wh": rng.normal(size=(6, 24)) * 0.5,
        "b": rng.normal(size=24) * 0.5,
        "h0": rng.normal(size=6) * 0.6,
        "c0": rng.normal(size=6),
        "v": rng.normal(size=6),
        "a": rng.normal(size=1),
    }
    return params, (rng.normal(size=(4, 5, 3)), rng.permutation(np.array([0, 1, 1, 0])))


LSTM_MISTAKES = (
    Mistake(
        "The recurrence starts from a zero hidden state, not from the learned one.",
        "hs = [np.tile(h0, (B, 1))]",
        "hs = [np.zeros((B, H))]",
    ),
    Mistake(
        "The gradient of the logit has the wrong sign.",
        "dz = (sigmoid(z) - Y) / B",
        "dz = (Y - sigmoid(z)) / B",
    ),
    Mistake("The backward pass walks through time forwards.", "for t in reversed(range(T)):", "for t in range(T):"),
    Mistake(
        "The gradient that comes along the cell state is overwritten, not added to.",
        "dc = dc + dh * o * (1 - tc ** 2)",
        "dc = dh * o * (1 - tc ** 2)",
    ),
    Mistake(
        "The derivative of tanh is taken with the cell state in place of its tanh.",
        "dh * o * (1 - tc ** 2)",
        "dh * o * (1 - cs[t + 1] ** 2)",
    ),
    Mistake(
        "The forget gate meets the new cell state, one step late.",
        "df = dc * cs[t]",
        "df = dc * cs[t + 1]",
    ),
    Mistake(
        "The candidate goes through the derivative of the sigmoid, not of tanh.",
        "dg * (1 - g ** 2)",
        "dg * g * (1 - g)",
    ),
    Mistake(
        "The input and forget blocks of the gate gradient are exchanged.",
        "[di * i * (1 - i), df * f * (1 - f), ",
        "[df * f * (1 - f), di * i * (1 - i), ",
    ),
    Mistake(
        "The input weights' gradient is assigned in the loop and keeps one step alone.",
        "dWx += X[:, t].T @ du",
        "dWx = X[:, t].T @ du",
    ),
    Mistake("The cell gradient is carried back by the input gate, not the forget gate.", "dc = dc * f", "dc = dc * i"),
    Mistake(
        "The initial hidden state's gradient averages over the batch where it must sum.",
        "dh0 = dh.sum(axis=0)",
        "dh0 = dh.mean(axis=0)",
    ),
)


# --- 4. strided convolution, tanh, global average pooling, linear classifier


def convolution_reference(params, X, Y):
    P = tap("P", params["g"][:, None, None] * X)
    Z = tap("Z", F.conv2d(P, params["K"], params["b"], stride=2, padding=1))
    A = tap("A", torch.tanh(Z))
    G = tap("G", A.mean(dim=(2, 3)))
    S = tap("S", G @ params["W"] + params["c"])
    return F.cross_entropy(S, Y)


CONVOLUTION = """def derivation(params, X, Y):
    g, K, b, W, c = params["g"], params["K"], params["b"], params["W"], params["c"]
    N, C, height, width = X.shape
    filters, _, k, _ = K.shape
    stride, pad = 2, 1
    Ho = (height + 2 * pad - k) // stride + 1
    Wo = (width + 2 * pad - k) // stride + 1

    # ---- forward
    P = g[:, None, None] * X
    Pp = np.pad(P, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    Z = np.zeros((N, filters, Ho, Wo))
    for i in range(Ho):
        for j in range(Wo):
            top, left = i * stride, j * stride
            window = Pp[:, :, top:top + k, left:left + k]
            Z[:, :, i, j] = np.tensordot(window, K, axes=([1, 2, 3], [1, 2, 3])) + b
    A = np.tanh(Z)
    G = A.mean(axis=(2, 3))
    S = G @ W + c
    prob = np.exp(S - S.max(axis=1, keepdims=True))
    prob /= prob.sum(axis=1, keepdims=True)
    J = -np.log(prob[np.arange(N), Y]).mean()

    # ---- backward
    dS = prob.copy()
    dS[np.arange(N), Y] -= 1
    dS /= N
    dW = G.T @ dS
    dc = dS.sum(axis=0)
    dG = dS @ W.T
    dA = np.ones_like(A) * dG[:, :, None, None] / (Ho * Wo)
    dZ = dA * (1 - A ** 2)
    db = dZ.sum(axis=(0, 2, 3))
    dK = np.zeros_like(K)
    dPp = np.zeros_like(Pp)
    for i in range(Ho):
        for j in range(Wo):
            rows = slice(i * stride, i * stride + k)
            cols = slice(j * stride, j * stride + k)
            dK += np.tensordot(dZ[:, :, i, j], Pp[:, :, rows, cols], axes=([0], [0]))
            dPp[:, :, rows, cols] += np.tensordot(dZ[:, :, i, j], K, axes=([1], [0]))
    dP = dPp[:, :, pad:-pad, pad:-pad]
    dg = (dP * X).sum(axis=(0, 2, 3))

    return {"J": J, "P": P, "Z": Z, "A": A, "G": G, "S": S,
            "dP": dP, "dZ": dZ, "dA": dA, "dG": dG, "dS": dS,
            "dg": dg, "dK": dK, "db": db, "dW": dW, "dc": dc}
"""


def convolution_draw(rng):
    params = {
        "g": rng.uniform(0.4, 1.6, size=3),
        "K": rng.normal(size=(6, 3, 3, 3)) * 0.3,
        "b": rng.normal(size=6) * 0.4,
        "W": rng.normal(size=(6, 4)),
        "c": rng.normal(size=4) * 0.5,
    }
    return params, (rng.normal(size=(5, 3, 7, 9)), rng.integers(0, 4, size=5))


CONVOLUTION_MISTAKES = (
    Mistake(
        "The images are padded with their edge values, not with zeros.",
        "Pp = np.pad(P, ((0, 0), (0, 0), (pad, pad), (pad, pad)))",
        'Pp = np.pad(P, ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode="edge")',
    ),
    Mistake(
        "The kernel is flipped, as in the convolution of signal processing.",
        "np.tensordot(window, K, axes=([1, 2, 3], [1, 2, 3])) + b",
        "np.tensordot(window, K[:, :, ::-1, ::-1], axes=([1, 2, 3], [1, 2, 3])) + b",
    ),
    Mistake(
        "The softmax is normalised over the batch, not over the classes.",
        "prob /= prob.sum(axis=1, keepdims=True)",
        "prob /= prob.sum(axis=0, keepdims=True)",
    ),
    Mistake(
        "The gradient is sent back through the classifier's weights after their update.",
        "    dG = dS @ W.T",
        "    W = W - 0.1 * dW\n    dG = dS @ W.T",
    ),
    Mistake(
        "The pooling's gradient is not divided by the number of pooled positions.",
        "dA = np.ones_like(A) * dG[:, :, None, None] / (Ho * Wo)",
        "dA = np.ones_like(A) * dG[:, :, None, None]",
    ),
    Mistake(
        "The derivative of tanh is taken at its output in place of its input.",
        "dZ = dA * (1 - A ** 2)",
        "dZ = dA * (1 - np.tanh(A) ** 2)",
    ),
    Mistake(
        "The kernel's gradient comes out with its rows and columns transposed.",
        "dK += np.tensordot(dZ[:, :, i, j], Pp[:, :, rows, cols], axes=([0], [0]))",
        "dK += np.tensordot(dZ[:, :, i, j], Pp[:, :, rows, cols].swapaxes(2, 3), axes=([0], [0]))",
    ),
    Mistake(
        "Overlapping windows overwrite each other in the gradient of the padded input.",
        "dPp[:, :, rows, cols] += ",
        "dPp[:, :, rows, cols] = ",
    ),
    Mistake(
        "The backward pass steps the windows by one along the columns, not by the stride.",
        "cols = slice(j * stride, j * stride + k)",
        "cols = slice(j, j + k)",
    ),
    Mistake(
        "The padding is cut off at the end alone, so that the input's gradient is shifted by one.",
        "dP = dPp[:, :, pad:-pad, pad:-pad]",
        "dP = dPp[:, :, :-2 * pad, :-2 * pad]",
    ),
    Mistake(
        "The gain's gradient multiplies by the input that the gain has already scaled.",
        "dg = (dP * X).sum(axis=(0, 2, 3))",
        "dg = (dP * P).sum(axis=(0, 2, 3))",
    ),
)


# --- 5. logistic matrix completion


def completion_reference(params, X, Y):
    U, V = params["U"], params["V"]
    Z = tap("Z", U @ V.T + params["p"][:, None] + params["q"] + params["m"])
    observed = Y.to(Z.dtype)
    fit = (observed * F.binary_cross_entropy_with_logits(Z, X.to(Z.dtype), reduction="none")).sum() / observed.sum()
    return fit + 0.5 * 0.3 * ((U**2).sum() + (V**2).sum())


COMPLETION = """def derivation(params, X, Y):
    U, V, p, q, m = params["U"], params["V"], params["p"], params["q"], params["m"]
    lam = 0.3
    count = Y.sum()

    fit = 0.0
    dU, dV = np.zeros_like(U), np.zeros_like(V)
    dp, dq, dm = np.zeros_like(p), np.zeros_like(q), np.zeros_like(m)
    for user in range(U.shape[0]):
        for item in range(V.shape[0]):
            if Y[user, item] == 0:
                continue
            z = U[user] @ V[item] + p[user] + q[item] + m[0]
            x = X[user, item]
            fit += np.log1p(np.exp(z)) - x * z
            err = (1 / (1 + np.exp(-z)) - x) / count
            dU[user] += err * V[item]
            dV[item] += err * U[user]
            dp[user] += err
            dq[item] += err
            dm += err

    J = fit / count + 0.5 * lam * (np.sum(U ** 2) + np.sum(V ** 2))
    dU += lam * U
    dV += lam * V
    return {"J": J, "dU": dU, "dV": dV, "dp": dp, "dq": dq, "dm": dm}
"""


def completion_draw(rng):
    params = {
        "U": rng.normal(size=(6, 3)),
        "V": rng.normal(size=(8, 3)),
        "p": rng.normal(size=6),
        "q": rng.normal(size=8),
        "m": rng.normal(size=1),
    }
    observed = rng.permutation(np.repeat([1, 0], [29, 19])).reshape(6, 8)
    return params, (rng.permutation(np.repeat([1, 0], [23, 25])).reshape(6, 8), observed)


COMPLETION_MISTAKES = (
    Mistake(
        "The fit is divided by the number of all entries, not of the observed ones.",
        "count = Y.sum()",
        "count = Y.size",
    ),
    Mistake(
        "Entries are skipped by their rating and not by the mask, so that zeros count as missing.",
        "if Y[user, item] == 0:",
        "if X[user, item] == 0:",
    ),
    Mistake(
        "The loss for labels of plus and minus one is used with labels of zero and one.",
        "fit += np.log1p(np.exp(z)) - x * z",
        "fit += np.log1p(np.exp(-x * z))",
    ),
    Mistake(
        "The error is that of the squared loss, without the sigmoid.",
        "err = (1 / (1 + np.exp(-z)) - x) / count",
        "err = (z - x) / count",
    ),
    Mistake(
        "The item's gradient reads the user's factor after a step has been taken with it.",
        "dV[item] += err * U[user]",
        "dV[item] += err * (U[user] - 0.1 * dU[user])",
    ),
    Mistake("The item's bias is indexed by the user.", "dq[item] += err", "dq[user] += err"),
    Mistake("The global bias keeps the last observed entry alone.", "dm += err", "dm = np.array([err])"),
    Mistake(
        "The penalty is divided by the number of observations together with the fit.",
        "J = fit / count + 0.5 * lam * (np.sum(U ** 2) + np.sum(V ** 2))",
        "J = (fit + 0.5 * lam * (np.sum(U ** 2) + np.sum(V ** 2))) / count",
    ),
    Mistake(
        "The half in the penalty is forgotten when the user factors are differentiated.",
        "dU += lam * U",
        "dU += 2 * lam * U",
    ),
    Mistake("The penalty's coefficient is squared for the item factors.", "dV += lam * V", "dV += lam ** 2 * V"),
    Mistake(
        "The penalty's gradient is added to the user biases, which are not penalised.",
        "    dV += lam * V",
        "    dV += lam * V\n    dp += lam * p",
    ),
)


# --- 6. FiLM layer with softplus and Charbonnier loss


def film_reference(params, X, C, Y):
    H = tap("H", X @ params["W1"] + params["b1"])
    G = tap("G", 1 + C @ params["Wg"] + params["bg"])
    S = tap("S", C @ params["Ws"] + params["bs"])
    M = tap("M", G * H + S)
    A = tap("A", F.softplus(M))
    T = tap("T", A @ params["W2"] + params["b2"])
    E = tap("E", T - Y)
    return torch.sqrt(E**2 + 0.3**2).mean()


FILM = """def derivation(params, X, C, Y):
    eps = 0.3
    out = {}
    out["H"] = H = X @ params["W1"] + params["b1"]
    out["G"] = G = 1 + C @ params["Wg"] + params["bg"]
    out["S"] = S = C @ params["Ws"] + params["bs"]
    out["M"] = M = G * H + S
    out["A"] = A = np.logaddexp(0, M)
    out["T"] = T = A @ params["W2"] + params["b2"]
    out["E"] = E = T - Y
    rho = np.sqrt(E ** 2 + eps ** 2)
    out["J"] = rho.mean()

    # J = mean(rho), d rho / dE = E / rho
    out["dE"] = dE = E / rho / E.size
    out["dT"] = dT = dE
    out["dW2"] = A.T @ dT
    out["db2"] = dT.sum(axis=0)
    out["dA"] = dA = dT @ params["W2"].T
    out["dM"] = dM = dA / (1 + np.exp(-M))  # softplus' = sigmoid
    # modulation: M = G * H + S
    out["dG"] = dG = dM * H
    out["dS"] = dS = dM
    out["dH"] = dH = dM * G
    # the two heads on the condition vector
    out["dWg"] = C.T @ dG
    out["dbg"] = dG.sum(axis=0)
    out["dWs"] = C.T @ dS
    out["dbs"] = dS.sum(axis=0)
    # features
    out["dW1"] = X.T @ dH
    out["db1"] = dH.sum(axis=0)
    return out
"""


def film_draw(rng):
    params = {
        "W1": rng.normal(size=(4, 6)) * 0.6,
        "b1": rng.normal(size=6) * 0.6,
        "Wg": rng.normal(size=(3, 6)) * 0.6,
        "bg": rng.normal(size=6) * 0.6,
        "Ws": rng.normal(size=(3, 6)) * 0.6,
        "bs": rng.normal(size=6) * 0.6,
        "W2": rng.normal(size=(6, 8)) * 0.6,
        "b2": rng.normal(size=8) * 0.6,
    }
    return params, (rng.normal(size=(7, 4)), rng.normal(size=(7, 3)), rng.normal(size=(7, 8)))


FILM_MISTAKES = (
    Mistake(
        "The scale is not centred at one.",
        '= G = 1 + C @ params["Wg"] + params["bg"]',
        '= G = C @ params["Wg"] + params["bg"]',
    ),
    Mistake("The error is target minus prediction, its gradient that of the opposite.", "E = T - Y", "E = Y - T"),
    Mistake(
        "The eps of the Charbonnier loss is not squared.",
        "rho = np.sqrt(E ** 2 + eps ** 2)",
        "rho = np.sqrt(E ** 2 + eps)",
    ),
    Mistake(
        "The loss averages over the rows and sums over the outputs.",
        'out["J"] = rho.mean()',
        'out["J"] = rho.sum() / E.shape[0]',
    ),
    Mistake(
        "The square root is forgotten in the denominator of the loss's derivative.",
        "dE = E / rho / E.size",
        "dE = E / rho ** 2 / E.size",
    ),
    Mistake(
        "The error is clipped to plus or minus one in the gradient, as in a Huber loss.",
        "dE = E / rho / E.size",
        "dE = np.clip(E, -1, 1) / rho / E.size",
    ),
    Mistake(
        "The softplus is differentiated as if it were a ReLU.",
        "dM = dA / (1 + np.exp(-M))",
        "dM = dA * (M > 0)",
    ),
    Mistake(
        "The scale's gradient multiplies by the modulated features, not by those before the modulation.",
        "dG = dM * H",
        "dG = dM * M",
    ),
    Mistake("The features' gradient lacks the scale.", "dH = dM * G", "dH = dM"),
    Mistake("The shift head's weights are given the scale head's gradient.", "C.T @ dS", "C.T @ dG"),
    Mistake(
        "The bias of the first layer is left with a row for each example, unsummed.",
        'out["db1"] = dH.sum(axis=0)',
        'out["db1"] = dH',
    ),
)


# --- 7. mixture of diagonal Gaussians, weighted negative log-likelihood


def mixture_reference(params, X, Y):
    mu, logvar = params["mu"], params["logvar"]
    q = tap("q", ((X[:, None] - mu) ** 2 * torch.exp(-logvar)).sum(dim=2))
    logpi = tap("logpi", torch.log_softmax(params["alpha"], dim=0))
    L = tap("L", logpi - 0.5 * (q + logvar.sum(dim=1) + X.shape[1] * np.log(2 * np.pi)))
    s = tap("s", torch.logsumexp(L, dim=1))
    return -(Y * s).sum() / Y.sum()


MIXTURE = """def derivation(params, X, Y):
    mu, logvar, alpha = params["mu"], params["logvar"], params["alpha"]
    N, D = X.shape

    diff = X[:, None, :] - mu[None, :, :]
    prec = np.exp(-logvar)
    q = np.sum(diff ** 2 * prec, axis=2)
    logpi = alpha - alpha.max()
    logpi = logpi - np.log(np.exp(logpi).sum())
    L = logpi - 0.5 * (q + logvar.sum(axis=1) + D * np.log(2 * np.pi))
    top = L.max(axis=1)
    s = top + np.log(np.exp(L - top[:, None]).sum(axis=1))
    J = -np.sum(Y * s) / Y.sum()

    ds = -Y / Y.sum()
    resp = np.exp(L - s[:, None])
    dL = ds[:, None] * resp
    dq = -0.5 * dL
    dmu = -2 * np.einsum("nk,nkd->kd", dq, diff * prec)
    dprec = np.einsum("nk,nkd->kd", dq, diff ** 2)
    dlogvar = -dprec * prec - 0.5 * dL.sum(axis=0)[:, None]
    dlogpi = dL.sum(axis=0)
    dalpha = dlogpi - np.exp(logpi) * dlogpi.sum()

    return dict(J=J, q=q, logpi=logpi, L=L, s=s, dq=dq, dlogpi=dlogpi, dL=dL, ds=ds,
                dmu=dmu, dlogvar=dlogvar, dalpha=dalpha)
"""


def mixture_draw(rng):
    params = {
        "mu": rng.normal(size=(5, 3)),
        "logvar": rng.normal(size=(5, 3)) * 0.7,
        "alpha": rng.normal(size=5),
    }
    return params, (rng.normal(size=(9, 3)) * 1.5, rng.uniform(0.3, 2.0, size=9))


MIXTURE_MISTAKES = (
    Mistake(
        "The log of two pi is counted once, not once for each dimension.",
        "+ D * np.log(2 * np.pi)",
        "+ np.log(2 * np.pi)",
    ),
    Mistake(
        "The half is put on the quadratic form alone, so that the log-determinant counts double.",
        "0.5 * (q + logvar.sum(axis=1) + D * np.log(2 * np.pi))",
        "(0.5 * q + logvar.sum(axis=1) + 0.5 * D * np.log(2 * np.pi))",
    ),
    Mistake(
        "The log-variances are clipped before they are used in the precision.",
        "prec = np.exp(-logvar)",
        "prec = np.exp(-np.clip(logvar, -0.3, 0.3))",
    ),
    Mistake(
        "The maximum is not added back after the stabilised log-sum-exp.",
        "s = top + np.log(np.exp(L - top[:, None]).sum(axis=1))",
        "s = np.log(np.exp(L - top[:, None]).sum(axis=1))",
    ),
    Mistake(
        "The gradient divides by the number of samples, not by the total weight.",
        "ds = -Y / Y.sum()",
        "ds = -Y / N",
    ),
    Mistake(
        "The responsibilities are normalised over the samples, not over the components.",
        "resp = np.exp(L - s[:, None])",
        "resp = np.exp(L) / np.exp(L).sum(axis=0)",
    ),
    Mistake(
        "Each sample is assigned to its best component alone, as in k-means.",
        "dL = ds[:, None] * resp",
        "dL = ds[:, None] * (resp == resp.max(axis=1, keepdims=True))",
    ),
    Mistake("The means' gradient has the wrong sign.", "dmu = -2 * ", "dmu = 2 * "),
    Mistake(
        "The deviations are not divided by the variance in the means' gradient.",
        'np.einsum("nk,nkd->kd", dq, diff * prec)',
        'np.einsum("nk,nkd->kd", dq, diff)',
    ),
    Mistake(
        "The quadratic form is differentiated by the variance, not by its logarithm.",
        "-dprec * prec - 0.5",
        "-dprec * prec ** 2 - 0.5",
    ),
    Mistake(
        "The path through the mixture logits' normaliser is forgotten.",
        "dalpha = dlogpi - np.exp(logpi) * dlogpi.sum()",
        "dalpha = dlogpi",
    ),
)


OPERATIONS = (
    Operation("residual-block", residual_reference, RESIDUAL, residual_draw, RESIDUAL_MISTAKES),
    Operation("cross-attention", attention_reference, ATTENTION, attention_draw, ATTENTION_MISTAKES),
    Operation("lstm-readout", lstm_reference, LSTM, lstm_draw, LSTM_MISTAKES),
    Operation("strided-convolution", convolution_reference, CONVOLUTION, convolution_draw, CONVOLUTION_MISTAKES),
    Operation("matrix-completion", completion_reference, COMPLETION, completion_draw, COMPLETION_MISTAKES),
    Operation("film-charbonnier", film_reference, FILM, film_draw, FILM_MISTAKES),
    Operation("gaussian-mixture", mixture_reference, MIXTURE, mixture_draw, MIXTURE_MISTAKES),
)
