"""Eleven hand-derived backward passes with the mistakes that people make in them, written without sight of the tool."""

import numpy as np
import torch
import torch.nn.functional as F

from handgrad import tap
from tests.corpus.planted import Mistake, Operation

# ---------------------------------------------------------------------------------------------------------------------
# batch norm in training mode inside a small network
# ---------------------------------------------------------------------------------------------------------------------


def batch_norm_reference(params, X, Y):
    H = tap("H", X @ params["W1"])
    mu = tap("mu", H.mean(0))
    var = tap("var", ((H - mu) ** 2).mean(0))
    xhat = tap("xhat", (H - mu) / torch.sqrt(var + 1e-3))
    A = tap("A", params["gamma"] * xhat + params["beta"])
    R = tap("R", F.leaky_relu(A, 0.1))
    Z = tap("Z", R @ params["W2"] + params["b2"])
    return 0.5 * ((Z - Y) ** 2).sum() / X.shape[0]


BATCH_NORM = """
def derivation(params, X, Y):
    W1, W2 = params["W1"], params["W2"]
    gamma, beta, b2 = params["gamma"], params["beta"], params["b2"]
    N = X.shape[0]
    eps = 1e-3

    # forward
    H = X @ W1
    mu = H.mean(axis=0)
    xmu = H - mu
    var = np.mean(xmu ** 2, axis=0)
    ivar = 1.0 / np.sqrt(var + eps)
    xhat = xmu * ivar
    A = gamma * xhat + beta
    R = np.where(A > 0, A, 0.1 * A)
    Z = R @ W2 + b2
    J = 0.5 * np.sum((Z - Y) ** 2) / N

    # backward
    dZ = (Z - Y) / N
    dW2 = R.T @ dZ
    db2 = dZ.sum(axis=0)
    dR = dZ @ W2.T
    dA = dR * np.where(A > 0, 1.0, 0.1)
    dgamma = (dA * xhat).sum(axis=0)
    dbeta = dA.sum(axis=0)
    dxhat = dA * gamma
    dvar = np.sum(dxhat * xmu, axis=0) * -0.5 * ivar ** 3
    dmu = -np.sum(dxhat * ivar, axis=0) + dvar * np.mean(-2.0 * xmu, axis=0)
    dH = dxhat * ivar + dvar * 2.0 * xmu / N + dmu / N
    dW1 = X.T @ dH
    return {"J": J, "H": H, "mu": mu, "var": var, "xhat": xhat, "A": A, "R": R, "Z": Z,
            "dH": dH, "dmu": dmu, "dvar": dvar, "dxhat": dxhat, "dA": dA, "dR": dR, "dZ": dZ,
            "dW1": dW1, "dgamma": dgamma, "dbeta": dbeta, "dW2": dW2, "db2": db2}
"""


def draw_batch_norm(rng):
    params = {
        "W1": rng.normal(size=(5, 4)),
        "gamma": rng.uniform(0.5, 1.8, size=4),
        "beta": rng.normal(size=4),
        "W2": rng.normal(size=(4, 3)),
        "b2": rng.normal(size=3),
    }
    return params, (rng.normal(size=(7, 5)), rng.normal(size=(7, 3)))


BATCH_NORM_MISTAKES = (
    Mistake(
        "the batch variance is the unbiased one, divided by N - 1",
        "var = np.mean(xmu ** 2, axis=0)",
        "var = np.sum(xmu ** 2, axis=0) / (N - 1)",
    ),
    Mistake(
        "eps is added to the standard deviation rather than under the root",
        "ivar = 1.0 / np.sqrt(var + eps)",
        "ivar = 1.0 / (np.sqrt(var) + eps)",
    ),
    Mistake("eps has another size than the layer's", "eps = 1e-3", "eps = 1e-5"),
    Mistake(
        "the mean and the variance are taken for constants, as at inference",
        "dH = dxhat * ivar + dvar * 2.0 * xmu / N + dmu / N",
        "dH = dxhat * ivar",
    ),
    Mistake(
        "the inverse deviation has power two in the variance's gradient",
        "* -0.5 * ivar ** 3",
        "* -0.5 * ivar ** 2",
    ),
    Mistake(
        "gamma's gradient uses the centred input, not the normalised one",
        "dgamma = (dA * xhat).sum(axis=0)",
        "dgamma = (dA * xmu).sum(axis=0)",
    ),
    Mistake("the mean's gradient is not spread over the N rows", "+ dmu / N", "+ dmu"),
    Mistake(
        "the leaky slope is chosen by the sign of the normalised value, not of the pre-activation",
        "dA = dR * np.where(A > 0, 1.0, 0.1)",
        "dA = dR * np.where(xhat > 0, 1.0, 0.1)",
    ),
    Mistake("beta's gradient is averaged over the batch", "dbeta = dA.sum(axis=0)", "dbeta = dA.mean(axis=0)"),
    Mistake("the scale gamma is forgotten on the way back", "dxhat = dA * gamma", "dxhat = dA"),
    Mistake(
        "the sign of the mean's gradient is lost",
        "dmu = -np.sum(dxhat * ivar, axis=0)",
        "dmu = np.sum(dxhat * ivar, axis=0)",
    ),
)


# ---------------------------------------------------------------------------------------------------------------------
# RMS norm with a SwiGLU feed-forward block, a residual and a tied output layer
# ---------------------------------------------------------------------------------------------------------------------


def swiglu_reference(params, X, Y):
    E = tap("E", X @ params["W"])
    n = tap("n", E / torch.sqrt((E * E).mean(-1, keepdim=True) + 1e-2))
    U = tap("U", n * params["g"])
    gate = tap("gate", U @ params["Wg"])
    up = tap("up", U @ params["Wu"])
    act = tap("act", F.silu(gate) * up)
    out = tap("out", E + act @ params["Wd"])
    logits = tap("logits", out @ params["W"].T)
    return ((logits - Y) ** 2).mean()


SWIGLU = """
def derivation(params, X, Y):
    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    W, g, Wg, Wu, Wd = [params[k] for k in ("W", "g", "Wg", "Wu", "Wd")]
    c = {}
    c["E"] = X @ W
    D = c["E"].shape[-1]
    rms_inv = 1 / np.sqrt(np.mean(c["E"] ** 2, axis=-1, keepdims=True) + 1e-2)
    c["n"] = c["E"] * rms_inv
    c["U"] = c["n"] * g
    c["gate"] = c["U"] @ Wg
    c["up"] = c["U"] @ Wu
    sg = sigmoid(c["gate"])
    silu = c["gate"] * sg
    c["act"] = silu * c["up"]
    c["out"] = c["E"] + c["act"] @ Wd
    c["logits"] = c["out"] @ W.T
    diff = c["logits"] - Y
    c["J"] = np.mean(diff ** 2)

    dlogits = 2 * diff / diff.size
    dout = dlogits @ W
    dact = dout @ Wd.T
    dWd = c["act"].T @ dout
    dup = dact * silu
    dgate = dact * c["up"] * sg * (1 + c["gate"] * (1 - sg))
    dWg = c["U"].T @ dgate
    dWu = c["U"].T @ dup
    dU = dgate @ Wg.T + dup @ Wu.T
    dg = np.sum(dU * c["n"], axis=0)
    dn = dU * g
    inner = np.sum(dn * c["E"], axis=-1, keepdims=True)
    dE = dn * rms_inv - c["E"] * rms_inv ** 3 * inner / D
    dE = dE + dout
    dW = X.T @ dE + dlogits.T @ c["out"]
    c.update(dE=dE, dn=dn, dU=dU, dgate=dgate, dup=dup, dact=dact, dout=dout, dlogits=dlogits,
             dW=dW, dg=dg, dWg=dWg, dWu=dWu, dWd=dWd)
    return c
"""


def draw_swiglu(rng):
    params = {
        "W": rng.normal(size=(4, 5)),
        "g": rng.uniform(0.5, 1.5, size=5),
        "Wg": rng.normal(size=(5, 8)),
        "Wu": rng.normal(size=(5, 8)),
        "Wd": rng.normal(size=(8, 5)) * 0.5,
    }
    return params, (rng.normal(size=(6, 4)), rng.normal(size=(6, 4)))


SWIGLU_MISTAKES = (
    Mistake(
        "the mean is subtracted before the root mean square, as layer norm would",
        'np.mean(c["E"] ** 2, axis=-1, keepdims=True)',
        'np.var(c["E"], axis=-1, keepdims=True)',
    ),
    Mistake(
        "the sum over features is not divided by their number in the norm's correction",
        "* rms_inv ** 3 * inner / D",
        "* rms_inv ** 3 * inner",
    ),
    Mistake("the residual's gradient is forgotten", "    dE = dE + dout\n", ""),
    Mistake(
        "the tied matrix gets the gradient of its use as embedding only",
        'dW = X.T @ dE + dlogits.T @ c["out"]',
        "dW = X.T @ dE",
    ),
    Mistake(
        "the derivative of the sigmoid stands where that of SiLU belongs",
        'sg * (1 + c["gate"] * (1 - sg))',
        "sg * (1 - sg)",
    ),
    Mistake(
        "the branch through the up projection is left out of the input's gradient",
        "dU = dgate @ Wg.T + dup @ Wu.T",
        "dU = dgate @ Wg.T",
    ),
    Mistake(
        "the norm's gain is missing in the correction term only",
        'inner = np.sum(dn * c["E"], axis=-1, keepdims=True)',
        'inner = np.sum(dU * c["E"], axis=-1, keepdims=True)',
    ),
    Mistake(
        "the up projection's weights get the normalised input before the gain",
        'dWu = c["U"].T @ dup',
        'dWu = c["n"].T @ dup',
    ),
    Mistake(
        "the up branch is multiplied by the gate before its activation",
        "dup = dact * silu",
        'dup = dact * c["gate"]',
    ),
    Mistake(
        "the squared error is averaged over rows in the gradient, over all entries in the loss",
        "dlogits = 2 * diff / diff.size",
        "dlogits = 2 * diff / len(diff)",
    ),
    Mistake("the norm's correction has the wrong sign", 'dn * rms_inv - c["E"]', 'dn * rms_inv + c["E"]'),
)


# ---------------------------------------------------------------------------------------------------------------------
# LSTM with peepholes over three steps
# ---------------------------------------------------------------------------------------------------------------------


def lstm_reference(params, X, Y):
    h = params["h0"].expand(X.shape[1], -1)
    c = params["c0"].expand(X.shape[1], -1)
    J = 0.0
    for t in range(X.shape[0]):
        ai, af, ag, ao = (X[t] @ params["Wx"] + h @ params["Wh"] + params["b"]).chunk(4, dim=1)
        i = torch.sigmoid(ai + params["pi"] * c)
        f = torch.sigmoid(af + params["pf"] * c)
        c = tap(f"c{t + 1}", f * c + i * torch.tanh(ag))
        o = tap(f"o{t + 1}", torch.sigmoid(ao + params["po"] * c))
        h = tap(f"h{t + 1}", o * torch.tanh(c))
        out = tap(f"y{t + 1}", h @ params["V"] + params["d"])
        J = J + ((out - Y[t]) ** 2).sum()
    return J / (2 * X.shape[1])


LSTM = """
def derivation(params, X, Y):
    sig = lambda v: 1.0 / (1.0 + np.exp(-v))
    Wx, Wh, b, V, d = params["Wx"], params["Wh"], params["b"], params["V"], params["d"]
    pi, pf, po = params["pi"], params["pf"], params["po"]
    T, N, _ = X.shape
    n = Wh.shape[0]
    hs = [np.tile(params["h0"], (N, 1))]
    cs = [np.tile(params["c0"], (N, 1))]
    gates = []
    res = {"J": 0.0}
    outs = []
    for t in range(T):
        a = X[t] @ Wx + hs[-1] @ Wh + b
        i = sig(a[:, :n] + pi * cs[-1])
        f = sig(a[:, n:2 * n] + pf * cs[-1])
        g = np.tanh(a[:, 2 * n:3 * n])
        c = f * cs[-1] + i * g
        o = sig(a[:, 3 * n:] + po * c)
        h = o * np.tanh(c)
        y = h @ V + d
        res["J"] += 0.5 * np.sum((y - Y[t]) ** 2) / N
        hs.append(h)
        cs.append(c)
        gates.append((i, f, g, o))
        outs.append(y)
        res.update({f"c{t + 1}": c, f"o{t + 1}": o, f"h{t + 1}": h, f"y{t + 1}": y})

    grads = {k: np.zeros_like(v) for k, v in params.items()}
    dh_next = np.zeros((N, n))
    dc_next = np.zeros((N, n))
    for t in reversed(range(T)):
        i, f, g, o = gates[t]
        h_prev, c_prev, c = hs[t], cs[t], cs[t + 1]
        dy = (outs[t] - Y[t]) / N
        grads["V"] += hs[t + 1].T @ dy
        grads["d"] += dy.sum(0)
        dh = dy @ V.T + dh_next
        tc = np.tanh(c)
        do = dh * tc
        dao = do * o * (1 - o)
        dc = dc_next + dh * o * (1 - tc ** 2) + dao * po
        dai = dc * g * i * (1 - i)
        daf = dc * c_prev * f * (1 - f)
        dag = dc * i * (1 - g ** 2)
        da = np.concatenate([dai, daf, dag, dao], axis=1)
        grads["pi"] += (dai * c_prev).sum(0)
        grads["pf"] += (daf * c_prev).sum(0)
        grads["po"] += (dao * c).sum(0)
        grads["Wx"] += X[t].T @ da
        grads["Wh"] += h_prev.T @ da
        grads["b"] += da.sum(0)
        dh_next = da @ Wh.T
        dc_next = dc * f + dai * pi + daf * pf
        res.update({f"dc{t + 1}": dc, f"do{t + 1}": do, f"dh{t + 1}": dh, f"dy{t + 1}": dy})
    grads["h0"] = dh_next.sum(0)
    grads["c0"] = dc_next.sum(0)
    res.update({"d" + k: v for k, v in grads.items()})
    return res
"""


def draw_lstm(rng):
    D, n, K = 5, 4, 7
    params = {
        "Wx": rng.normal(size=(D, 4 * n)) * 0.6,
        "Wh": rng.normal(size=(n, 4 * n)) * 0.6,
        "b": rng.normal(size=4 * n),
        "pi": rng.normal(size=n),
        "pf": rng.normal(size=n),
        "po": rng.normal(size=n),
        "V": rng.normal(size=(n, K)),
        "d": rng.normal(size=K),
        "h0": rng.normal(size=n),
        "c0": rng.normal(size=n),
    }
    return params, (rng.normal(size=(3, 6, D)), rng.normal(size=(3, 6, K)))


LSTM_MISTAKES = (
    Mistake(
        "the output gate peeps at the cell before its update",
        "o = sig(a[:, 3 * n:] + po * c)",
        "o = sig(a[:, 3 * n:] + po * cs[-1])",
    ),
    Mistake(
        "the input and forget gates' gradients are stacked in the wrong order",
        "np.concatenate([dai, daf, dag, dao], axis=1)",
        "np.concatenate([daf, dai, dag, dao], axis=1)",
    ),
    Mistake(
        "the cell's gradient of the next step is dropped",
        "dc = dc_next + dh * o * (1 - tc ** 2) + dao * po",
        "dc = dh * o * (1 - tc ** 2) + dao * po",
    ),
    Mistake(
        "the forget gate's gradient is taken with the new cell, not the old one",
        "daf = dc * c_prev * f * (1 - f)",
        "daf = dc * c * f * (1 - f)",
    ),
    Mistake(
        "the candidate, a tanh, gets the sigmoid's derivative",
        "dag = dc * i * (1 - g ** 2)",
        "dag = dc * i * g * (1 - g)",
    ),
    Mistake(
        "the recurrent weights get the state after the step",
        'grads["Wh"] += h_prev.T @ da',
        'grads["Wh"] += hs[t + 1].T @ da',
    ),
    Mistake(
        "the gradient of the bias is that of the first step only", 'grads["b"] += da.sum(0)', 'grads["b"] = da.sum(0)'
    ),
    Mistake(
        "the peephole of the forget gate is left out of the cell's backward path",
        "dc_next = dc * f + dai * pi + daf * pf",
        "dc_next = dc * f + dai * pi",
    ),
    Mistake(
        "the shared initial state is averaged over the batch",
        'grads["h0"] = dh_next.sum(0)',
        'grads["h0"] = dh_next.mean(0)',
    ),
    Mistake(
        "the derivative of the cell's tanh is taken at the tanh's value",
        "dc_next + dh * o * (1 - tc ** 2)",
        "dc_next + dh * o * (1 - np.tanh(tc) ** 2)",
    ),
    Mistake(
        "the initial cell is zero instead of the learnt one",
        'cs = [np.tile(params["c0"], (N, 1))]',
        "cs = [np.zeros((N, n))]",
    ),
)


# ---------------------------------------------------------------------------------------------------------------------
# a pointwise convolution, then a grouped and dilated one, then pooling and a softmax
# ---------------------------------------------------------------------------------------------------------------------


def conv_reference(params, X, Y):
    U = tap("U", torch.einsum("nchw,dc->ndhw", X, params["P"]))
    C = tap("C", F.conv2d(U, params["K"], params["k"], stride=(2, 1), padding=(1, 2), dilation=(2, 3), groups=2))
    T = tap("T", torch.tanh(C))
    G = tap("G", T.mean((2, 3)))
    Z = tap("Z", G @ params["W"] + params["b"])
    return -(Y * F.log_softmax(Z, 1)).sum() / X.shape[0]


CONV = """
def derivation(params, X, Y):
    P, K, k, W, b = params["P"], params["K"], params["k"], params["W"], params["b"]
    sh, sw = 2, 1
    ph, pw = 1, 2
    dh, dw = 2, 3
    groups = 2
    N, _, H, Wd = X.shape
    Cout, Cg, KH, KW = K.shape
    Og = Cout // groups
    OH = (H + 2 * ph - dh * (KH - 1) - 1) // sh + 1
    OW = (Wd + 2 * pw - dw * (KW - 1) - 1) // sw + 1

    U = np.einsum("nchw,dc->ndhw", X, P)
    Up = np.pad(U, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    C = np.zeros((N, Cout, OH, OW))
    for o in range(Cout):
        lo = (o // Og) * Cg
        for y in range(OH):
            for x in range(OW):
                for u in range(KH):
                    for v in range(KW):
                        C[:, o, y, x] += Up[:, lo:lo + Cg, y * sh + u * dh, x * sw + v * dw] @ K[o, :, u, v]
        C[:, o] += k[o]
    T = np.tanh(C)
    G = T.mean(axis=(2, 3))
    Z = G @ W + b
    Zs = Z - Z.max(axis=1, keepdims=True)
    logp = Zs - np.log(np.exp(Zs).sum(axis=1, keepdims=True))
    J = -(Y * logp).sum() / N

    dZ = (np.exp(logp) - Y) / N
    dW = G.T @ dZ
    db = dZ.sum(axis=0)
    dG = dZ @ W.T
    dT = np.ones_like(T) * dG[:, :, None, None] / (OH * OW)
    dC = dT * (1 - T ** 2)
    dk = dC.sum(axis=(0, 2, 3))
    dK = np.zeros_like(K)
    dUp = np.zeros_like(Up)
    for o in range(Cout):
        first = (o // Og) * Cg
        for y in range(OH):
            for x in range(OW):
                d = dC[:, o, y, x]
                for u in range(KH):
                    for v in range(KW):
                        r, s = y * sh + u * dh, x * sw + v * dw
                        dK[o, :, u, v] += d @ Up[:, first:first + Cg, r, s]
                        dUp[:, first:first + Cg, r, s] += np.outer(d, K[o, :, u, v])
    dU = dUp[:, :, ph:ph + H, pw:pw + Wd]
    dP = np.einsum("ndhw,nchw->dc", dU, X)
    return dict(J=J, U=U, C=C, T=T, G=G, Z=Z, dU=dU, dC=dC, dT=dT, dG=dG, dZ=dZ, dP=dP, dK=dK, dk=dk, dW=dW, db=db)
"""


def draw_conv(rng):
    params = {
        "P": rng.normal(size=(4, 3)) * 0.6,
        "K": rng.normal(size=(6, 2, 3, 2)) * 0.4,
        "k": rng.normal(size=6) * 0.5,
        "W": rng.normal(size=(6, 5)),
        "b": rng.normal(size=5),
    }
    return params, (rng.normal(size=(2, 3, 8, 7)), np.eye(5)[rng.permutation(5)[:2]])


CONV_MISTAKES = (
    Mistake(
        "the kernel is flipped on the way to the input although the forward pass correlates",
        "np.outer(d, K[o, :, u, v])",
        "np.outer(d, K[o, :, KH - 1 - u, KW - 1 - v])",
    ),
    Mistake(
        "the padding is cut off only at the far side of the height",
        "dU = dUp[:, :, ph:ph + H, pw:pw + Wd]",
        "dU = dUp[:, :, :H, pw:pw + Wd]",
    ),
    Mistake(
        "output channels are dealt to the groups by remainder instead of in blocks, in the backward pass",
        "first = (o // Og) * Cg",
        "first = (o % groups) * Cg",
    ),
    Mistake(
        "the dilation is forgotten in the backward pass",
        "r, s = y * sh + u * dh, x * sw + v * dw",
        "r, s = y * sh + u, x * sw + v",
    ),
    Mistake(
        "overlapping windows overwrite each other's gradient",
        "dUp[:, first:first + Cg, r, s] += np.outer",
        "dUp[:, first:first + Cg, r, s] = np.outer",
    ),
    Mistake(
        "the pooled gradient is spread without the division by the area",
        "dT = np.ones_like(T) * dG[:, :, None, None] / (OH * OW)",
        "dT = np.ones_like(T) * dG[:, :, None, None]",
    ),
    Mistake("the square is forgotten in the tanh's derivative", "dC = dT * (1 - T ** 2)", "dC = dT * (1 - T)"),
    Mistake(
        "the convolution's bias gradient is averaged over the positions",
        "dk = dC.sum(axis=(0, 2, 3))",
        "dk = dC.mean(axis=(2, 3)).sum(axis=0)",
    ),
    Mistake(
        "the kernel's gradient reads the input without its padding offset in the width",
        "dK[o, :, u, v] += d @ Up[:, first:first + Cg, r, s]",
        "dK[o, :, u, v] += d @ Up[:, first:first + Cg, r, s - pw]",
    ),
    Mistake(
        "the strides of height and width are exchanged when the output is written",
        "C[:, o, y, x] += Up[:, lo:lo + Cg, y * sh + u * dh, x * sw + v * dw]",
        "C[:, o, y, x] += Up[:, lo:lo + Cg, y * sw + u * dh, x * sw + v * dw]",
    ),
    Mistake(
        "only the target's part of the softmax's gradient is averaged over the batch",
        "dZ = (np.exp(logp) - Y) / N",
        "dZ = np.exp(logp) - Y / N",
    ),
)


# ---------------------------------------------------------------------------------------------------------------------
# a variational autoencoder
# ---------------------------------------------------------------------------------------------------------------------


def vae_reference(params, X, noise):
    H = tap("H", torch.tanh(X @ params["We"] + params["be"]))
    mu = tap("mu", H @ params["Wm"] + params["bm"])
    lv = tap("lv", H @ params["Wv"] + params["bv"])
    z = tap("z", mu + torch.exp(0.5 * lv) * noise)
    D = tap("D", F.softplus(z @ params["Wd"] + params["bd"]))
    logits = tap("logits", D @ params["Wo"] + params["bo"])
    rec = F.binary_cross_entropy_with_logits(logits, X, reduction="sum")
    kl = -0.5 * torch.sum(1 + lv - mu**2 - lv.exp())
    return (rec + 0.7 * kl) / X.shape[0]


VAE = """
def derivation(params, X, noise):
    p = params
    m = len(X)
    beta = 0.7

    # encoder
    H = np.tanh(X.dot(p["We"]) + p["be"])
    mu = H.dot(p["Wm"]) + p["bm"]
    lv = H.dot(p["Wv"]) + p["bv"]
    std = np.exp(0.5 * lv)
    z = mu + std * noise
    # decoder
    pre = z.dot(p["Wd"]) + p["bd"]
    D = np.log1p(np.exp(pre))
    logits = D.dot(p["Wo"]) + p["bo"]
    Xhat = 1 / (1 + np.exp(-logits))
    rec = -np.sum(X * np.log(Xhat) + (1 - X) * np.log(1 - Xhat))
    kl = -0.5 * np.sum(1 + lv - mu ** 2 - np.exp(lv))
    J = (rec + beta * kl) / m

    g = {}
    g["dlogits"] = (Xhat - X) / m
    g["dWo"] = D.T.dot(g["dlogits"])
    g["dbo"] = g["dlogits"].sum(0)
    g["dD"] = g["dlogits"].dot(p["Wo"].T)
    dpre = g["dD"] / (1 + np.exp(-pre))
    g["dWd"] = z.T.dot(dpre)
    g["dbd"] = dpre.sum(0)
    g["dz"] = dpre.dot(p["Wd"].T)
    g["dmu"] = g["dz"] + beta * mu / m
    g["dlv"] = g["dz"] * noise * 0.5 * std + beta * 0.5 * (np.exp(lv) - 1) / m
    g["dWm"] = H.T.dot(g["dmu"])
    g["dbm"] = g["dmu"].sum(0)
    g["dWv"] = H.T.dot(g["dlv"])
    g["dbv"] = g["dlv"].sum(0)
    g["dH"] = g["dmu"].dot(p["Wm"].T) + g["dlv"].dot(p["Wv"].T)
    dA = g["dH"] * (1 - H * H)
    g["dWe"] = X.T.dot(dA)
    g["dbe"] = dA.sum(0)
    g.update(J=J, H=H, mu=mu, lv=lv, z=z, D=D, logits=logits)
    return g
"""


def draw_vae(rng):
    shapes = {
        "We": (5, 4),
        "be": 4,
        "Wm": (4, 3),
        "bm": 3,
        "Wv": (4, 3),
        "bv": 3,
        "Wd": (3, 7),
        "bd": 7,
        "Wo": (7, 5),
        "bo": 5,
    }
    params = {name: 0.7 * rng.normal(size=shape) for name, shape in shapes.items()}
    return params, (rng.uniform(0.05, 0.95, size=(6, 5)), rng.normal(size=(6, 3)))


VAE_MISTAKES = (
    Mistake(
        "the log-variance is taken for a log-deviation when the noise is scaled",
        "std = np.exp(0.5 * lv)",
        "std = np.exp(lv)",
    ),
    Mistake("the half of the reparametrisation is forgotten", 'g["dz"] * noise * 0.5 * std', 'g["dz"] * noise * std'),
    Mistake(
        "the mean gets the reconstruction's gradient only",
        'g["dmu"] = g["dz"] + beta * mu / m',
        'g["dmu"] = g["dz"]',
    ),
    Mistake(
        "the KL term's gradient is not scaled by its weight",
        "+ beta * 0.5 * (np.exp(lv) - 1) / m",
        "+ 0.5 * (np.exp(lv) - 1) / m",
    ),
    Mistake(
        "the two terms of the KL's log-variance gradient are exchanged",
        "beta * 0.5 * (np.exp(lv) - 1) / m",
        "beta * 0.5 * (1 - np.exp(lv)) / m",
    ),
    Mistake(
        "the weight of the KL term multiplies the reconstruction too",
        "J = (rec + beta * kl) / m",
        "J = beta * (rec + kl) / m",
    ),
    Mistake(
        "the softplus is given a ReLU's derivative",
        'dpre = g["dD"] / (1 + np.exp(-pre))',
        'dpre = g["dD"] * (pre > 0)',
    ),
    Mistake(
        "the cross-entropy's gradient gets the sigmoid's derivative a second time",
        'g["dlogits"] = (Xhat - X) / m',
        'g["dlogits"] = (Xhat - X) * Xhat * (1 - Xhat) / m',
    ),
    Mistake(
        "the decoder's weights get the mean, not the sample", 'g["dWd"] = z.T.dot(dpre)', 'g["dWd"] = mu.T.dot(dpre)'
    ),
    Mistake(
        "no gradient flows from the log-variance into the encoder",
        'g["dH"] = g["dmu"].dot(p["Wm"].T) + g["dlv"].dot(p["Wv"].T)',
        'g["dH"] = g["dmu"].dot(p["Wm"].T)',
    ),
    Mistake("the variance is squared in the KL term", "mu ** 2 - np.exp(lv))", "mu ** 2 - np.exp(lv) ** 2)"),
)


# ---------------------------------------------------------------------------------------------------------------------
# a mixture density network
# ---------------------------------------------------------------------------------------------------------------------


def mixture_reference(params, X, Y):
    N, D = Y.shape
    h = tap("h", torch.tanh(X @ params["W"] + params["b"]))
    a = tap("a", h @ params["Wa"] + params["ba"])
    s = tap("s", h @ params["Ws"] + params["bs"])
    m = tap("m", (h @ params["Wm"] + params["bm"]).reshape(N, -1, D))
    q = ((Y[:, None, :] - m) ** 2).sum(-1) * torch.exp(-2 * s)
    L = tap("L", F.log_softmax(a, 1) - D * s - 0.5 * q - 0.5 * D * float(np.log(2 * np.pi)))
    return -torch.logsumexp(L, 1).mean()


MIXTURE = """
def derivation(params, X, Y):
    N, D = Y.shape
    W, b, Wa, ba = params["W"], params["b"], params["Wa"], params["ba"]
    Ws, bs, Wm, bm = params["Ws"], params["bs"], params["Wm"], params["bm"]
    K = ba.size

    h = np.tanh(X @ W + b)
    a = h @ Wa + ba
    s = h @ Ws + bs
    m = (h @ Wm + bm).reshape(N, K, D)
    logpi = a - a.max(1, keepdims=True)
    logpi = logpi - np.log(np.exp(logpi).sum(1, keepdims=True))
    sq = ((Y[:, None, :] - m) ** 2).sum(2)
    L = logpi - D * s - 0.5 * sq * np.exp(-2 * s) - 0.5 * D * np.log(2 * np.pi)
    top = L.max(1, keepdims=True)
    lse = top + np.log(np.exp(L - top).sum(1, keepdims=True))
    J = -np.mean(lse)

    resp = np.exp(L - lse)
    dL = -resp / N
    da = (np.exp(logpi) - resp) / N
    ds = dL * (sq * np.exp(-2 * s) - D)
    dm = dL[:, :, None] * (Y[:, None, :] - m) * np.exp(-2 * s)[:, :, None]
    dmflat = dm.reshape(N, K * D)
    dWa = h.T @ da
    dba = da.sum(0)
    dWs = h.T @ ds
    dbs = ds.sum(0)
    dWm = h.T @ dmflat
    dbm = dmflat.sum(0)
    dh = da @ Wa.T + ds @ Ws.T + dmflat @ Wm.T
    dpre = dh * (1 - h ** 2)
    dW = X.T @ dpre
    db = dpre.sum(0)
    names = "J h a s m L dL da ds dm dh dW db dWa dba dWs dbs dWm dbm".split()
    values = locals()
    return {name: values[name] for name in names}
"""


def draw_mixture(rng):
    D, K, n = 2, 3, 5
    params = {
        "W": rng.normal(size=(4, n)) * 0.6,
        "b": rng.normal(size=n),
        "Wa": rng.normal(size=(n, K)),
        "ba": rng.normal(size=K),
        "Ws": rng.normal(size=(n, K)) * 0.4,
        "bs": rng.normal(size=K) * 0.4,
        "Wm": rng.normal(size=(n, K * D)),
        "bm": rng.normal(size=K * D),
    }
    return params, (rng.normal(size=(7, 4)), rng.normal(size=(7, D)))


MIXTURE_MISTAKES = (
    Mistake("the Gaussian's normaliser counts one dimension instead of D", "L = logpi - D * s -", "L = logpi - s -"),
    Mistake(
        "the constant of the density is that of one dimension",
        "- 0.5 * D * np.log(2 * np.pi)",
        "- 0.5 * np.log(2 * np.pi)",
    ),
    Mistake(
        "the mixing logits' gradient has the two terms exchanged",
        "da = (np.exp(logpi) - resp) / N",
        "da = (resp - np.exp(logpi)) / N",
    ),
    Mistake(
        "the softmax of the mixing logits is left out of their gradient",
        "da = (np.exp(logpi) - resp) / N",
        "da = dL",
    ),
    Mistake(
        "the means' gradient divides by the deviation, not by the variance",
        "(Y[:, None, :] - m) * np.exp(-2 * s)[:, :, None]",
        "(Y[:, None, :] - m) * np.exp(-s)[:, :, None]",
    ),
    Mistake(
        "the log-deviation's gradient forgets the normaliser",
        "ds = dL * (sq * np.exp(-2 * s) - D)",
        "ds = dL * (sq * np.exp(-2 * s))",
    ),
    Mistake(
        "the means' gradient is flattened with dimension before component",
        "dmflat = dm.reshape(N, K * D)",
        "dmflat = dm.transpose(0, 2, 1).reshape(N, K * D)",
    ),
    Mistake(
        "the responsibilities are normalised over the samples",
        "resp = np.exp(L - lse)",
        "resp = np.exp(L) / np.exp(L).sum(0)",
    ),
    Mistake(
        "the hidden layer gets nothing from the deviations",
        "dh = da @ Wa.T + ds @ Ws.T + dmflat @ Wm.T",
        "dh = da @ Wa.T + dmflat @ Wm.T",
    ),
    Mistake("the loss is summed while the gradient is averaged", "J = -np.mean(lse)", "J = -np.sum(lse)"),
    Mistake(
        "the responsibilities ignore the mixing weights",
        "dL = -resp / N",
        "dL = -np.exp(L - logpi) / np.exp(L - logpi).sum(1, keepdims=True) / N",
    ),
)


# ---------------------------------------------------------------------------------------------------------------------
# a graph convolution with a normalised adjacency, a learnt self-loop and a residual
# ---------------------------------------------------------------------------------------------------------------------


def graph_reference(params, A, X, labels, mask):
    At = A + params["loop"] * torch.eye(A.shape[0], dtype=A.dtype)
    deg = tap("deg", At.sum(1))
    S = tap("S", At / torch.sqrt(deg[:, None] * deg[None, :]))
    H1 = tap("H1", torch.relu(S @ X @ params["W0"] + params["b0"]))
    M = tap("M", H1 @ params["W1"])
    H2 = tap("H2", H1 + torch.tanh(S @ M + params["b1"]))
    Z = tap("Z", H2 @ params["Wo"])
    nll = -(labels * F.log_softmax(Z, 1)).sum(1)
    return (nll * mask).sum() / mask.sum()


GRAPH = """
def derivation(params, A, X, labels, mask):
    loop, W0, b0, W1, b1, Wo = (params[k] for k in ["loop", "W0", "b0", "W1", "b1", "Wo"])
    n = A.shape[0]
    At = A + loop * np.eye(n)
    deg = At.sum(axis=1)
    r = deg ** -0.5
    S = r[:, None] * At * r[None, :]

    XW = X @ W0
    Z1 = S @ XW + b0
    H1 = np.maximum(Z1, 0)
    M = H1 @ W1
    T = np.tanh(S @ M + b1)
    H2 = H1 + T
    Z = H2 @ Wo
    e = np.exp(Z - Z.max(axis=1, keepdims=True))
    prob = e / e.sum(axis=1, keepdims=True)
    J = -np.sum(mask[:, None] * labels * np.log(prob)) / mask.sum()

    dZ = (prob - labels) * mask[:, None] / mask.sum()
    dWo = H2.T @ dZ
    dH2 = dZ @ Wo.T
    dZ2 = dH2 * (1 - T ** 2)
    db1 = dZ2.sum(axis=0)
    dM = S.T @ dZ2
    dW1 = H1.T @ dM
    dH1 = dM @ W1.T + dH2
    dZ1 = dH1 * (Z1 > 0)
    db0 = dZ1.sum(axis=0)
    dXW = S.T @ dZ1
    dW0 = X.T @ dXW
    # the adjacency, for the sake of the self-loop
    dS = dZ2 @ M.T + dZ1 @ XW.T
    dr = (dS * At * r[None, :]).sum(axis=1) + (dS * At * r[:, None]).sum(axis=0)
    ddeg = dr * -0.5 * deg ** -1.5
    dAt = dS * r[:, None] * r[None, :] + ddeg[:, None]
    dloop = np.trace(dAt)
    return {"J": J, "deg": deg, "S": S, "H1": H1, "M": M, "H2": H2, "Z": Z,
            "ddeg": ddeg, "dS": dS, "dH1": dH1, "dM": dM, "dH2": dH2, "dZ": dZ,
            "dloop": dloop, "dW0": dW0, "db0": db0, "dW1": dW1, "db1": db1, "dWo": dWo}
"""


def draw_graph(rng):
    n = 6
    params = {
        "loop": np.array(rng.uniform(0.5, 1.5)),
        "W0": rng.normal(size=(4, 5)),
        "b0": rng.normal(size=5),
        "W1": rng.normal(size=(5, 5)),
        "b1": rng.normal(size=5),
        "Wo": rng.normal(size=(5, 3)),
    }
    A = rng.uniform(0.2, 1.5, size=(n, n)) * (1 - np.eye(n))
    labels = np.eye(3)[rng.integers(0, 3, size=n)]
    mask = rng.permutation(np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0]))
    return params, (A, rng.normal(size=(n, 4)), labels, mask)


GRAPH_MISTAKES = (
    Mistake("the degrees are counted without the self-loop", "deg = At.sum(axis=1)", "deg = A.sum(axis=1)"),
    Mistake(
        "the adjacency is not transposed on the way back",
        "dM = S.T @ dZ2",
        "dM = S @ dZ2",
    ),
    Mistake("the residual's gradient is dropped", "dH1 = dM @ W1.T + dH2", "dH1 = dM @ W1.T"),
    Mistake(
        "the degree matrix is taken for a constant in the self-loop's gradient",
        "dAt = dS * r[:, None] * r[None, :] + ddeg[:, None]",
        "dAt = dS * r[:, None] * r[None, :]",
    ),
    Mistake(
        "the loss's gradient divides by all nodes, not by the labelled ones",
        "dZ = (prob - labels) * mask[:, None] / mask.sum()",
        "dZ = (prob - labels) * mask[:, None] / n",
    ),
    Mistake(
        "the square W1 is not transposed",
        "dH1 = dM @ W1.T",
        "dH1 = dM @ W1",
    ),
    Mistake(
        "the ReLU's mask is applied to the outgoing state after the residual",
        "dZ1 = dH1 * (Z1 > 0)",
        "dZ1 = dH1 * (H2 > 0)",
    ),
    Mistake(
        "the tanh's derivative is taken at the state with the residual added",
        "dZ2 = dH2 * (1 - T ** 2)",
        "dZ2 = dH2 * (1 - H2 ** 2)",
    ),
    Mistake(
        "only the row factor of the normalisation is differentiated",
        "dr = (dS * At * r[None, :]).sum(axis=1) + (dS * At * r[:, None]).sum(axis=0)",
        "dr = (dS * At * r[None, :]).sum(axis=1)",
    ),
    Mistake(
        "the power of the degree's derivative is off by one",
        "ddeg = dr * -0.5 * deg ** -1.5",
        "ddeg = dr * -0.5 * deg ** -0.5",
    ),
    Mistake("the weights see the features before aggregation", "dW0 = X.T @ dXW", "dW0 = X.T @ dZ1"),
)


# ---------------------------------------------------------------------------------------------------------------------
# matrix factorisation with biases, regularisation per rating and repeated rows; parameters' gradients only
# ---------------------------------------------------------------------------------------------------------------------


def factorisation_reference(params, users, items, ratings):
    users, items = users.long(), items.long()
    p, q = params["P"][users], params["Q"][items]
    bu, bi = params["bu"][users], params["bi"][items]
    pred = 1 + 4 * torch.sigmoid(params["base"] + bu + bi + (p * q).sum(1))
    fit = ((pred - ratings) ** 2).sum()
    decay = 0.3 * ((p**2).sum() + (q**2).sum()) + 0.2 * ((params["bu"] ** 2).sum() + (params["bi"] ** 2).sum())
    return (fit + decay) / 2


FACTORISATION = """
def derivation(params, users, items, ratings):
    P, Q, bu, bi, base = params["P"], params["Q"], params["bu"], params["bi"], params["base"]
    lam, lam_b = 0.3, 0.2
    dP, dQ = np.zeros_like(P), np.zeros_like(Q)
    dbu, dbi = lam_b * bu, lam_b * bi
    dbase = 0.0
    J = 0.5 * lam_b * (np.sum(bu ** 2) + np.sum(bi ** 2))
    for u, i, rating in zip(users.astype(int), items.astype(int), ratings):
        score = base + bu[u] + bi[i] + P[u] @ Q[i]
        squash = 1 / (1 + np.exp(-score))
        err = 1 + 4 * squash - rating
        J += 0.5 * err ** 2 + 0.5 * lam * (P[u] @ P[u] + Q[i] @ Q[i])
        ds = err * 4 * squash * (1 - squash)
        dP[u] += ds * Q[i] + lam * P[u]
        dQ[i] += ds * P[u] + lam * Q[i]
        dbu[u] += ds
        dbi[i] += ds
        dbase += ds
    return {"J": J, "dP": dP, "dQ": dQ, "dbu": dbu, "dbi": dbi, "dbase": dbase}
"""


def draw_factorisation(rng):
    params = {
        "P": rng.normal(size=(4, 3)),
        "Q": rng.normal(size=(6, 3)),
        "bu": rng.normal(size=4),
        "bi": rng.normal(size=6),
        "base": np.array(rng.uniform(0.2, 0.8)),
    }
    users = np.array([0, 0, 1, 1, 2, 2, 3, 3, 0])
    items = np.concatenate([rng.permutation(6), rng.permutation(6)[:3]])
    return params, (users, items, rng.uniform(1, 5, size=9))


FACTORISATION_MISTAKES = (
    Mistake("a user rated twice keeps the last rating's gradient only", "dP[u] += ds * Q[i]", "dP[u] = ds * Q[i]"),
    Mistake(
        "the user's factors decay once, not once per rating, in the gradient",
        "dP[u] += ds * Q[i] + lam * P[u]",
        "dP[u] += ds * Q[i] + lam * P[u] * (not dP[u].any())",
    ),
    Mistake("the items' factors are multiplied by themselves", "dQ[i] += ds * P[u]", "dQ[i] += ds * Q[i]"),
    Mistake("the range of the ratings is forgotten in the derivative", "ds = err * 4 * squash", "ds = err * squash"),
    Mistake("the sigmoid's derivative loses its second factor", "4 * squash * (1 - squash)", "4 * squash"),
    Mistake(
        "the users' biases are not decayed in the gradient",
        "dbu, dbi = lam_b * bu, lam_b * bi",
        "dbu, dbi = np.zeros_like(bu), lam_b * bi",
    ),
    Mistake("the item's bias is looked up by the user", "score = base + bu[u] + bi[i]", "score = base + bu[u] + bi[u]"),
    Mistake("the items' factors decay by the wrong coefficient", "ds * P[u] + lam * Q[i]", "ds * P[u] + lam_b * Q[i]"),
    Mistake("the decay of the users' factors has the wrong sign", "ds * Q[i] + lam * P[u]", "ds * Q[i] - lam * P[u]"),
    Mistake("the global bias gets the mean over the ratings", "dbase += ds", "dbase += ds / len(ratings)"),
    Mistake("the half of the squared decay is forgotten in the loss", "+ 0.5 * lam * (P[u]", "+ lam * (P[u]"),
)


# ---------------------------------------------------------------------------------------------------------------------
# attention with rotary embedding and a padding mask
# ---------------------------------------------------------------------------------------------------------------------


def rotary_reference(params, X, Y, keep):
    B, T, _ = X.shape
    nh, hd = 2, 4
    angle = torch.arange(T, dtype=X.dtype)[:, None] * 10.0 ** -torch.arange(hd // 2, dtype=X.dtype)
    cos, sin = angle.cos(), angle.sin()

    def heads(x):
        return x.reshape(B, T, nh, hd).transpose(1, 2)

    def rotate(x):
        first, second = x.chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

    Q = tap("Q", heads(X @ params["Wq"]))
    K = tap("K", heads(X @ params["Wk"]))
    V = tap("V", heads(X @ params["Wv"]))
    S = tap("S", rotate(Q) @ rotate(K).transpose(2, 3) / hd**0.5)
    P = tap("P", torch.softmax(S.masked_fill(keep[:, None, None, :] == 0, float("-inf")), dim=-1))
    C = tap("C", (P @ V).transpose(1, 2).reshape(B, T, nh * hd))
    out = tap("O", C @ params["Wo"] + params["bo"])
    return (((out - Y) ** 2).sum(-1) * keep).sum() / keep.sum()


ROTARY = """
def derivation(params, X, Y, keep):
    Wq, Wk, Wv, Wo, bo = (params[k] for k in ("Wq", "Wk", "Wv", "Wo", "bo"))
    B, T, _ = X.shape
    nh, hd = 2, 4
    half = hd // 2
    theta = 10.0 ** -np.arange(half)
    ang = np.arange(T)[:, None] * theta[None, :]
    cos, sin = np.cos(ang), np.sin(ang)

    def split(x):
        return x.reshape(B, T, nh, hd).transpose(0, 2, 1, 3)

    def merge(x):
        return x.transpose(0, 2, 1, 3).reshape(B, T, nh * hd)

    def rope(x):
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    def rope_back(g):
        a, b = g[..., :half], g[..., half:]
        return np.concatenate([a * cos + b * sin, b * cos - a * sin], axis=-1)

    Q, K, V = split(X @ Wq), split(X @ Wk), split(X @ Wv)
    Qr, Kr = rope(Q), rope(K)
    S = np.einsum("bhid,bhjd->bhij", Qr, Kr) / np.sqrt(hd)
    Sm = np.where(keep[:, None, None, :] > 0, S, -1e30)
    E = np.exp(Sm - Sm.max(axis=-1, keepdims=True))
    P = E / E.sum(axis=-1, keepdims=True)
    C = merge(np.einsum("bhij,bhjd->bhid", P, V))
    O = C @ Wo + bo
    count = keep.sum()
    J = np.sum(keep[:, :, None] * (O - Y) ** 2) / count

    dO = 2 * keep[:, :, None] * (O - Y) / count
    dbo = dO.sum(axis=(0, 1))
    dWo = np.einsum("btc,bto->co", C, dO)
    dC = dO @ Wo.T
    dCh = split(dC)
    dP = np.einsum("bhid,bhjd->bhij", dCh, V)
    dV = np.einsum("bhij,bhid->bhjd", P, dCh)
    dS = P * (dP - (dP * P).sum(axis=-1, keepdims=True))
    dQr = np.einsum("bhij,bhjd->bhid", dS, Kr) / np.sqrt(hd)
    dKr = np.einsum("bhij,bhid->bhjd", dS, Qr) / np.sqrt(hd)
    dQ = rope_back(dQr)
    dK = rope_back(dKr)
    dWq = np.einsum("btm,btc->mc", X, merge(dQ))
    dWk = np.einsum("btm,btc->mc", X, merge(dK))
    dWv = np.einsum("btm,btc->mc", X, merge(dV))
    return dict(J=J, Q=Q, K=K, V=V, S=S, P=P, C=C, O=O, dQ=dQ, dK=dK, dV=dV, dS=dS, dP=dP, dC=dC, dO=dO,
                dWq=dWq, dWk=dWk, dWv=dWv, dWo=dWo, dbo=dbo)
"""


def draw_rotary(rng):
    params = {
        "Wq": rng.normal(size=(6, 8)) * 0.5,
        "Wk": rng.normal(size=(6, 8)) * 0.5,
        "Wv": rng.normal(size=(6, 8)),
        "Wo": rng.normal(size=(8, 7)),
        "bo": rng.normal(size=7),
    }
    keep = np.array([[1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0, 0.0]])
    return params, (rng.normal(size=(3, 5, 6)), rng.normal(size=(3, 5, 7)), keep)


ROTARY_MISTAKES = (
    Mistake(
        "the gradient of the queries is turned forward again instead of back",
        "dQ = rope_back(dQr)",
        "dQ = rope(dQr)",
    ),
    Mistake("the keys' gradient is not turned back at all", "dK = rope_back(dKr)", "dK = dKr"),
    Mistake(
        "the scores are scaled by the model's width, not by the head's",
        "Qr, Kr) / np.sqrt(hd)",
        "Qr, Kr) / np.sqrt(nh * hd)",
    ),
    Mistake(
        "the padding mask is laid on the queries' axis",
        "Sm = np.where(keep[:, None, None, :] > 0, S, -1e30)",
        "Sm = np.where(keep[:, None, :, None] > 0, S, -1e30)",
    ),
    Mistake(
        "masked scores are set to zero before the softmax",
        "np.where(keep[:, None, None, :] > 0, S, -1e30)",
        "np.where(keep[:, None, None, :] > 0, S, 0.0)",
    ),
    Mistake(
        "the softmax's row sum is taken over the queries",
        "dS = P * (dP - (dP * P).sum(axis=-1, keepdims=True))",
        "dS = P * (dP - (dP * P).sum(axis=-2, keepdims=True))",
    ),
    Mistake(
        "the attention is not transposed for the values' gradient",
        'dV = np.einsum("bhij,bhid->bhjd", P, dCh)',
        'dV = np.einsum("bhij,bhjd->bhid", P, dCh)',
    ),
    Mistake(
        "the scale of the scores is left out of the keys' gradient",
        "dS, Qr) / np.sqrt(hd)",
        "dS, Qr)",
    ),
    Mistake(
        "the queries' gradient uses the keys before their rotation", "dS, Kr) / np.sqrt(hd)", "dS, K) / np.sqrt(hd)"
    ),
    Mistake(
        "padded positions count in the output's gradient",
        "dO = 2 * keep[:, :, None] * (O - Y) / count",
        "dO = 2 * (O - Y) / count",
    ),
    Mistake(
        "the exponents of the rotary frequencies start at one",
        "theta = 10.0 ** -np.arange(half)",
        "theta = 10.0 ** -np.arange(1, half + 1)",
    ),
)


# ---------------------------------------------------------------------------------------------------------------------
# Huber loss with sample weights on a network with ELU and GELU
# ---------------------------------------------------------------------------------------------------------------------


def huber_reference(params, X, Y, weight):
    Z1 = tap("Z1", X @ params["W1"] + params["b1"])
    A1 = tap("A1", F.elu(Z1, alpha=0.7))
    Z2 = tap("Z2", A1 @ params["W2"] + params["b2"])
    A2 = tap("A2", F.gelu(Z2, approximate="tanh"))
    out = tap("out", A2 @ params["W3"] + params["b3"])
    return (weight * F.huber_loss(out, Y, reduction="none", delta=0.8).sum(1)).sum() / weight.sum()


HUBER = """
def derivation(params, X, Y, weight):
    alpha, delta = 0.7, 0.8
    k = np.sqrt(2 / np.pi)
    W1, b1, W2, b2, W3, b3 = (params[n] for n in ("W1", "b1", "W2", "b2", "W3", "b3"))

    Z1 = X @ W1 + b1
    A1 = np.where(Z1 > 0, Z1, alpha * (np.exp(Z1) - 1))
    Z2 = A1 @ W2 + b2
    t = np.tanh(k * (Z2 + 0.044715 * Z2 ** 3))
    A2 = 0.5 * Z2 * (1 + t)
    out = A2 @ W3 + b3
    e = out - Y
    small = np.abs(e) <= delta
    huber = np.where(small, 0.5 * e ** 2, delta * (np.abs(e) - 0.5 * delta))
    w = weight / weight.sum()
    J = np.sum(w[:, None] * huber)

    dout = w[:, None] * np.clip(e, -delta, delta)
    dW3 = A2.T @ dout
    db3 = dout.sum(axis=0)
    dA2 = dout @ W3.T
    dt = (1 - t ** 2) * k * (1 + 3 * 0.044715 * Z2 ** 2)
    dZ2 = dA2 * (0.5 * (1 + t) + 0.5 * Z2 * dt)
    dW2 = A1.T @ dZ2
    db2 = dZ2.sum(axis=0)
    dA1 = dZ2 @ W2.T
    dZ1 = dA1 * np.where(Z1 > 0, 1.0, A1 + alpha)
    dW1 = X.T @ dZ1
    db1 = dZ1.sum(axis=0)
    return {"J": J, "Z1": Z1, "A1": A1, "Z2": Z2, "A2": A2, "out": out,
            "dZ1": dZ1, "dA1": dA1, "dZ2": dZ2, "dA2": dA2, "dout": dout,
            "dW1": dW1, "db1": db1, "dW2": dW2, "db2": db2, "dW3": dW3, "db3": db3}
"""


def draw_huber(rng):
    params = {
        "W1": rng.normal(size=(4, 6)) * 0.7,
        "b1": rng.normal(size=6),
        "W2": rng.normal(size=(6, 5)) * 0.6,
        "b2": rng.normal(size=5),
        "W3": rng.normal(size=(5, 3)),
        "b3": rng.normal(size=3),
    }
    return params, (rng.normal(size=(8, 4)), rng.normal(size=(8, 3)), rng.uniform(0.3, 2.5, size=8))


HUBER_MISTAKES = (
    Mistake(
        "the ELU's derivative is written for alpha equal to one",
        "np.where(Z1 > 0, 1.0, A1 + alpha)",
        "np.where(Z1 > 0, 1.0, A1 + 1.0)",
    ),
    Mistake(
        "the factor three of the cube's derivative is forgotten",
        "(1 + 3 * 0.044715 * Z2 ** 2)",
        "(1 + 0.044715 * Z2 ** 2)",
    ),
    Mistake(
        "the linear part of the loss is not slowed by delta",
        "np.clip(e, -delta, delta)",
        "np.where(small, e, np.sign(e))",
    ),
    Mistake(
        "the linear part does not meet the quadratic one",
        "delta * (np.abs(e) - 0.5 * delta)",
        "delta * (np.abs(e) - delta)",
    ),
    Mistake(
        "the sample weights are divided by the number of samples",
        "w = weight / weight.sum()",
        "w = weight / len(weight)",
    ),
    Mistake("the sample weight is applied twice in the gradient", "dout = w[:, None] *", "dout = w[:, None] ** 2 *"),
    Mistake(
        "the GELU is differentiated as its sigmoid approximation",
        "dZ2 = dA2 * (0.5 * (1 + t) + 0.5 * Z2 * dt)",
        "sg = 1 / (1 + np.exp(-1.702 * Z2))\n    dZ2 = dA2 * (sg + 1.702 * Z2 * sg * (1 - sg))",
    ),
    Mistake(
        "the product rule's second term is missing in the GELU", "(0.5 * (1 + t) + 0.5 * Z2 * dt)", "(0.5 * (1 + t))"
    ),
    Mistake("the second layer's weights get the value before the ELU", "dW2 = A1.T @ dZ2", "dW2 = Z1.T @ dZ2"),
    Mistake("the inner factor of the GELU is pi over two", "k = np.sqrt(2 / np.pi)", "k = np.sqrt(np.pi / 2)"),
    Mistake(
        "the output's bias gradient forgets the sample weights",
        "db3 = dout.sum(axis=0)",
        "db3 = np.clip(e, -delta, delta).mean(axis=0)",
    ),
)


# ---------------------------------------------------------------------------------------------------------------------
# a linear-chain conditional random field over sequences of several lengths; parameters' gradients only
# ---------------------------------------------------------------------------------------------------------------------


def crf_reference(params, X, tags, lengths):
    E = X @ params["W"] + params["b"]
    tags, lengths = tags.long(), lengths.long()
    total = 0.0
    for n in range(X.shape[0]):
        size = int(lengths[n])
        y = tags[n]
        alpha = params["start"] + E[n, 0]
        gold = params["start"][y[0]] + E[n, 0, y[0]]
        for t in range(1, size):
            alpha = E[n, t] + torch.logsumexp(alpha[:, None] + params["trans"], dim=0)
            gold = gold + params["trans"][y[t - 1], y[t]] + E[n, t, y[t]]
        total = total + torch.logsumexp(alpha + params["end"], dim=0) - gold - params["end"][y[size - 1]]
    return total / X.shape[0]


CRF = """
def derivation(params, X, tags, lengths):
    def lse(v, axis):
        top = v.max(axis=axis, keepdims=True)
        return np.squeeze(top, axis) + np.log(np.exp(v - top).sum(axis=axis))

    W, b, trans = params["W"], params["b"], params["trans"]
    start, end = params["start"], params["end"]
    N, T, _ = X.shape
    E = X @ W + b
    dE = np.zeros_like(E)
    dtrans, dstart, dend = np.zeros_like(trans), np.zeros_like(start), np.zeros_like(end)
    J = 0.0
    for n in range(N):
        L = int(lengths[n])
        y = tags[n].astype(int)
        alpha = np.zeros((L, len(b)))
        alpha[0] = start + E[n, 0]
        for t in range(1, L):
            alpha[t] = E[n, t] + lse(alpha[t - 1][:, None] + trans, 0)
        logZ = lse(alpha[L - 1] + end, 0)
        gold = start[y[0]] + E[n, np.arange(L), y[:L]].sum() + trans[y[:L - 1], y[1:L]].sum() + end[y[L - 1]]
        J += (logZ - gold) / N

        # the model's expectations, from the last step to the first
        d = np.exp(alpha[L - 1] + end - logZ)
        dend += d / N
        for t in range(L - 1, 0, -1):
            dE[n, t] += d / N
            joint = np.exp(alpha[t - 1][:, None] + trans - (alpha[t] - E[n, t])[None, :]) * d[None, :]
            dtrans += joint / N
            d = joint.sum(axis=1)
        dE[n, 0] += d / N
        dstart += d / N

        # the observed path
        dstart[y[0]] -= 1 / N
        dend[y[L - 1]] -= 1 / N
        for t in range(L):
            dE[n, t, y[t]] -= 1 / N
            if t > 0:
                dtrans[y[t - 1], y[t]] -= 1 / N
    dW = np.einsum("ntd,ntk->dk", X, dE)
    db = dE.sum(axis=(0, 1))
    return {"J": J, "dW": dW, "db": db, "dtrans": dtrans, "dstart": dstart, "dend": dend}
"""


def draw_crf(rng):
    K, D = 3, 5
    params = {
        "W": rng.normal(size=(D, K)),
        "b": rng.normal(size=K),
        "trans": rng.normal(size=(K, K)),
        "start": rng.normal(size=K),
        "end": rng.normal(size=K),
    }
    tags = np.stack([np.concatenate([rng.permutation(K), rng.permutation(K)]) for _ in range(4)])
    return params, (rng.normal(size=(4, 6, D)), tags, rng.permutation(np.array([6, 3, 4, 5])))


CRF_MISTAKES = (
    Mistake("the padded steps are run as if they belonged to the sequence", "L = int(lengths[n])", "L = T"),
    Mistake(
        "the recursion sums over the next state instead of the previous one",
        "lse(alpha[t - 1][:, None] + trans, 0)",
        "lse(alpha[t - 1][None, :] + trans, 1)",
    ),
    Mistake(
        "the end scores are missing in the last marginal",
        "d = np.exp(alpha[L - 1] + end - logZ)",
        "d = np.exp(alpha[L - 1] - lse(alpha[L - 1], 0))",
    ),
    Mistake(
        "the backward loop stops one step early",
        "for t in range(L - 1, 0, -1):",
        "for t in range(L - 1, 1, -1):",
    ),
    Mistake(
        "the pair marginal is normalised with the emission still inside",
        "- (alpha[t] - E[n, t])[None, :])",
        "- alpha[t][None, :])",
    ),
    Mistake(
        "the marginal is summed over the wrong state of the pair", "d = joint.sum(axis=1)", "d = joint.sum(axis=0)"
    ),
    Mistake(
        "the observed transition is counted from the new tag to the old one",
        "dtrans[y[t - 1], y[t]] -= 1 / N",
        "dtrans[y[t], y[t - 1]] -= 1 / N",
    ),
    Mistake(
        "the transitions' expectation is not averaged over the sequences", "dtrans += joint / N", "dtrans += joint"
    ),
    Mistake("the first emission gets no expectation", "        dE[n, 0] += d / N\n", ""),
    Mistake("the recursion begins without the start scores", "alpha[0] = start + E[n, 0]", "alpha[0] = E[n, 0]"),
    Mistake("the path's score ends with the tag of the padded last place", "+ end[y[L - 1]]", "+ end[y[T - 1]]"),
)


OPERATIONS = (
    Operation("batch-norm-network", batch_norm_reference, BATCH_NORM, draw_batch_norm, BATCH_NORM_MISTAKES),
    Operation("rms-norm-swiglu-tied", swiglu_reference, SWIGLU, draw_swiglu, SWIGLU_MISTAKES),
    Operation("lstm-peepholes", lstm_reference, LSTM, draw_lstm, LSTM_MISTAKES),
    Operation("conv2d-groups-dilation", conv_reference, CONV, draw_conv, CONV_MISTAKES),
    Operation("variational-autoencoder", vae_reference, VAE, draw_vae, VAE_MISTAKES),
    Operation("mixture-density-network", mixture_reference, MIXTURE, draw_mixture, MIXTURE_MISTAKES),
    Operation("graph-convolution-residual", graph_reference, GRAPH, draw_graph, GRAPH_MISTAKES),
    Operation(
        "matrix-factorisation", factorisation_reference, FACTORISATION, draw_factorisation, FACTORISATION_MISTAKES
    ),
    Operation("attention-rotary-padding", rotary_reference, ROTARY, draw_rotary, ROTARY_MISTAKES),
    Operation("huber-elu-gelu", huber_reference, HUBER, draw_huber, HUBER_MISTAKES),
    Operation("linear-chain-crf", crf_reference, CRF, draw_crf, CRF_MISTAKES),
)
