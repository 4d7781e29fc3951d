"""Ten operations with hand-written backward passes, and the mistakes that people make when they derive them."""

import numpy as np
import torch
import torch.nn.functional as F

from handgrad import tap
from tests.corpus.planted import Mistake, Operation


# softmax cross-entropy with a learned temperature and label smoothing ------------------------------------------------
def reference_softmax(params, X, Y):
    """Compute the loss of softmax cross-entropy with temperature and smoothing."""
    Z = tap("Z", X @ params["W"] + params["b"])
    S = tap("S", Z / torch.exp(params["t"]))
    classes = Z.shape[1]
    Q = 0.88 * F.one_hot(Y.long(), classes).to(S.dtype) + 0.12 / classes
    return -(Q * F.log_softmax(S, dim=1)).sum(dim=1).mean()


SOFTMAX = """def derivation(params, X, Y):
    W, b, t = params["W"], params["b"], params["t"]
    N, K = X.shape[0], W.shape[1]
    smooth = 0.12

    # forward
    Z = X @ W + b
    T = np.exp(t)
    S = Z / T
    m = S.max(axis=1, keepdims=True)
    logP = S - m - np.log(np.exp(S - m).sum(axis=1, keepdims=True))
    Q = np.full((N, K), smooth / K)
    Q[np.arange(N), Y] += 1 - smooth
    J = -(Q * logP).sum() / N

    # backward
    dS = (np.exp(logP) - Q) / N
    dZ = dS / T
    dt = -(dS * S).sum()
    dW = X.T @ dZ
    db = dZ.sum(axis=0)
    return {"J": J, "Z": Z, "S": S, "dS": dS, "dZ": dZ, "dt": dt, "dW": dW, "db": db}
"""


def draw_softmax(rng):
    """Draw parameters and a batch for softmax cross-entropy with temperature and smoothing."""
    params = {
        "W": 0.7 * rng.standard_normal((4, 5)),
        "b": rng.standard_normal(5),
        "t": np.array(rng.uniform(0.3, 0.7)),
    }
    return params, (rng.standard_normal((7, 4)), rng.integers(0, 5, size=7))


SOFTMAX_MISTAKES = (
    Mistake("The gradient of the logits is not divided by the temperature.", "dZ = dS / T", "dZ = dS"),
    Mistake(
        "The smoothing mass is divided by the number of wrong classes, though it is put on all of them.",
        "smooth / K)",
        "smooth / (K - 1))",
    ),
    Mistake(
        "The true class is assigned its mass and loses its own share of the smoothing.",
        "Y] += 1 - smooth",
        "Y] = 1 - smooth",
    ),
    Mistake(
        "The loss is averaged over samples and classes, not over samples.",
        "-(Q * logP).sum() / N",
        "-(Q * logP).mean()",
    ),
    Mistake(
        "The gradient of the scaled logits lacks the 1/N of the batch mean.",
        "(np.exp(logP) - Q) / N",
        "np.exp(logP) - Q",
    ),
    Mistake("The gradient of the log-temperature has the wrong sign.", "dt = -(dS * S)", "dt = (dS * S)"),
    Mistake(
        "The derivative is taken in the temperature, while the parameter is its logarithm.",
        "-(dS * S).sum()",
        "-(dS * S).sum() / T",
    ),
    Mistake(
        "The maximum is taken off outside the logarithm of the sum, but not inside.",
        "np.log(np.exp(S - m)",
        "np.log(np.exp(S)",
    ),
    Mistake(
        "The backward pass uses hard one-hot targets, without the smoothing.",
        "(np.exp(logP) - Q)",
        "(np.exp(logP) - np.eye(K)[Y])",
    ),
    Mistake(
        "The weights' gradient is built from the gradient after the temperature, not before it.", "X.T @ dZ", "X.T @ dS"
    ),
    Mistake(
        "The bias's gradient is a mean over the batch, a second division by N.", "dZ.sum(axis=0)", "dZ.mean(axis=0)"
    ),
)


# layer norm followed by a linear layer -------------------------------------------------------------------------------
def reference_layer_norm(params, X, Y):
    """Compute the loss of layer norm and a linear layer."""
    U = tap("U", X @ params["V"])
    A = tap("A", F.layer_norm(U, (U.shape[1],), params["gain"], params["shift"], eps=1e-5))
    R = tap("R", A @ params["W"] + params["b"])
    return 0.5 * ((R - Y) ** 2).sum(dim=1).mean()


LAYER_NORM = """def derivation(params, X, Y):
    V, gain, shift, W, b = (params[k] for k in ("V", "gain", "shift", "W", "b"))
    eps = 1e-5
    N = len(X)

    U = X @ V
    mean = U.mean(axis=1, keepdims=True)
    var = U.var(axis=1, keepdims=True)
    rstd = 1 / np.sqrt(var + eps)
    H = (U - mean) * rstd
    A = gain * H + shift
    R = A @ W + b
    E = R - Y
    J = 0.5 * np.sum(E ** 2) / N

    dR = E / N
    dW = A.T @ dR
    db = dR.sum(axis=0)
    dA = dR @ W.T
    dgain = (dA * H).sum(axis=0)
    dshift = dA.sum(axis=0)
    dH = dA * gain
    c1 = dH.mean(axis=1, keepdims=True)
    c2 = (dH * H).mean(axis=1, keepdims=True)
    dU = rstd * (dH - c1 - H * c2)
    dV = X.T @ dU
    return dict(J=J, U=U, A=A, R=R, dR=dR, dA=dA, dU=dU, dW=dW, db=db, dgain=dgain, dshift=dshift, dV=dV)
"""


def draw_layer_norm(rng):
    """Draw parameters and a batch for layer norm and a linear layer."""
    params = {
        "V": rng.standard_normal((4, 6)),
        "gain": 1 + 0.4 * rng.standard_normal(6),
        "shift": 0.5 * rng.standard_normal(6),
        "W": rng.standard_normal((6, 3)),
        "b": rng.standard_normal(3),
    }
    return params, (rng.standard_normal((5, 4)), rng.standard_normal((5, 3)))


LAYER_NORM_MISTAKES = (
    Mistake(
        "The variance has Bessel's correction.", "U.var(axis=1, keepdims=True)", "U.var(axis=1, ddof=1, keepdims=True)"
    ),
    Mistake(
        "The eps is added to the standard deviation, outside the root.",
        "1 / np.sqrt(var + eps)",
        "1 / (np.sqrt(var) + eps)",
    ),
    Mistake("The path through the variance is forgotten.", "(dH - c1 - H * c2)", "(dH - c1)"),
    Mistake("The second correction is a sum over the features, not a mean.", "(dH * H).mean(", "(dH * H).sum("),
    Mistake(
        "The first correction is a mean over the batch, as in batch norm.", "c1 = dH.mean(axis=1", "c1 = dH.mean(axis=0"
    ),
    Mistake("The gain is left out on the way back to the normalised input.", "dH = dA * gain", "dH = dA"),
    Mistake(
        "The linear layer's weights are paired with the normalised input before gain and shift.",
        "dW = A.T @ dR",
        "dW = H.T @ dR",
    ),
    Mistake(
        "The input's gradient is divided by the variance, not by the standard deviation.",
        "dU = rstd * (",
        "dU = rstd ** 2 * (",
    ),
    Mistake("The loss lacks the half that its gradient assumes.", "J = 0.5 * np.sum", "J = np.sum"),
    Mistake(
        "The loss's gradient is divided by the number of entries, not of samples.", "dR = E / N", "dR = E / E.size"
    ),
    Mistake("The gain multiplies the shift too.", "gain * H + shift", "gain * (H + shift)"),
)


# group norm on images ------------------------------------------------------------------------------------------------
def reference_group_norm(params, X, Y):
    """Compute the loss of group norm on images."""
    U = tap("U", torch.einsum("oc,nchw->nohw", params["M"], X))
    B = tap("B", F.group_norm(U, 2, params["gamma"], params["beta"], eps=1e-5))
    A = tap("A", B * torch.sigmoid(B))
    return (Y * A).sum() / X.shape[0]


GROUP_NORM = """def derivation(params, X, Y):
    M, gamma, beta = params["M"], params["gamma"], params["beta"]
    N, _, H, W = X.shape
    C = M.shape[0]
    G = 2
    eps = 1e-5

    def chan(v):
        return v[None, :, None, None]

    U = np.einsum("oc,nchw->nohw", M, X)
    u = U.reshape(N, G, -1)
    mu = u.mean(axis=2, keepdims=True)
    sd = np.sqrt(((u - mu) ** 2).mean(axis=2, keepdims=True) + eps)
    xhat = (u - mu) / sd
    Xhat = xhat.reshape(N, C, H, W)
    B = chan(gamma) * Xhat + chan(beta)
    sig = 1 / (1 + np.exp(-B))
    A = B * sig
    J = (Y * A).sum() / N

    dA = Y / N
    dB = dA * (sig + B * sig * (1 - sig))
    dbeta = dB.sum(axis=(0, 2, 3))
    dgamma = (dB * Xhat).sum(axis=(0, 2, 3))
    dxhat = (dB * chan(gamma)).reshape(N, G, -1)
    m = C // G * H * W
    inner = (dxhat * xhat).sum(axis=2, keepdims=True)
    du = (m * dxhat - dxhat.sum(axis=2, keepdims=True) - xhat * inner) / (m * sd)
    dU = du.reshape(N, C, H, W)
    dM = np.einsum("nohw,nchw->oc", dU, X)
    return {"J": J, "U": U, "B": B, "A": A, "dA": dA, "dB": dB, "dU": dU, "dM": dM, "dgamma": dgamma, "dbeta": dbeta}
"""


def draw_group_norm(rng):
    """Draw parameters and a batch for group norm on images."""
    params = {
        "M": rng.standard_normal((6, 7)),
        "gamma": 1 + 0.4 * rng.standard_normal(6),
        "beta": 0.5 * rng.standard_normal(6),
    }
    return params, (rng.standard_normal((3, 7, 4, 5)), rng.standard_normal((3, 6, 4, 5)))


GROUP_NORM_MISTAKES = (
    Mistake("Every channel is a group of its own, as in instance norm.", "G = 2\n", "G = C\n"),
    Mistake(
        "The count in the backward pass is the pixels of one channel, not of the group.",
        "m = C // G * H * W",
        "m = H * W",
    ),
    Mistake(
        "The activation's derivative is the sigmoid's, not that of x times sigmoid.",
        "dA * (sig + B * sig * (1 - sig))",
        "dA * sig * (1 - sig)",
    ),
    Mistake("The gain's gradient skips the activation.", "dgamma = (dB * Xhat)", "dgamma = (dA * Xhat)"),
    Mistake(
        "The shift's gradient is a mean over the batch.",
        "dbeta = dB.sum(axis=(0, 2, 3))",
        "dbeta = dB.sum(axis=(2, 3)).mean(axis=0)",
    ),
    Mistake("The path through the mean is forgotten.", "m * dxhat - dxhat.sum(axis=2, keepdims=True)", "m * dxhat"),
    Mistake("The correction for the variance is added, not subtracted.", "- xhat * inner", "+ xhat * inner"),
    Mistake(
        "The root of the standard deviation is missed: the gradient is divided by the variance.",
        "(m * sd)",
        "(m * sd ** 2)",
    ),
    Mistake("The eps is a hundred times the one of the layer.", "eps = 1e-5", "eps = 1e-3"),
    Mistake(
        "The inner product is taken with the centred input that was not yet divided.",
        "(dxhat * xhat).sum",
        "(dxhat * (u - mu)).sum",
    ),
)


# causal multi-head attention -----------------------------------------------------------------------------------------
def reference_attention(params, X, Y):
    """Compute the loss of causal attention."""
    batch, steps, _ = X.shape
    width = params["Wq"].shape[1]
    heads = 2

    def split(a):
        return a.reshape(batch, steps, heads, width // heads).transpose(1, 2)

    q = tap("q", split(X @ params["Wq"]))
    k = tap("k", split(X @ params["Wk"]))
    v = tap("v", split(X @ params["Wv"]))
    S = tap("S", q @ k.transpose(-1, -2) / (width // heads) ** 0.5)
    future = torch.triu(torch.ones(steps, steps, dtype=torch.bool), diagonal=1)
    P = tap("P", torch.softmax(S.masked_fill(future, float("-inf")), dim=-1))
    C = tap("C", (P @ v).transpose(1, 2).reshape(batch, steps, width))
    R = tap("R", C @ params["Wo"])
    return 0.5 * ((R - Y) ** 2).sum() / (batch * steps)


ATTENTION = """def derivation(params, X, Y):
    Wq, Wk, Wv, Wo = params["Wq"], params["Wk"], params["Wv"], params["Wo"]
    N, T, _ = X.shape
    D = Wq.shape[1]
    h = 2
    d = D // h
    scale = 1.0 / np.sqrt(d)

    def split(a):
        return a.reshape(N, T, h, d).transpose(0, 2, 1, 3)

    def merge(a):
        return a.transpose(0, 2, 1, 3).reshape(N, T, D)

    def flip(a):
        return np.swapaxes(a, -1, -2)

    def outer(a, g):
        return np.einsum("nti,ntj->ij", a, g)

    q, k, v = split(X @ Wq), split(X @ Wk), split(X @ Wv)
    S = scale * (q @ flip(k))
    future = np.triu(np.ones((T, T), dtype=bool), k=1)
    masked = np.where(future, -np.inf, S)
    P = np.exp(masked - masked.max(axis=-1, keepdims=True))
    P = P / P.sum(axis=-1, keepdims=True)
    C = merge(P @ v)
    R = C @ Wo
    J = 0.5 * np.sum((R - Y) ** 2) / (N * T)

    dR = (R - Y) / (N * T)
    dWo = outer(C, dR)
    dC = dR @ Wo.T
    dheads = split(dC)
    dv = flip(P) @ dheads
    dP = dheads @ flip(v)
    dS = P * (dP - np.sum(dP * P, axis=-1, keepdims=True))
    dq = scale * (dS @ k)
    dk = scale * (flip(dS) @ q)
    dWq = outer(X, merge(dq))
    dWk = outer(X, merge(dk))
    dWv = outer(X, merge(dv))
    return {"J": J, "q": q, "k": k, "v": v, "S": S, "P": P, "C": C, "R": R, "dR": dR, "dC": dC, "dP": dP, "dS": dS,
            "dq": dq, "dk": dk, "dv": dv, "dWq": dWq, "dWk": dWk, "dWv": dWv, "dWo": dWo}
"""


def draw_attention(rng):
    """Draw parameters and a batch for causal attention."""
    params = {
        "Wq": 0.5 * rng.standard_normal((7, 8)),
        "Wk": 0.5 * rng.standard_normal((7, 8)),
        "Wv": 0.5 * rng.standard_normal((7, 8)),
        "Wo": 0.5 * rng.standard_normal((8, 8)),
    }
    return params, (rng.standard_normal((3, 5, 7)), rng.standard_normal((3, 5, 8)))


ATTENTION_MISTAKES = (
    Mistake("The mask starts one step too late, so that each step sees the next.", "k=1)", "k=2)"),
    Mistake(
        "The scores are scaled by the root of the model's width, not of the head's.",
        "1.0 / np.sqrt(d)",
        "1.0 / np.sqrt(D)",
    ),
    Mistake("The keys' gradient lacks the scale.", "dk = scale * (flip(dS) @ q)", "dk = flip(dS) @ q"),
    Mistake(
        "The softmax correction is summed over the queries, not over the keys.",
        "np.sum(dP * P, axis=-1,",
        "np.sum(dP * P, axis=-2,",
    ),
    Mistake(
        "The softmax is differentiated entry by entry, like a sigmoid.",
        "P * (dP - np.sum(dP * P, axis=-1, keepdims=True))",
        "P * (1 - P) * dP",
    ),
    Mistake("The output projection is not transposed on the way back.", "dR @ Wo.T", "dR @ Wo"),
    Mistake(
        "Queries and keys are exchanged in the gradients of the scores.",
        "dq = scale * (dS @ k)\n    dk = scale * (flip(dS) @ q)",
        "dk = scale * (dS @ k)\n    dq = scale * (flip(dS) @ q)",
    ),
    Mistake(
        "The heads are put together without moving the head axis back.",
        "return a.transpose(0, 2, 1, 3).reshape(N, T, D)",
        "return a.reshape(N, T, D)",
    ),
    Mistake(
        "Masked scores are set to zero, which still gives them weight in the softmax.",
        "np.where(future, -np.inf, S)",
        "np.where(future, 0.0, S)",
    ),
    Mistake(
        "The gradient of the loss is divided by the batch only, not by the steps.",
        "dR = (R - Y) / (N * T)",
        "dR = (R - Y) / N",
    ),
    Mistake(
        "The value projection's gradient is made from the keys' gradient, a line copied and half changed.",
        "dWv = outer(X, merge(dv))",
        "dWv = outer(X, merge(dk))",
    ),
)


# a GRU over four steps; only the loss and the parameters' gradients are returned -------------------------------------
def reference_gru(params, X, Y):
    """Compute the loss of the GRU."""
    p = params
    h = p["h0"].expand(X.shape[0], -1)
    J = 0.0
    for t in range(X.shape[1]):
        x = X[:, t]
        z = torch.sigmoid(x @ p["Wz"] + h @ p["Uz"] + p["bz"])
        r = torch.sigmoid(x @ p["Wr"] + h @ p["Ur"] + p["br"])
        n = torch.tanh(x @ p["Wn"] + p["bn"] + r * (h @ p["Un"] + p["cn"]))
        h = (1 - z) * n + z * h
        J = J + 0.5 * ((h @ p["V"] - Y[:, t]) ** 2).sum() / X.shape[0]
    return J


GRU = """def derivation(params, X, Y):
    p = params
    N, T, _ = X.shape

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    h = np.tile(p["h0"], (N, 1))
    states, gates = [h], []
    J = 0.0
    for t in range(T):
        x = X[:, t]
        z = sigmoid(x @ p["Wz"] + h @ p["Uz"] + p["bz"])
        r = sigmoid(x @ p["Wr"] + h @ p["Ur"] + p["br"])
        u = h @ p["Un"] + p["cn"]
        n = np.tanh(x @ p["Wn"] + p["bn"] + r * u)
        h = (1 - z) * n + z * h
        states.append(h)
        gates.append((z, r, u, n))
        J += 0.5 * np.sum((h @ p["V"] - Y[:, t]) ** 2) / N

    g = {"d" + name: np.zeros_like(value) for name, value in p.items()}
    dh = np.zeros_like(h)
    for t in reversed(range(T)):
        z, r, u, n = gates[t]
        h, hprev = states[t + 1], states[t]
        err = (h @ p["V"] - Y[:, t]) / N
        g["dV"] += h.T @ err
        dh = dh + err @ p["V"].T

        daz = dh * (hprev - n) * z * (1 - z)
        dan = dh * (1 - z) * (1 - n ** 2)
        dar = dan * u * r * (1 - r)
        du = dan * r

        for gate, da in (("z", daz), ("r", dar), ("n", dan)):
            g["dW" + gate] += X[:, t].T @ da
            g["db" + gate] += da.sum(axis=0)
        g["dUz"] += hprev.T @ daz
        g["dUr"] += hprev.T @ dar
        g["dUn"] += hprev.T @ du
        g["dcn"] += du.sum(axis=0)
        dh = dh * z + daz @ p["Uz"].T + dar @ p["Ur"].T + du @ p["Un"].T
    g["dh0"] = dh.sum(axis=0)
    return {"J": J, **g}
"""


def draw_gru(rng):
    """Draw parameters and a batch for the GRU."""
    params = {}
    for gate in "zrn":
        params["W" + gate] = 0.6 * rng.standard_normal((3, 6))
        params["U" + gate] = 0.6 * rng.standard_normal((6, 6))
        params["b" + gate] = 0.5 * rng.standard_normal(6)
    params["cn"] = 0.5 * rng.standard_normal(6)
    params["h0"] = 0.5 * rng.standard_normal(6)
    params["V"] = rng.standard_normal((6, 7))
    return params, (rng.standard_normal((5, 4, 3)), rng.standard_normal((5, 4, 7)))


GRU_MISTAKES = (
    Mistake(
        "The update gate keeps where it should renew, the other of the two conventions.",
        "h = (1 - z) * n + z * h",
        "h = z * n + (1 - z) * h",
    ),
    Mistake("The difference in the update gate's gradient has the wrong sign.", "(hprev - n) * z", "(n - hprev) * z"),
    Mistake("The candidate's tanh is differentiated as if it were a sigmoid.", "(1 - n ** 2)", "n * (1 - n)"),
    Mistake(
        "The reset gate's gradient uses the state before it went through the recurrent matrix.",
        "dar = dan * u * r",
        "dar = dan * hprev * r",
    ),
    Mistake("The direct path from state to state is forgotten.", "dh = dh * z + daz @", "dh = daz @"),
    Mistake(
        "The candidate's recurrent matrix gets the gradient without the reset gate.",
        'g["dUn"] += hprev.T @ du',
        'g["dUn"] += hprev.T @ dan',
    ),
    Mistake(
        "The previous state is the step's own result, one step too late.",
        "h, hprev = states[t + 1], states[t]",
        "h, hprev = states[t + 1], states[t + 1]",
    ),
    Mistake(
        "The reset gate's gradient goes back through the update gate's matrix.", 'dar @ p["Ur"].T', 'dar @ p["Uz"].T'
    ),
    Mistake(
        "The initial state is taken to be zero, not the learned one.",
        'np.tile(p["h0"], (N, 1))',
        'np.zeros((N, p["h0"].size))',
    ),
    Mistake(
        "The input matrices' gradients are overwritten by each step, not added up.",
        'g["dW" + gate] += X',
        'g["dW" + gate] = X',
    ),
    Mistake(
        "The initial state was broadcast over the batch, but its gradient is the mean, not the sum.",
        "dh.sum(axis=0)\n    return",
        "dh.mean(axis=0)\n    return",
    ),
)


# conv1d with stride and padding --------------------------------------------------------------------------------------
def reference_conv(params, X, Y):
    """Compute the loss of the strided convolution."""
    U = tap("U", torch.einsum("ij,njl->nil", params["M"], X))
    A = tap("A", torch.tanh(U))
    Z = tap("Z", F.conv1d(A, params["K"], params["b"], stride=2, padding=1))
    return ((Z - Y) ** 2).sum(dim=(1, 2)).mean()


CONV = """def derivation(params, X, Y):
    M, K, b = params["M"], params["K"], params["b"]
    stride, pad = 2, 1
    N = X.shape[0]
    width = K.shape[2]

    U = np.einsum("ij,njl->nil", M, X)
    A = np.tanh(U)
    Ap = np.pad(A, ((0, 0), (0, 0), (pad, pad)), mode="constant")
    steps = (Ap.shape[2] - width) // stride + 1
    Z = np.zeros((N, K.shape[0], steps))
    for i in range(steps):
        window = Ap[:, :, i * stride:i * stride + width]
        Z[:, :, i] = np.tensordot(window, K, axes=([1, 2], [1, 2])) + b
    E = Z - Y
    J = np.mean(np.sum(E ** 2, axis=(1, 2)))

    dZ = 2 * E / N
    db = dZ.sum(axis=(0, 2))
    dK = np.zeros_like(K)
    dAp = np.zeros_like(Ap)
    i = 0
    while i < steps:
        at = i * stride
        for j in range(width):
            dK[:, :, j] += dZ[:, :, i].T @ Ap[:, :, at + j]
            dAp[:, :, at + j] += dZ[:, :, i] @ K[:, :, j]
        i += 1
    dA = dAp[:, :, pad:-pad]
    dU = dA * (1 - A ** 2)
    dM = np.einsum("nil,njl->ij", dU, X)
    return {"J": J, "U": U, "A": A, "Z": Z, "dZ": dZ, "dA": dA, "dU": dU, "dM": dM, "dK": dK, "db": db}
"""


def draw_conv(rng):
    """Draw parameters and a batch for the strided convolution."""
    params = {
        "M": 0.4 * rng.standard_normal((3, 8)),
        "K": 0.6 * rng.standard_normal((7, 3, 5)),
        "b": rng.standard_normal(7),
    }
    return params, (rng.standard_normal((6, 8, 9)), rng.standard_normal((6, 7, 4)))


CONV_MISTAKES = (
    Mistake("The border is padded with the edge's values, not with zeros.", 'mode="constant"', 'mode="edge"'),
    Mistake(
        "The padding is cut off at one end only, so that the gradient is shifted by one.",
        "dAp[:, :, pad:-pad]",
        "dAp[:, :, :-2 * pad]",
    ),
    Mistake(
        "The kernel is flipped on the way back although the windows already run forward.",
        "dZ[:, :, i] @ K[:, :, j]",
        "dZ[:, :, i] @ K[:, :, width - 1 - j]",
    ),
    Mistake(
        "Where windows overlap the later one overwrites the input's gradient.",
        "dAp[:, :, at + j] +=",
        "dAp[:, :, at + j] =",
    ),
    Mistake("The stride is forgotten in the backward pass.", "at = i * stride", "at = i"),
    Mistake(
        "The bias's gradient averages over the positions, not sums.",
        "dZ.sum(axis=(0, 2))",
        "dZ.mean(axis=2).sum(axis=0)",
    ),
    Mistake("The two from the square is missing in the gradient.", "2 * E / N", "E / N"),
    Mistake("The tanh's derivative is taken at its input, not at its output.", "(1 - A ** 2)", "(1 - U ** 2)"),
    Mistake(
        "The loss is the mean over all the entries, while its gradient is that of a sum for each sample.",
        "np.mean(np.sum(E ** 2, axis=(1, 2)))",
        "np.mean(E ** 2)",
    ),
    Mistake("The backward loop stops one window short.", "while i < steps:", "while i < steps - 1:"),
    Mistake("The bias is forgotten in the forward pass.", "axes=([1, 2], [1, 2])) + b", "axes=([1, 2], [1, 2]))"),
)


# max pooling and average pooling mixed by a learned gate -------------------------------------------------------------
def reference_pooling(params, X, Y):
    """Compute the loss of the mixed pooling."""
    U = tap("U", params["g"][:, None, None] * X + params["c"])
    mx = tap("mx", F.max_pool2d(U, 3, stride=2))
    av = tap("av", F.avg_pool2d(U, 3, stride=2))
    a = tap("a", torch.sigmoid(params["w"]))[:, None, None]
    P = tap("P", a * mx + (1 - a) * av)
    S = tap("S", torch.einsum("nchw,hw->nc", P, params["V"]))
    return ((S - Y) ** 2).mean()


POOLING = """def derivation(params, X, Y):
    g, c, w, V = params["g"], params["c"], params["w"], params["V"]
    k, step = 3, 2
    U = g[:, None, None] * X + c
    N, C, H, W = U.shape
    rows, cols = (H - k) // step + 1, (W - k) // step + 1
    mx = np.empty((N, C, rows, cols))
    av = np.empty((N, C, rows, cols))
    for i in range(rows):
        for j in range(cols):
            patch = U[:, :, i * step:i * step + k, j * step:j * step + k]
            mx[:, :, i, j] = patch.max(axis=(2, 3))
            av[:, :, i, j] = patch.mean(axis=(2, 3))
    a = 1 / (1 + np.exp(-w))
    mix = a[:, None, None]
    P = mix * mx + (1 - mix) * av
    S = np.einsum("nchw,hw->nc", P, V)
    E = S - Y
    J = (E ** 2).mean()

    dS = 2 * E / E.size
    dV = np.einsum("nc,nchw->hw", dS, P)
    dP = np.einsum("nc,hw->nchw", dS, V)
    da = (dP * (mx - av)).sum(axis=(0, 2, 3))
    dw = da * a * (1 - a)
    dmx = mix * dP
    dav = (1 - mix) * dP
    dU = np.zeros_like(U)
    for n in range(N):
        for ch in range(C):
            for i in range(rows):
                for j in range(cols):
                    top, left = i * step, j * step
                    patch = U[n, ch, top:top + k, left:left + k]
                    dU[n, ch, top:top + k, left:left + k] += dav[n, ch, i, j] / k ** 2
                    y, x = np.unravel_index(patch.argmax(), patch.shape)
                    dU[n, ch, top + y, left + x] += dmx[n, ch, i, j]
    dg = (dU * X).sum(axis=(0, 2, 3))
    dc = dU.sum(axis=(0, 1))
    return {"J": J, "U": U, "mx": mx, "av": av, "a": a, "P": P, "S": S, "dS": dS, "dP": dP, "da": da, "dmx": dmx,
            "dav": dav, "dU": dU, "dg": dg, "dc": dc, "dw": dw, "dV": dV}
"""


def draw_pooling(rng):
    """Draw parameters and a batch for the mixed pooling."""
    params = {
        "g": 1 + 0.4 * rng.standard_normal(6),
        "c": 0.5 * rng.standard_normal((7, 9)),
        "w": rng.standard_normal(6),
        "V": rng.standard_normal((3, 4)),
    }
    return params, (rng.standard_normal((5, 6, 7, 9)), rng.standard_normal((5, 6)))


POOLING_MISTAKES = (
    Mistake("The average's gradient is divided by the side of the window, not by its area.", "/ k ** 2", "/ k"),
    Mistake("The maximum's gradient is sent to the window's smallest entry.", "patch.argmax()", "patch.argmin()"),
    Mistake(
        "An entry that is the largest of several windows gets only the last one's gradient.",
        "dU[n, ch, top + y, left + x] +=",
        "dU[n, ch, top + y, left + x] =",
    ),
    Mistake(
        "The two mixing coefficients are exchanged in the backward pass.",
        "dmx = mix * dP\n    dav = (1 - mix) * dP",
        "dmx = (1 - mix) * dP\n    dav = mix * dP",
    ),
    Mistake("The gate's sigmoid is not differentiated.", "dw = da * a * (1 - a)", "dw = da"),
    Mistake("The gate's gradient has the wrong sign.", "(mx - av)", "(av - mx)"),
    Mistake(
        "The map that was added to all the images gets the mean over the batch, not the sum.",
        "dU.sum(axis=(0, 1))",
        "dU.sum(axis=1).mean(axis=0)",
    ),
    Mistake(
        "The scale's gradient is paired with the scaled input, not with the input.", "dg = (dU * X)", "dg = (dU * U)"
    ),
    Mistake(
        "The backward windows lie side by side, with the window's size as their stride, down the rows.",
        "top, left = i * step,",
        "top, left = min(i * k, H - k),",
    ),
    Mistake("The loss's gradient is divided by the batch only.", "2 * E / E.size", "2 * E / N"),
    Mistake(
        "The maximum's coefficient multiplies the whole mixture.",
        "mix * mx + (1 - mix) * av",
        "mix * (mx + (1 - mix) * av)",
    ),
)


# embedding bag with weights and a padding index; only the loss and the parameters' gradients are returned ------------
def reference_bag(params, X, Y):
    """Compute the loss of the embedding bag."""
    X = X.long()
    keep = (X != 0).to(Y.dtype)
    weight = keep * params["s"] / keep.sum(dim=1, keepdim=True)
    bag = (weight[:, :, None] * params["E"][X]).sum(dim=1)
    R = bag @ params["W"] + params["b"]
    return torch.log(torch.cosh(R - Y)).sum(dim=1).mean()


BAG = """def derivation(params, X, Y):
    E, s, W, b = params["E"], params["s"], params["W"], params["b"]
    N, L = X.shape
    keep = (X != 0).astype(float)
    count = keep.sum(axis=1)
    bag = np.zeros((N, E.shape[1]))
    for n in range(N):
        for pos in range(L):
            bag[n] += keep[n, pos] * s[pos] / count[n] * E[X[n, pos]]
    R = bag @ W + b
    diff = R - Y
    J = np.log(np.cosh(diff)).sum() / N

    dR = np.tanh(diff) / N
    dW = bag.T @ dR
    db = dR.sum(axis=0)
    dbag = dR @ W.T
    dE = np.zeros_like(E)
    ds = np.zeros_like(s)
    for n in range(N):
        for pos in range(L):
            token = X[n, pos]
            if token == 0:
                continue
            dE[token] += s[pos] / count[n] * dbag[n]
            ds[pos] += E[token] @ dbag[n] / count[n]
    return {"J": J, "dE": dE, "ds": ds, "dW": dW, "db": db}
"""


def draw_bag(rng):
    """Draw parameters and a batch for the embedding bag."""
    params = {
        "E": rng.standard_normal((9, 4)),
        "s": rng.uniform(0.5, 2.0, size=6) * rng.choice([-1.0, 1.0], size=6),
        "W": rng.standard_normal((4, 3)),
        "b": rng.standard_normal(3),
    }
    X = rng.integers(1, 9, size=(5, 6))
    X[:, 1] = X[:, 0]  # a token that comes twice
    X[0, 2] = 1
    X[1, 5] = X[2, 4] = X[2, 5] = X[3, 3] = X[4, 1] = 0  # padding: at the end, and within
    return params, (X, rng.standard_normal((5, 3)))


BAG_MISTAKES = (
    Mistake("A token that occurs again overwrites its row's gradient.", "dE[token] +=", "dE[token] ="),
    Mistake("The mean's count takes in the padding.", "keep.sum(axis=1)", "np.full(N, float(L))"),
    Mistake("The padding is not left out of the backward pass.", "if token == 0:", "if token < 0:"),
    Mistake(
        "The weights' gradient forgets the division by the count.",
        "E[token] @ dbag[n] / count[n]",
        "E[token] @ dbag[n]",
    ),
    Mistake("The weight enters the table's gradient squared.", "+= s[pos] / count[n] *", "+= s[pos] ** 2 / count[n] *"),
    Mistake("The gradient is that of the absolute error, not of log cosh.", "np.tanh(diff) / N", "np.sign(diff) / N"),
    Mistake(
        "The loss is averaged over the outputs too.", "np.log(np.cosh(diff)).sum() / N", "np.log(np.cosh(diff)).mean()"
    ),
    Mistake(
        "The forward pass takes the weight of the position before.",
        "* s[pos] / count[n] * E[X",
        "* s[pos - 1] / count[n] * E[X",
    ),
    Mistake(
        "The difference is target minus output, so that the even loss is right and its gradient negative.",
        "diff = R - Y",
        "diff = Y - R",
    ),
    Mistake(
        "The bag's gradient is made from the output, not from the output's gradient.",
        "dbag = dR @ W.T",
        "dbag = R @ W.T",
    ),
    Mistake("The wrong token is taken for padding in the forward pass.", "(X != 0)", "(X != 1)"),
)


# InfoNCE in both directions, with normalised vectors from one shared encoder -----------------------------------------
def reference_infonce(params, X, Y):
    """Compute the loss of InfoNCE."""
    A = tap("A", X @ params["W"])
    B = tap("B", Y @ params["W"])
    a = tap("a", F.normalize(A, dim=1))
    b = tap("b", F.normalize(B, dim=1))
    C = tap("C", a @ b.T)
    S = tap("S", torch.exp(params["t"]) * C)
    labels = torch.arange(X.shape[0])
    return 0.5 * (F.cross_entropy(S, labels) + F.cross_entropy(S.T, labels))


INFONCE = """def derivation(params, X, Y):
    W, t = params["W"], params["t"]
    N = len(X)
    A, B = X @ W, Y @ W
    na = np.sqrt((A ** 2).sum(axis=1, keepdims=True))
    nb = np.sqrt((B ** 2).sum(axis=1, keepdims=True))
    a, b = A / na, B / nb
    C = a @ b.T
    S = np.exp(t) * C
    logrow = S - np.log(np.exp(S).sum(axis=1, keepdims=True))
    logcol = S - np.log(np.exp(S).sum(axis=0, keepdims=True))
    J = -0.5 * (np.trace(logrow) + np.trace(logcol)) / N

    dS = 0.5 * (np.exp(logrow) + np.exp(logcol) - 2 * np.eye(N)) / N
    dt = (dS * S).sum()
    dC = np.exp(t) * dS
    da = dC @ b
    db = dC.T @ a
    dA = (da - a * (a * da).sum(axis=1, keepdims=True)) / na
    dB = (db - b * (b * db).sum(axis=1, keepdims=True)) / nb
    dW = X.T @ dA + Y.T @ dB
    return dict(J=J, A=A, B=B, a=a, b=b, C=C, S=S, dS=dS, dC=dC, da=da, db=db, dA=dA, dB=dB, dW=dW, dt=dt)
"""


def draw_infonce(rng):
    """Draw parameters and a batch for InfoNCE."""
    params = {"W": rng.standard_normal((7, 4)), "t": np.array(rng.uniform(0.5, 1.2))}
    return params, (rng.standard_normal((5, 7)), rng.standard_normal((5, 7)))


INFONCE_MISTAKES = (
    Mistake("The similarity's gradient is not transposed for the second view.", "dC.T @ a", "dC @ a"),
    Mistake(
        "The norm is treated as a constant in the first view.",
        "dA = (da - a * (a * da).sum(axis=1, keepdims=True)) / na",
        "dA = da / na",
    ),
    Mistake(
        "The second view's gradient is divided by the squared norm.",
        "(b * db).sum(axis=1, keepdims=True)) / nb",
        "(b * db).sum(axis=1, keepdims=True)) / nb ** 2",
    ),
    Mistake(
        "The scale's gradient is that of the scale, while the parameter is its logarithm.",
        "(dS * S).sum()",
        "(dS * C).sum()",
    ),
    Mistake("The shared encoder gets the first view's gradient only.", "X.T @ dA + Y.T @ dB", "X.T @ dA"),
    Mistake(
        "The column direction is normalised along the rows.",
        "np.exp(S).sum(axis=0, keepdims=True)",
        "np.exp(S).sum(axis=1, keepdims=True)",
    ),
    Mistake("The positives are taken off once, though both directions have them.", "- 2 * np.eye(N)", "- np.eye(N)"),
    Mistake("The loss adds the two directions, while its gradient is that of their mean.", "J = -0.5 * (", "J = -("),
    Mistake("The temperature divides where the parameter is a scale.", "S = np.exp(t) * C", "S = C / np.exp(t)"),
    Mistake(
        "The positives of the row direction are one column off.",
        "np.trace(logrow)",
        "np.trace(np.roll(logrow, 1, axis=1))",
    ),
    Mistake("The projection in the second view adds the radial part.", "dB = (db - b *", "dB = (db + b *"),
)


# Gaussian negative log likelihood with a learned variance ------------------------------------------------------------
def reference_gaussian(params, X, Y):
    """Compute the loss of the Gaussian likelihood."""
    p = params
    Z = tap("Z", X @ p["W"] + p["b"])
    H = tap("H", torch.tanh(Z))
    mu = tap("mu", H @ p["Wm"] + p["bm"])
    raw = tap("raw", H @ p["Wv"] + p["bv"])
    var = tap("var", F.softplus(raw) + 1e-3)
    nll = 0.5 * (torch.log(var) + (Y - mu) ** 2 / var + np.log(2 * np.pi))
    return nll.sum(dim=1).mean()


GAUSSIAN = """def derivation(params, X, Y):
    W, b, Wm, bm, Wv, bv = (params[name] for name in ("W", "b", "Wm", "bm", "Wv", "bv"))
    N = X.shape[0]
    cache = {}
    cache["Z"] = X @ W + b
    cache["H"] = H = np.tanh(cache["Z"])
    cache["mu"] = mu = H @ Wm + bm
    cache["raw"] = raw = H @ Wv + bv
    cache["var"] = var = np.log1p(np.exp(raw)) + 1e-3
    nll = 0.5 * (np.log(var) + (Y - mu) ** 2 / var + np.log(2 * np.pi))
    cache["J"] = nll.sum() / N

    grads = {}
    grads["dmu"] = dmu = (mu - Y) / var / N
    grads["dvar"] = dvar = 0.5 * (1 / var - (Y - mu) ** 2 / var ** 2) / N
    grads["draw"] = draw = dvar / (1 + np.exp(-raw))
    grads["dWm"] = H.T @ dmu
    grads["dbm"] = dmu.sum(axis=0)
    grads["dWv"] = H.T @ draw
    grads["dbv"] = draw.sum(axis=0)
    grads["dH"] = dH = dmu @ Wm.T + draw @ Wv.T
    grads["dZ"] = dZ = dH * (1 - H ** 2)
    grads["dW"] = X.T @ dZ
    grads["db"] = np.sum(dZ, axis=0)
    return {**cache, **grads}
"""


def draw_gaussian(rng):
    """Draw parameters and a batch for the Gaussian likelihood."""
    params = {
        "W": 0.6 * rng.standard_normal((5, 6)),
        "b": 0.5 * rng.standard_normal(6),
        "Wm": rng.standard_normal((6, 3)),
        "bm": rng.standard_normal(3),
        "Wv": 0.6 * rng.standard_normal((6, 3)),
        "bv": 0.5 * rng.standard_normal(3),
    }
    return params, (rng.standard_normal((7, 5)), rng.standard_normal((7, 3)))


GAUSSIAN_MISTAKES = (
    Mistake("The constant of the density lacks its two.", "np.log(2 * np.pi)", "np.log(np.pi)"),
    Mistake(
        "The two terms of the variance's gradient are added, not subtracted.",
        "(1 / var - (Y - mu) ** 2",
        "(1 / var + (Y - mu) ** 2",
    ),
    Mistake(
        "The sigmoid is taken at the variance, not at what went into the softplus.",
        "(1 + np.exp(-raw))",
        "(1 + np.exp(-var))",
    ),
    Mistake("The mean's gradient is of target minus mean.", "dmu = (mu - Y)", "dmu = (Y - mu)"),
    Mistake(
        "No gradient goes from the variance's head into the hidden layer.", "dmu @ Wm.T + draw @ Wv.T", "dmu @ Wm.T"
    ),
    Mistake(
        "The mean's gradient is divided by the standard deviation.", "(mu - Y) / var / N", "(mu - Y) / np.sqrt(var) / N"
    ),
    Mistake(
        "The variance is clipped at its floor, where the floor should be added.",
        "np.log1p(np.exp(raw)) + 1e-3",
        "np.maximum(np.log1p(np.exp(raw)), 1e-3)",
    ),
    Mistake(
        "The half is put on the squared error only, and the logarithm of the variance is left whole.",
        "0.5 * (np.log(var) + (Y",
        "0.5 * (2 * np.log(var) + (Y",
    ),
    Mistake(
        "The variance head's weights get the gradient from before the softplus was differentiated.",
        "H.T @ draw",
        "H.T @ dvar",
    ),
    Mistake("The mean head's bias gets a mean over the batch.", "dmu.sum(axis=0)", "dmu.mean(axis=0)"),
    Mistake("The hidden tanh is differentiated as a sigmoid.", "dH * (1 - H ** 2)", "dH * H * (1 - H)"),
)


OPERATIONS = (
    Operation("softmax-cross-entropy", reference_softmax, SOFTMAX, draw_softmax, SOFTMAX_MISTAKES),
    Operation("layer-norm-linear", reference_layer_norm, LAYER_NORM, draw_layer_norm, LAYER_NORM_MISTAKES),
    Operation("group-norm", reference_group_norm, GROUP_NORM, draw_group_norm, GROUP_NORM_MISTAKES),
    Operation("causal-attention", reference_attention, ATTENTION, draw_attention, ATTENTION_MISTAKES),
    Operation("gru", reference_gru, GRU, draw_gru, GRU_MISTAKES),
    Operation("conv1d", reference_conv, CONV, draw_conv, CONV_MISTAKES),
    Operation("mixed-pooling", reference_pooling, POOLING, draw_pooling, POOLING_MISTAKES),
    Operation("embedding-bag", reference_bag, BAG, draw_bag, BAG_MISTAKES),
    Operation("infonce", reference_infonce, INFONCE, draw_infonce, INFONCE_MISTAKES),
    Operation("gaussian-nll", reference_gaussian, GAUSSIAN, draw_gaussian, GAUSSIAN_MISTAKES),
)
