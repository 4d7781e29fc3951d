"""Mistakes made by hand in four backward passes, InfoNCE to the CRF's forward algorithm, each one text edit."""

import numpy as np
import torch
import torch.nn.functional as F

from handgrad import tap
from tests.corpus.planted import Mistake, Operation

# --- 1. InfoNCE, both directions, over L2-normalised embeddings of two towers, learned temperature


def infonce_reference(params, X, Y):
    A = tap("A", X @ params["Wa"] + params["ba"])
    B = tap("B", Y @ params["Wb"] + params["bb"])
    U = tap("U", A / A.norm(dim=1, keepdim=True))
    V = tap("V", B / B.norm(dim=1, keepdim=True))
    C = tap("C", U @ V.T)
    S = tap("S", torch.exp(params["t"]) * C)
    target = torch.arange(len(X))
    return (F.cross_entropy(S, target) + F.cross_entropy(S.T, target)) / 2


INFONCE = """def derivation(params, X, Y):
    Wa, ba, Wb, bb, t = params["Wa"], params["ba"], params["Wb"], params["bb"], params["t"]
    N = X.shape[0]

    # forward
    A = X @ Wa + ba
    B = Y @ Wb + bb
    na = np.sqrt((A ** 2).sum(axis=1, keepdims=True))
    nb = np.sqrt((B ** 2).sum(axis=1, keepdims=True))
    U = A / na
    V = B / nb
    C = U @ V.T
    scale = np.exp(t)
    S = scale * C
    row = S - S.max(axis=1, keepdims=True)
    logP = row - np.log(np.exp(row).sum(axis=1, keepdims=True))
    col = S - S.max(axis=0, keepdims=True)
    logQ = col - np.log(np.exp(col).sum(axis=0, keepdims=True))
    J = -(np.trace(logP) + np.trace(logQ)) / (2 * N)

    # backward
    dS = (np.exp(logP) + np.exp(logQ) - 2 * np.eye(N)) / (2 * N)
    dt = np.array([(dS * S).sum()])
    dC = scale * dS
    dU = dC @ V
    dV = dC.T @ U
    dA = (dU - U * (U * dU).sum(axis=1, keepdims=True)) / na
    dB = (dV - V * (V * dV).sum(axis=1, keepdims=True)) / nb
    dWa = X.T @ dA
    dba = dA.sum(axis=0)
    dWb = Y.T @ dB
    dbb = dB.sum(axis=0)

    return {
        "J": J, "A": A, "B": B, "U": U, "V": V, "C": C, "S": S,
        "dS": dS, "dC": dC, "dU": dU, "dV": dV, "dA": dA, "dB": dB,
        "dWa": dWa, "dba": dba, "dWb": dWb, "dbb": dbb, "dt": dt,
    }
"""


def infonce_draw(rng):
    params = {
        "Wa": rng.normal(size=(4, 3)),
        "ba": rng.normal(size=3) * 0.5,
        "Wb": rng.normal(size=(5, 3)),
        "bb": rng.normal(size=3) * 0.5,
        "t": rng.uniform(0.4, 1.2, size=1),
    }
    return params, (rng.normal(size=(7, 4)), rng.normal(size=(7, 5)))


INFONCE_MISTAKES = (
    Mistake(
        "The gradient of the log temperature forgets the derivative of the exponential.",
        "dt = np.array([(dS * S).sum()])",
        "dt = np.array([(dS * C).sum()])",
    ),
    Mistake("The temperature is left out on the way back to the cosines.", "dC = scale * dS", "dC = dS"),
    Mistake("The second tower is detached, as the key encoder of MoCo.", "dV = dC.T @ U", "dV = np.zeros_like(V)"),
    Mistake(
        "The norm of the first tower is held constant: no projection off the embedding.",
        "dA = (dU - U * (U * dU).sum(axis=1, keepdims=True)) / na",
        "dA = dU / na",
    ),
    Mistake(
        "The normalisation's gradient divides by the squared norm.",
        "dB = (dV - V * (V * dV).sum(axis=1, keepdims=True)) / nb",
        "dB = (dV - V * (V * dV).sum(axis=1, keepdims=True)) / nb ** 2",
    ),
    Mistake(
        "The second tower is normalised over the batch, not over the features.",
        "nb = np.sqrt((B ** 2).sum(axis=1, keepdims=True))",
        "nb = np.sqrt((B ** 2).sum(axis=0, keepdims=True))",
    ),
    Mistake(
        "The log-sum-exp of the second direction runs over rows again.",
        "np.exp(col).sum(axis=0, keepdims=True)",
        "np.exp(col).sum(axis=1, keepdims=True)",
    ),
    Mistake("The positives are subtracted for one direction only.", "2 * np.eye(N)", "np.eye(N)"),
    Mistake(
        "The gradient of the logits is averaged over all pairs, not over the examples.",
        "- 2 * np.eye(N)) / (2 * N)",
        "- 2 * np.eye(N)) / (2 * N * N)",
    ),
    Mistake(
        "The gradient of the first embedding multiplies by the other tower before normalisation.",
        "dU = dC @ V",
        "dU = dC @ B",
    ),
    Mistake(
        "The learned number is read as a log temperature that divides, not as a log scale.",
        "scale = np.exp(t)",
        "scale = np.exp(-t)",
    ),
)

# --- 2. factorisation machine, square trick, logistic loss and L2


def fm_reference(params, X, y):
    M = tap("M", X @ params["V"])
    K = tap("K", (X**2) @ (params["V"] ** 2))
    pair = tap("pair", 0.5 * (M**2 - K).sum(dim=1))
    z = tap("z", params["w0"] + X @ params["w"] + pair)
    penalty = 0.5 * 0.03 * ((params["w"] ** 2).sum() + (params["V"] ** 2).sum())
    return F.binary_cross_entropy_with_logits(z, y) + penalty


FM = """def derivation(params, X, y):
    w0, w, V = params["w0"], params["w"], params["V"]
    N = X.shape[0]
    lam = 0.03

    # forward
    M = X @ V
    K = (X ** 2) @ (V ** 2)
    pair = 0.5 * (M ** 2 - K).sum(axis=1)
    z = w0 + X @ w + pair
    p = 1 / (1 + np.exp(-z))
    J = np.mean(np.logaddexp(0, z) - y * z) + 0.5 * lam * ((w ** 2).sum() + (V ** 2).sum())

    # backward
    dz = (p - y) / N
    dw0 = np.array([dz.sum()])
    dw = X.T @ dz + lam * w
    dpair = dz
    dM = dpair[:, None] * M
    dK = -0.5 * dpair[:, None] * np.ones_like(K)
    dV = X.T @ dM + 2 * V * ((X ** 2).T @ dK) + lam * V

    return {
        "J": J, "M": M, "K": K, "pair": pair, "z": z,
        "dz": dz, "dpair": dpair, "dM": dM, "dK": dK, "dw0": dw0, "dw": dw, "dV": dV,
    }
"""


def fm_draw(rng):
    params = {"w0": rng.normal(size=1), "w": rng.normal(size=5), "V": rng.normal(size=(5, 3)) * 0.6}
    return params, (rng.normal(size=(8, 5)), rng.permutation(np.array([0.0, 1.0] * 4)))


FM_MISTAKES = (
    Mistake(
        "The half of the square trick is forgotten: every pair counts twice.",
        "pair = 0.5 * (M ** 2 - K)",
        "pair = (M ** 2 - K)",
    ),
    Mistake(
        "The two of the square's derivative is kept although the half cancels it.",
        "dM = dpair[:, None] * M",
        "dM = 2 * dpair[:, None] * M",
    ),
    Mistake("The gradient of V leaves out the self-interaction term.", " + 2 * V * ((X ** 2).T @ dK) + lam", " + lam"),
    Mistake("The self-interaction term of V's gradient has x in place of x squared.", "(X ** 2).T @ dK", "X.T @ dK"),
    Mistake("The factors are not squared in the sum of squares.", "K = (X ** 2) @ (V ** 2)", "K = (X ** 2) @ V"),
    Mistake("The L2 penalty is left out of the factors' gradient.", "@ dK) + lam * V", "@ dK)"),
    Mistake(
        "The decay of the linear weights is twice what the halved penalty gives.",
        "dw = X.T @ dz + lam * w",
        "dw = X.T @ dz + 2 * lam * w",
    ),
    Mistake(
        "The bias is decayed too.",
        "dw0 = np.array([dz.sum()])",
        "dw0 = np.array([dz.sum()]) + lam * w0",
    ),
    Mistake("The logistic loss's gradient is summed, not averaged over the batch.", "dz = (p - y) / N", "dz = p - y"),
    Mistake(
        "The labels are turned into -1 and 1 in the gradient of the 0-1 loss.",
        "dz = (p - y) / N",
        "dz = (p - (2 * y - 1)) / N",
    ),
    Mistake(
        "The sigmoid's derivative is multiplied in again, as for a squared error.",
        "dz = (p - y) / N",
        "dz = (p - y) * p * (1 - p) / N",
    ),
)

# --- 3. weight-normalised layer, ELU, Huber loss weighted per example


def weightnorm_reference(params, X, Y, c):
    u = tap("u", params["v"] / params["v"].norm(dim=0))
    W = tap("W", params["g"] * u)
    Z = tap("Z", X @ W + params["b"])
    H = tap("H", F.elu(Z))
    R = tap("R", H - Y)
    loss = F.huber_loss(R, torch.zeros_like(R), reduction="none", delta=0.8)
    return (c * loss.sum(dim=1)).sum() / c.sum()


WEIGHTNORM = """def derivation(params, X, Y, c):
    v, g, b = params["v"], params["g"], params["b"]
    delta = 0.8

    # forward
    norm = np.sqrt((v ** 2).sum(axis=0))
    u = v / norm
    W = g * u
    Z = X @ W + b
    H = np.where(Z > 0, Z, np.exp(Z) - 1)
    R = H - Y
    small = np.abs(R) <= delta
    loss = np.where(small, 0.5 * R ** 2, delta * (np.abs(R) - 0.5 * delta))
    J = (c * loss.sum(axis=1)).sum() / c.sum()

    # backward
    slope = np.where(small, R, delta * np.sign(R))
    dR = c[:, None] * slope / c.sum()
    dH = dR
    dZ = dH * np.where(Z > 0, 1.0, np.exp(Z))
    dW = X.T @ dZ
    db = dZ.sum(axis=0)
    du = g * dW
    dg = (dW * u).sum(axis=0)
    dv = (du - u * (u * du).sum(axis=0)) / norm

    return {
        "J": J, "u": u, "W": W, "Z": Z, "H": H, "R": R,
        "dR": dR, "dH": dH, "dZ": dZ, "dW": dW, "du": du, "dv": dv, "dg": dg, "db": db,
    }
"""


def weightnorm_draw(rng):
    params = {"v": rng.normal(size=(4, 3)), "g": rng.uniform(0.6, 1.9, size=3), "b": rng.normal(size=3) * 0.5}
    return params, (rng.normal(size=(9, 4)), rng.normal(size=(9, 3)), rng.uniform(0.3, 2.0, size=9))


WEIGHTNORM_MISTAKES = (
    Mistake(
        "The gain's gradient takes the raw direction, not the unit one.",
        "dg = (dW * u).sum(axis=0)",
        "dg = (dW * v).sum(axis=0)",
    ),
    Mistake(
        "The norm is held constant in the gradient of v: no projection.",
        "dv = (du - u * (u * du).sum(axis=0)) / norm",
        "dv = du / norm",
    ),
    Mistake("The gain is left out on the way back to the direction.", "du = g * dW", "du = dW"),
    Mistake(
        "One norm is taken of the whole matrix, not one for each output unit.",
        "norm = np.sqrt((v ** 2).sum(axis=0))",
        "norm = np.sqrt((v ** 2).sum())",
    ),
    Mistake(
        "The ELU's derivative is the exponential of its output, not of its input.",
        "np.where(Z > 0, 1.0, np.exp(Z))",
        "np.where(Z > 0, 1.0, np.exp(H))",
    ),
    Mistake(
        "The backward pass treats the ELU as a ReLU.",
        "np.where(Z > 0, 1.0, np.exp(Z))",
        "np.where(Z > 0, 1.0, 0.0)",
    ),
    Mistake(
        "The Huber loss's linear part has slope one, not delta, in the gradient.",
        "delta * np.sign(R)",
        "np.sign(R)",
    ),
    Mistake("The example weights are forgotten in the gradient.", "dR = c[:, None] * slope", "dR = slope"),
    Mistake(
        "The gradient divides by the number of examples, not by the sum of their weights.",
        "slope / c.sum()",
        "slope / len(c)",
    ),
    Mistake(
        "The Huber loss chooses its branch by the prediction, not by the residual.",
        "small = np.abs(R) <= delta",
        "small = np.abs(H) <= delta",
    ),
    Mistake("The bias's gradient is averaged over the batch a second time.", "dZ.sum(axis=0)", "dZ.mean(axis=0)"),
)

# --- 4. linear-chain CRF: forward algorithm in log space


def crf_reference(params, X, y):
    E = tap("E", X @ params["W"] + params["b"])
    alpha = params["s"] + E[0]
    score = params["s"][y[0]] + E[0, y[0]]
    for t in range(1, len(X)):
        alpha = torch.logsumexp(alpha[:, None] + params["A"], dim=0) + E[t]
        score = score + params["A"][y[t - 1], y[t]] + E[t, y[t]]
    last = tap("last", alpha)
    return torch.logsumexp(last, dim=0) - score


CRF = """def derivation(params, X, y):
    W, b, A, s = params["W"], params["b"], params["A"], params["s"]
    T, K = X.shape[0], len(s)

    # forward
    E = X @ W + b
    alpha = np.zeros((T, K))
    alpha[0] = s + E[0]
    score = s[y[0]] + E[0, y[0]]
    for t in range(1, T):
        m = alpha[t - 1][:, None] + A
        top = m.max(axis=0)
        alpha[t] = top + np.log(np.exp(m - top).sum(axis=0)) + E[t]
        score = score + A[y[t - 1], y[t]] + E[t, y[t]]
    last = alpha[-1]
    logZ = last.max() + np.log(np.exp(last - last.max()).sum())
    J = logZ - score

    # backward
    dE = np.zeros_like(E)
    dA = np.zeros_like(A)
    dlast = np.exp(last - logZ)
    dalpha = dlast
    for t in range(T - 1, 0, -1):
        dE[t] += dalpha
        share = np.exp(alpha[t - 1][:, None] + A + E[t] - alpha[t])
        dm = share * dalpha
        dA += dm
        dalpha = dm.sum(axis=1)
    dE[0] += dalpha
    ds = dalpha.copy()
    ds[y[0]] -= 1
    for t in range(T):
        dE[t, y[t]] -= 1
        if t > 0:
            dA[y[t - 1], y[t]] -= 1
    dW = X.T @ dE
    db = dE.sum(axis=0)

    return {"J": J, "E": E, "last": last, "dlast": dlast, "dE": dE, "dA": dA, "ds": ds, "dW": dW, "db": db}
"""


def crf_draw(rng):
    params = {
        "W": rng.normal(size=(4, 3)),
        "b": rng.normal(size=3) * 0.5,
        "A": rng.normal(size=(3, 3)),
        "s": rng.normal(size=3),
    }
    return params, (rng.normal(size=(6, 4)), rng.permutation(np.array([0, 0, 1, 1, 2, 2])))


CRF_MISTAKES = (
    Mistake("The transitions' gradient is overwritten at every step, not added up.", "dA += dm", "dA = dm"),
    Mistake(
        "The emission is left out when the step's softmax is rebuilt in the backward recursion.",
        "+ A + E[t] - alpha[t])",
        "+ A - alpha[t])",
    ),
    Mistake(
        "The message to the earlier step sums over the earlier states, not over the later ones.",
        "dalpha = dm.sum(axis=1)",
        "dalpha = dm.sum(axis=0)",
    ),
    Mistake(
        "The gold transition is subtracted with from and to swapped.",
        "dA[y[t - 1], y[t]] -= 1",
        "dA[y[t], y[t - 1]] -= 1",
    ),
    Mistake("The gold path's start score gets no gradient.", "    ds[y[0]] -= 1\n", ""),
    Mistake(
        "The backward recursion stops one step early.", "for t in range(T - 1, 0, -1)", "for t in range(T - 1, 1, -1)"
    ),
    Mistake(
        "The forward recursion adds the earlier scores along the later states' axis.",
        "m = alpha[t - 1][:, None] + A",
        "m = alpha[t - 1] + A",
    ),
    Mistake(
        "The forward recursion keeps the best path only, as Viterbi does.",
        "alpha[t] = top + np.log(np.exp(m - top).sum(axis=0)) + E[t]",
        "alpha[t] = top + E[t]",
    ),
    Mistake(
        "The last step's softmax is not normalised: the maximum is subtracted, not the log-sum-exp.",
        "dlast = np.exp(last - logZ)",
        "dlast = np.exp(last - last.max())",
    ),
    Mistake(
        "The gold emission is subtracted at the label of the step before.",
        "dE[t, y[t]] -= 1",
        "dE[t, y[t - 1]] -= 1",
    ),
    Mistake(
        "The transitions' gradient gets the expected counts with the wrong sign.",
        "dA += dm",
        "dA -= dm",
    ),
)

OPERATIONS = (
    Operation("infonce", infonce_reference, INFONCE, infonce_draw, INFONCE_MISTAKES),
    Operation("factorisation machine", fm_reference, FM, fm_draw, FM_MISTAKES),
    Operation("weight norm", weightnorm_reference, WEIGHTNORM, weightnorm_draw, WEIGHTNORM_MISTAKES),
    Operation("crf", crf_reference, CRF, crf_draw, CRF_MISTAKES),
)
