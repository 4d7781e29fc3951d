"""Seven hand-derived backward passes and the mistakes that people make in them (corpus E)."""

import numpy as np
import torch
import torch.nn.functional as F

from handgrad import tap
from tests.corpus.planted import Mistake, Operation

# 1. batch normalisation over a linear layer, SiLU, linear map, Huber loss


def reference_batchnorm(params, X, Y):
    Z = tap("Z", X @ params["W1"])
    mu = Z.mean(dim=0)
    var = Z.var(dim=0, unbiased=False)
    Xhat = tap("Xhat", (Z - mu) / torch.sqrt(var + 1e-3))
    U = tap("U", params["gamma"] * Xhat + params["beta"])
    A = tap("A", F.silu(U))
    P = tap("P", A @ params["W2"] + params["b2"])
    return F.huber_loss(P, Y, delta=0.7)


DERIVATION_BATCHNORM = """def derivation(params, X, Y):
    W1, gamma, beta = params["W1"], params["gamma"], params["beta"]
    W2, b2 = params["W2"], params["b2"]
    eps, delta = 1e-3, 0.7
    N = X.shape[0]

    # forward
    Z = X @ W1
    mu = Z.mean(axis=0)
    var = Z.var(axis=0)
    rstd = 1.0 / np.sqrt(var + eps)
    Xhat = (Z - mu) * rstd
    U = gamma * Xhat + beta
    S = 1.0 / (1.0 + np.exp(-U))
    A = U * S
    P = A @ W2 + b2
    R = P - Y
    small = np.abs(R) <= delta
    J = np.where(small, 0.5 * R**2, delta * (np.abs(R) - 0.5 * delta)).mean()

    # backward
    dP = np.where(small, R, delta * np.sign(R)) / R.size
    dW2 = A.T @ dP
    db2 = dP.sum(axis=0)
    dA = dP @ W2.T
    dU = dA * (S + U * S * (1 - S))
    dgamma = (dU * Xhat).sum(axis=0)
    dbeta = dU.sum(axis=0)
    dXhat = dU * gamma
    dZ = rstd / N * (N * dXhat - dXhat.sum(axis=0) - Xhat * (dXhat * Xhat).sum(axis=0))
    dW1 = X.T @ dZ

    return {
        "J": J, "Z": Z, "Xhat": Xhat, "U": U, "A": A, "P": P,
        "dP": dP, "dA": dA, "dU": dU, "dXhat": dXhat, "dZ": dZ,
        "dW1": dW1, "dgamma": dgamma, "dbeta": dbeta, "dW2": dW2, "db2": db2,
    }
"""


def draw_batchnorm(rng):
    params = {
        "W1": rng.normal(size=(4, 5)) / 2,
        "gamma": rng.uniform(0.5, 1.5, size=5),
        "beta": rng.normal(size=5) / 2,
        "W2": rng.normal(size=(5, 3)) / 2,
        "b2": rng.normal(size=3) / 2,
    }
    return params, (rng.normal(size=(7, 4)), 1.5 * rng.normal(size=(7, 3)))


MISTAKES_BATCHNORM = (
    Mistake(
        "The forward pass divides the variance by N - 1 (Bessel's correction) although training mode normalises by N.",
        "var = Z.var(axis=0)",
        "var = Z.var(axis=0, ddof=1)",
    ),
    Mistake(
        "Eps is added to the standard deviation, outside the square root, instead of to the variance.",
        "1.0 / np.sqrt(var + eps)",
        "1.0 / (np.sqrt(var) + eps)",
    ),
    Mistake(
        "The linear branch of the Huber loss subtracts delta instead of half of it.",
        "delta * (np.abs(R) - 0.5 * delta)",
        "delta * (np.abs(R) - delta)",
    ),
    Mistake(
        "The linear branch of the Huber gradient lacks the factor delta.",
        "np.where(small, R, delta * np.sign(R))",
        "np.where(small, R, np.sign(R))",
    ),
    Mistake(
        "The loss is a mean over all elements but its gradient is divided by the number of rows only.",
        "/ R.size",
        "/ N",
    ),
    Mistake(
        "SiLU is differentiated as if it were the plain sigmoid.",
        "dA * (S + U * S * (1 - S))",
        "dA * S * (1 - S)",
    ),
    Mistake(
        "The gain's gradient multiplies by the raw pre-normalisation values instead of the normalised ones.",
        "dgamma = (dU * Xhat).sum(axis=0)",
        "dgamma = (dU * Z).sum(axis=0)",
    ),
    Mistake(
        "The shift's gradient is averaged over the batch instead of summed.",
        "dbeta = dU.sum(axis=0)",
        "dbeta = dU.mean(axis=0)",
    ),
    Mistake(
        "The gain is forgotten on the way back to the normalised values.",
        "dXhat = dU * gamma",
        "dXhat = dU",
    ),
    Mistake(
        "The path through the batch mean is forgotten.",
        "N * dXhat - dXhat.sum(axis=0) - Xhat",
        "N * dXhat - Xhat",
    ),
    Mistake(
        "The term through the variance is added instead of subtracted.",
        "- Xhat * (dXhat * Xhat).sum(axis=0)",
        "+ Xhat * (dXhat * Xhat).sum(axis=0)",
    ),
)


# 2. single-query additive attention over an embedded, padded sequence


def reference_attention(params, tokens, mask, Q, y):
    H = tap("H", params["Emb"][tokens])
    E = tap("E", (Q @ params["Wq"])[:, None, :] + H @ params["Wk"] + params["ba"])
    s = tap("s", torch.tanh(E) @ params["v"])
    alpha = tap("alpha", torch.softmax(s.masked_fill(~mask, float("-inf")), dim=1))
    c = tap("c", (alpha[:, :, None] * H).sum(dim=1))
    logits = tap("logits", c @ params["Wo"] + params["bo"])
    return F.cross_entropy(logits, y)


DERIVATION_ATTENTION = """def derivation(params, tokens, mask, Q, y):
    Emb, Wq, Wk, ba, v, Wo, bo = (params[n] for n in ("Emb", "Wq", "Wk", "ba", "v", "Wo", "bo"))
    B, T = tokens.shape
    rows = np.arange(B)

    H = Emb[tokens]                                               # (B, T, Dk)
    E = (Q @ Wq)[:, None, :] + H @ Wk + ba                        # (B, T, A)
    U = np.tanh(E)
    s = U @ v                                                     # (B, T)
    masked = np.where(mask, s, -np.inf)
    e = np.exp(masked - masked.max(axis=1, keepdims=True))
    alpha = e / e.sum(axis=1, keepdims=True)
    c = np.einsum("bt,btd->bd", alpha, H)
    logits = c @ Wo + bo
    shifted = logits - logits.max(axis=1, keepdims=True)
    logp = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    J = -logp[rows, y].mean()

    dlogits = np.exp(logp)
    dlogits[rows, y] -= 1.0
    dlogits /= B
    dWo = c.T @ dlogits
    dbo = dlogits.sum(axis=0)
    dc = dlogits @ Wo.T
    dalpha = np.einsum("bd,btd->bt", dc, H)
    ds = alpha * (dalpha - (alpha * dalpha).sum(axis=1, keepdims=True))
    dv = np.einsum("bt,bta->a", ds, U)
    dU = ds[:, :, None] * v
    dE = dU * (1 - U**2)
    dba = dE.sum(axis=(0, 1))
    dWq = Q.T @ dE.sum(axis=1)
    dWk = np.einsum("btd,bta->da", H, dE)
    dH = dE @ Wk.T + alpha[:, :, None] * dc[:, None, :]
    dEmb = np.zeros_like(Emb)
    np.add.at(dEmb, tokens, dH)

    return dict(J=J, H=H, E=E, s=s, alpha=alpha, c=c, logits=logits,
                dlogits=dlogits, dc=dc, dalpha=dalpha, ds=ds, dE=dE, dH=dH,
                dEmb=dEmb, dWq=dWq, dWk=dWk, dba=dba, dv=dv, dWo=dWo, dbo=dbo)
"""


def draw_attention(rng):
    params = {
        "Emb": rng.normal(size=(9, 6)),
        "Wq": rng.normal(size=(4, 7)) / 2,
        "Wk": rng.normal(size=(6, 7)) / 2,
        "ba": rng.normal(size=7) / 2,
        "v": rng.normal(size=7),
        "Wo": rng.normal(size=(6, 8)) / 2,
        "bo": rng.normal(size=8) / 2,
    }
    tokens = rng.integers(0, 9, size=(3, 5))
    tokens[1, 0] = tokens[0, 1]  # a token that occurs twice where it counts
    lengths = rng.permutation([5, 3, 4])
    mask = np.arange(5)[None, :] < lengths[:, None]
    return params, (tokens, mask, rng.normal(size=(3, 4)), rng.integers(0, 8, size=3))


MISTAKES_ATTENTION = (
    Mistake(
        "Padded positions get a score of zero instead of minus infinity, so they still receive attention.",
        "np.where(mask, s, -np.inf)",
        "np.where(mask, s, 0.0)",
    ),
    Mistake(
        "The target's one is subtracted at the class before it, as if labels counted from one.",
        "dlogits[rows, y] -= 1.0",
        "dlogits[rows, y - 1] -= 1.0",
    ),
    Mistake(
        "The gradient of the loss is divided by the sequence length instead of the batch size.",
        "dlogits /= B",
        "dlogits /= T",
    ),
    Mistake(
        "The inner sum of the softmax's backward pass runs over the batch instead of over the positions.",
        "(alpha * dalpha).sum(axis=1, keepdims=True)",
        "(alpha * dalpha).sum(axis=0, keepdims=True)",
    ),
    Mistake(
        "The softmax is differentiated elementwise like a sigmoid.",
        "ds = alpha * (dalpha - (alpha * dalpha).sum(axis=1, keepdims=True))",
        "ds = dalpha * alpha * (1 - alpha)",
    ),
    Mistake(
        "The score vector's gradient takes the pre-activation instead of its tanh.",
        'np.einsum("bt,bta->a", ds, U)',
        'np.einsum("bt,bta->a", ds, E)',
    ),
    Mistake(
        "The tanh's derivative lacks the square.",
        "dE = dU * (1 - U**2)",
        "dE = dU * (1 - U)",
    ),
    Mistake(
        "The query was broadcast over the positions, but its gradient is averaged over them instead of summed.",
        "Q.T @ dE.sum(axis=1)",
        "Q.T @ dE.mean(axis=1)",
    ),
    Mistake(
        "The key projection's gradient is taken before going back through the tanh.",
        'np.einsum("btd,bta->da", H, dE)',
        'np.einsum("btd,bta->da", H, dU)',
    ),
    Mistake(
        "The states' gradient forgets that they are also the values that the context averages.",
        "dH = dE @ Wk.T + alpha[:, :, None] * dc[:, None, :]",
        "dH = dE @ Wk.T",
    ),
    Mistake(
        "Indexed += keeps only one contribution for a token that occurs several times.",
        "np.add.at(dEmb, tokens, dH)",
        "dEmb[tokens] += dH",
    ),
)


# 3. depthwise-separable 1-D convolution, GELU, mean over time, binary cross-entropy with logits


def reference_separable(params, X, y):
    V = tap("V", X * params["s"][:, None])
    D = tap("D", F.conv1d(V, params["Kd"][:, None, :], params["bd"], stride=2, padding=1, groups=X.shape[1]))
    Z = tap("Z", F.conv1d(D, params["Wp"][:, :, None], params["bp"]))
    G = tap("G", F.gelu(Z, approximate="tanh"))
    g = tap("g", G.mean(dim=2))
    logit = tap("logit", g @ params["w"] + params["b"])
    return F.binary_cross_entropy_with_logits(logit, y.to(logit.dtype))


DERIVATION_SEPARABLE = """def derivation(params, X, y):
    scale, Kd, bd = params["s"], params["Kd"], params["bd"]
    Wp, bp, w, b = params["Wp"], params["bp"], params["w"], params["b"]
    B, C, T = X.shape
    K = Kd.shape[1]
    stride, pad = 2, 1
    L = (T + 2 * pad - K) // stride + 1
    root, cube = np.sqrt(2 / np.pi), 0.044715

    V = X * scale[:, None]
    Vp = np.pad(V, ((0, 0), (0, 0), (pad, pad)))
    D = np.zeros((B, C, L))
    for t in range(L):
        D[:, :, t] = (Vp[:, :, stride * t : stride * t + K] * Kd).sum(axis=2) + bd
    Z = np.einsum("mc,bct->bmt", Wp, D) + bp[:, None]
    th = np.tanh(root * (Z + cube * Z**3))
    G = 0.5 * Z * (1 + th)
    g = G.mean(axis=2)
    logit = g @ w + b
    J = np.mean(np.maximum(logit, 0) - logit * y + np.log1p(np.exp(-np.abs(logit))))

    prob = 1 / (1 + np.exp(-logit))
    dlogit = (prob - y) / B
    dw = g.T @ dlogit
    db = dlogit.sum(keepdims=True)
    dg = np.outer(dlogit, w)
    dG = np.repeat(dg[:, :, None], L, axis=2) / L
    slope = root * (1 + 3 * cube * Z**2)
    dZ = dG * (0.5 * (1 + th) + 0.5 * Z * (1 - th**2) * slope)
    dWp = np.einsum("bmt,bct->mc", dZ, D)
    dbp = dZ.sum(axis=(0, 2))
    dD = np.einsum("mc,bmt->bct", Wp, dZ)
    dbd = dD.sum(axis=(0, 2))
    dKd = np.zeros_like(Kd)
    dVp = np.zeros_like(Vp)
    for t in range(L):
        for k in range(K):
            dKd[:, k] += (dD[:, :, t] * Vp[:, :, stride * t + k]).sum(axis=0)
            dVp[:, :, stride * t + k] += dD[:, :, t] * Kd[:, k]
    dV = dVp[:, :, pad : pad + T]
    ds = (dV * X).sum(axis=(0, 2))

    grads = {"dV": dV, "dD": dD, "dZ": dZ, "dG": dG, "dg": dg, "dlogit": dlogit}
    grads |= {"ds": ds, "dKd": dKd, "dbd": dbd, "dWp": dWp, "dbp": dbp, "dw": dw, "db": db}
    return {"J": J, "V": V, "D": D, "Z": Z, "G": G, "g": g, "logit": logit, **grads}
"""


def draw_separable(rng):
    params = {
        "s": rng.uniform(0.6, 1.6, size=4),
        "Kd": rng.normal(size=(4, 3)),
        "bd": rng.normal(size=4) / 2,
        "Wp": rng.normal(size=(7, 4)) / 2,
        "bp": rng.normal(size=7) / 2,
        "w": rng.normal(size=7),
        "b": rng.normal(size=1),
    }
    return params, (rng.normal(size=(6, 4, 9)), rng.permutation([0, 1, 1, 0, 1, 0]))


MISTAKES_SEPARABLE = (
    Mistake(
        "The sequence is padded on the left only (causally) instead of on both sides.",
        "((0, 0), (0, 0), (pad, pad))",
        "((0, 0), (0, 0), (2 * pad, 0))",
    ),
    Mistake(
        "Two digits of GELU's cubic coefficient are exchanged.",
        "0.044715",
        "0.044175",
    ),
    Mistake(
        "The loss's gradient also multiplies by the sigmoid's derivative, as for a squared error.",
        "(prob - y) / B",
        "(prob - y) * prob * (1 - prob) / B",
    ),
    Mistake(
        "The mean over time is sent back as if it were a sum.",
        "np.repeat(dg[:, :, None], L, axis=2) / L",
        "np.repeat(dg[:, :, None], L, axis=2)",
    ),
    Mistake(
        "The power's 3 is forgotten in the derivative of GELU's cubic term.",
        "1 + 3 * cube * Z**2",
        "1 + cube * Z**2",
    ),
    Mistake(
        "The square in the tanh's derivative is put outside the parenthesis.",
        "(1 - th**2)",
        "(1 - th) ** 2",
    ),
    Mistake(
        "The pointwise bias's gradient is averaged over time and summed over the batch only.",
        "dZ.sum(axis=(0, 2))",
        "dZ.mean(axis=2).sum(axis=0)",
    ),
    Mistake(
        "The gradient goes back through the pointwise map without the GELU's derivative.",
        'np.einsum("mc,bmt->bct", Wp, dZ)',
        'np.einsum("mc,bmt->bct", Wp, dG)',
    ),
    Mistake(
        "The depthwise kernel's gradient is flipped, as for a true convolution.",
        "dKd[:, k] +=",
        "dKd[:, K - 1 - k] +=",
    ),
    Mistake(
        "The stride is forgotten when the gradient is scattered back to the input.",
        "dVp[:, :, stride * t + k] +=",
        "dVp[:, :, t + k] +=",
    ),
    Mistake(
        "The padding is cut off the input's gradient at the wrong end.",
        "dVp[:, :, pad : pad + T]",
        "dVp[:, :, :T]",
    ),
)


# 4. minimal gated unit, unrolled, squared error at each step; a trained initial state


def reference_gated(params, X, Y):
    h = params["h0"].expand(X.shape[1], -1)
    J = 0.0
    for t in range(X.shape[0]):
        f = torch.sigmoid(X[t] @ params["Wf"] + h @ params["Uf"] + params["bf"])
        n = torch.tanh(X[t] @ params["Wn"] + (f * h) @ params["Un"] + params["bn"])
        h = (1 - f) * h + f * n
        out = h @ params["Wo"] + params["bo"]
        J = J + 0.5 * ((out - Y[t]) ** 2).sum() / X.shape[1]
    return J


DERIVATION_GATED = """def derivation(params, X, Y):
    p = params
    T, B, _ = X.shape

    h = np.tile(p["h0"], (B, 1))
    J, hs, fs, ns, errs = 0.0, [h], [], [], []
    for t in range(T):
        f = 1 / (1 + np.exp(-(X[t] @ p["Wf"] + h @ p["Uf"] + p["bf"])))
        n = np.tanh(X[t] @ p["Wn"] + (f * h) @ p["Un"] + p["bn"])
        h = (1 - f) * h + f * n
        err = h @ p["Wo"] + p["bo"] - Y[t]
        J += 0.5 * np.sum(err**2) / B
        hs.append(h)
        fs.append(f)
        ns.append(n)
        errs.append(err)

    g = {"d" + name: np.zeros_like(value) for name, value in p.items()}
    dh_next = np.zeros_like(h)
    for t in reversed(range(T)):
        f, n, h_prev = fs[t], ns[t], hs[t]
        dout = errs[t] / B
        g["dWo"] += hs[t + 1].T @ dout
        g["dbo"] += dout.sum(axis=0)
        dh = dout @ p["Wo"].T + dh_next
        dan = dh * f * (1 - n**2)
        g["dWn"] += X[t].T @ dan
        g["dUn"] += (f * h_prev).T @ dan
        g["dbn"] += dan.sum(axis=0)
        dfh = dan @ p["Un"].T
        df = dh * (n - h_prev) + dfh * h_prev
        daf = df * f * (1 - f)
        g["dWf"] += X[t].T @ daf
        g["dUf"] += h_prev.T @ daf
        g["dbf"] += daf.sum(axis=0)
        dh_next = dh * (1 - f) + dfh * f + daf @ p["Uf"].T
    g["dh0"] = dh_next.sum(axis=0)
    return {"J": J, **g}
"""


def draw_gated(rng):
    params = {
        "h0": rng.normal(size=6) / 2,
        "Wf": rng.normal(size=(5, 6)) / 2,
        "Uf": rng.normal(size=(6, 6)) / 2,
        "bf": rng.normal(size=6) / 2,
        "Wn": rng.normal(size=(5, 6)) / 2,
        "Un": rng.normal(size=(6, 6)) / 2,
        "bn": rng.normal(size=6) / 2,
        "Wo": rng.normal(size=(6, 7)) / 2,
        "bo": rng.normal(size=7) / 2,
    }
    return params, (rng.normal(size=(4, 3, 5)), rng.normal(size=(4, 3, 7)))


MISTAKES_GATED = (
    Mistake(
        "The recurrence starts from zeros instead of from the trained initial state.",
        'h = np.tile(p["h0"], (B, 1))',
        'h = np.zeros((B, p["h0"].size))',
    ),
    Mistake(
        "The backward loop runs through time in the forward order.",
        "for t in reversed(range(T)):",
        "for t in range(T):",
    ),
    Mistake(
        "The gradient keeps a factor two that the loss's one half cancels.",
        "dout = errs[t] / B",
        "dout = 2 * errs[t] / B",
    ),
    Mistake(
        "The output map's gradient uses the state before the step instead of after it.",
        'g["dWo"] += hs[t + 1].T @ dout',
        'g["dWo"] += hs[t].T @ dout',
    ),
    Mistake(
        "The gradient that comes from later steps is dropped, so each step learns from its own error only.",
        'dh = dout @ p["Wo"].T + dh_next',
        'dh = dout @ p["Wo"].T',
    ),
    Mistake(
        "The recurrent candidate weights' gradient forgets that the gate multiplies the previous state.",
        'g["dUn"] += (f * h_prev).T @ dan',
        'g["dUn"] += h_prev.T @ dan',
    ),
    Mistake(
        "The candidate and the previous state are exchanged in the gate's gradient.",
        "dh * (n - h_prev)",
        "dh * (h_prev - n)",
    ),
    Mistake(
        "The gate's sigmoid is differentiated like a tanh.",
        "df * f * (1 - f)",
        "df * (1 - f**2)",
    ),
    Mistake(
        "The input weights of the gate keep the first step's gradient only, for want of accumulation.",
        'g["dWf"] += X[t].T @ daf',
        'g["dWf"] = X[t].T @ daf',
    ),
    Mistake(
        "The forget gate's bias gets the candidate's gradient, after a copied line.",
        'g["dbf"] += daf.sum(axis=0)',
        'g["dbf"] += dan.sum(axis=0)',
    ),
    Mistake(
        "The path from the candidate to the previous state through the gated product is forgotten.",
        "dh * (1 - f) + dfh * f + daf",
        "dh * (1 - f) + daf",
    ),
)


# 5. Gaussian-kernel features with trained centres and widths, linear map, log-cosh loss


def reference_rbf(params, X, Y):
    sq = ((X[:, None, :] - params["M"][None, :, :]) ** 2).sum(dim=2)
    Phi = torch.exp(-sq / (2 * params["sigma"] ** 2))
    R = Phi @ params["W"] + params["b"] - Y
    return torch.log(torch.cosh(R)).sum() / X.shape[0]


DERIVATION_RBF = """def derivation(params, X, Y):
    M, sigma, W, b = params["M"], params["sigma"], params["W"], params["b"]
    N, K = len(X), len(M)

    sq = np.empty((N, K))
    for i in range(N):
        for k in range(K):
            sq[i, k] = np.sum((X[i] - M[k]) ** 2)
    Phi = np.exp(-sq / (2 * sigma**2))
    R = Phi @ W + b - Y
    J = np.sum(np.abs(R) + np.log1p(np.exp(-2 * np.abs(R))) - np.log(2.0)) / N

    dR = np.tanh(R) / N
    dW = Phi.T @ dR
    db = dR.sum(axis=0)
    dPhi = dR @ W.T
    dM = np.zeros_like(M)
    dsigma = np.zeros_like(sigma)
    for i in range(N):
        for k in range(K):
            q = dPhi[i, k] * Phi[i, k]
            dM[k] += q * (X[i] - M[k]) / sigma[k] ** 2
            dsigma[k] += q * sq[i, k] / sigma[k] ** 3
    return dict(J=J, dM=dM, dsigma=dsigma, dW=dW, db=db)
"""


def draw_rbf(rng):
    params = {
        "M": rng.normal(size=(5, 3)),
        "sigma": rng.uniform(1.2, 2.2, size=5),
        "W": rng.normal(size=(5, 4)),
        "b": rng.normal(size=4) / 2,
    }
    return params, (rng.normal(size=(8, 3)), rng.normal(size=(8, 4)))


MISTAKES_RBF = (
    Mistake(
        "The squared distance is a distance: a square root is taken of the sum.",
        "sq[i, k] = np.sum((X[i] - M[k]) ** 2)",
        "sq[i, k] = np.sqrt(np.sum((X[i] - M[k]) ** 2))",
    ),
    Mistake(
        "The kernel's exponent lacks the 2 in its denominator.",
        "(2 * sigma**2)",
        "(sigma**2)",
    ),
    Mistake(
        "The stable form of log-cosh lacks its constant, the logarithm of two.",
        " - np.log(2.0)) / N",
        ") / N",
    ),
    Mistake(
        "The loss is divided by the number of samples and its gradient by the number of elements.",
        "np.tanh(R) / N",
        "np.tanh(R) / R.size",
    ),
    Mistake(
        "The output weights' gradient takes the distances instead of the features.",
        "dW = Phi.T @ dR",
        "dW = sq.T @ dR",
    ),
    Mistake(
        "The exponential's own value is forgotten in its derivative.",
        "q = dPhi[i, k] * Phi[i, k]",
        "q = dPhi[i, k]",
    ),
    Mistake(
        "The centres' gradient has the sign of the derivative by the sample.",
        "q * (X[i] - M[k]) / sigma",
        "q * (M[k] - X[i]) / sigma",
    ),
    Mistake(
        "The width in the centres' gradient is not squared.",
        "(X[i] - M[k]) / sigma[k] ** 2",
        "(X[i] - M[k]) / sigma[k]",
    ),
    Mistake(
        "The widths' gradient is that by the log-width: one power of the width too few.",
        "sq[i, k] / sigma[k] ** 3",
        "sq[i, k] / sigma[k] ** 2",
    ),
    Mistake(
        "The widths' gradient is overwritten by each sample instead of accumulated.",
        "dsigma[k] +=",
        "dsigma[k] =",
    ),
    Mistake(
        "The loss's gradient is the second derivative of log-cosh.",
        "dR = np.tanh(R)",
        "dR = (1 - np.tanh(R) ** 2)",
    ),
)


# 6. two towers, normalised embeddings, trained temperature, symmetric contrastive loss


def reference_towers(params, Xa, Xb):
    Ua = tap("Ua", Xa @ params["Wa"] + params["ba"])
    Ub = tap("Ub", Xb @ params["Wb"] + params["bb"])
    A = tap("A", Ua / Ua.norm(dim=1, keepdim=True))
    B = tap("B", Ub / Ub.norm(dim=1, keepdim=True))
    S = tap("S", A @ B.T)
    L = tap("L", S / params["tau"])
    labels = torch.arange(Xa.shape[0])
    return (F.cross_entropy(L, labels) + F.cross_entropy(L.T, labels)) / 2


DERIVATION_TOWERS = """def derivation(params, Xa, Xb):
    Wa, ba, Wb, bb, tau = params["Wa"], params["ba"], params["Wb"], params["bb"], params["tau"]
    N = Xa.shape[0]
    I = np.eye(N)

    # towers
    Ua = Xa @ Wa + ba
    Ub = Xb @ Wb + bb
    na = np.sqrt((Ua**2).sum(axis=1, keepdims=True))
    nb = np.sqrt((Ub**2).sum(1, keepdims=True))
    A, B = Ua / na, Ub / nb

    # similarities and the two losses
    S = A @ B.T
    L = S / tau
    rowsum = np.exp(L).sum(axis=1, keepdims=True)
    colsum = np.exp(L).sum(axis=0, keepdims=True)
    P, Q = np.exp(L) / rowsum, np.exp(L) / colsum
    J = -0.5 * (np.log(np.diag(P)).mean() + np.log(np.diag(Q)).mean())

    # backward
    dL = (P + Q - 2 * I) / (2 * N)
    dtau = np.array([-(dL * S).sum() / tau[0] ** 2])
    dS = dL / tau
    dA = dS @ B
    dB = dS.T @ A
    dUa = (dA - A * (A * dA).sum(axis=1, keepdims=True)) / na
    dUb = (dB - B * (B * dB).sum(1, keepdims=True)) / nb
    dWa, dba = Xa.T @ dUa, dUa.sum(axis=0)
    dWb, dbb = Xb.T @ dUb, dUb.sum(0)

    return {"J": J, "Ua": Ua, "Ub": Ub, "A": A, "B": B, "S": S, "L": L,
            "dL": dL, "dS": dS, "dA": dA, "dB": dB, "dUa": dUa, "dUb": dUb,
            "dtau": dtau, "dWa": dWa, "dba": dba, "dWb": dWb, "dbb": dbb}
"""


def draw_towers(rng):
    params = {
        "Wa": rng.normal(size=(4, 3)),
        "ba": rng.normal(size=3) / 2,
        "Wb": rng.normal(size=(6, 3)),
        "bb": rng.normal(size=3) / 2,
        "tau": rng.uniform(0.4, 0.8, size=1),
    }
    return params, (rng.normal(size=(5, 4)), rng.normal(size=(5, 6)))


MISTAKES_TOWERS = (
    Mistake(
        "The first tower is divided by the squared norm, for want of a square root.",
        "na = np.sqrt((Ua**2).sum(axis=1, keepdims=True))",
        "na = (Ua**2).sum(axis=1, keepdims=True)",
    ),
    Mistake(
        "The second tower is normalised over the batch instead of over the features.",
        "np.sqrt((Ub**2).sum(1, keepdims=True))",
        "np.sqrt((Ub**2).sum(0, keepdims=True))",
    ),
    Mistake(
        "The temperature multiplies the similarities in the forward pass instead of dividing them.",
        "L = S / tau",
        "L = S * tau",
    ),
    Mistake(
        "The loss is the sum of the two directions instead of their mean.",
        "J = -0.5 * (",
        "J = -(",
    ),
    Mistake(
        "The gradient comes from the row direction only; the column direction's path is forgotten.",
        "(P + Q - 2 * I) / (2 * N)",
        "(P - I) / (2 * N)",
    ),
    Mistake(
        "The target is subtracted once although both directions have it.",
        "P + Q - 2 * I",
        "P + Q - I",
    ),
    Mistake(
        "The temperature's gradient lacks the square of the temperature.",
        "tau[0] ** 2",
        "tau[0]",
    ),
    Mistake(
        "The temperature is forgotten on the way back to the similarities.",
        "dS = dL / tau",
        "dS = dL",
    ),
    Mistake(
        "The similarity's gradient is not transposed for the second tower.",
        "dB = dS.T @ A",
        "dB = dS @ A",
    ),
    Mistake(
        "The norm of the first tower is treated as a constant, as behind a stop-gradient.",
        "dUa = (dA - A * (A * dA).sum(axis=1, keepdims=True)) / na",
        "dUa = dA / na",
    ),
    Mistake(
        "The second tower's gradient is divided by the first tower's norm, after a copied line.",
        "(B * dB).sum(1, keepdims=True)) / nb",
        "(B * dB).sum(1, keepdims=True)) / na",
    ),
)


# 7. mixture of three ReLU experts with a softmax gate, cross-entropy with label smoothing


def reference_mixture(params, X, y):
    r = tap("r", X @ params["Wg"] + params["bg"])
    G = tap("G", torch.softmax(r, dim=1))
    A = tap("A", torch.einsum("nd,edh->neh", X, params["We"]) + params["be"])
    M = tap("M", (G[:, :, None] * torch.relu(A)).sum(dim=1))
    Z = tap("Z", M @ params["Wo"] + params["bo"])
    return F.cross_entropy(Z, y, label_smoothing=0.1)


DERIVATION_MIXTURE = """def derivation(params, X, y):
    Wg, bg, We, be = params["Wg"], params["bg"], params["We"], params["be"]
    Wo, bo = params["Wo"], params["bo"]
    N, E, K = X.shape[0], We.shape[0], Wo.shape[1]
    ls = 0.1

    # ---- gate
    r = X @ Wg + bg
    G = np.exp(r - r.max(axis=1, keepdims=True))
    G = G / G.sum(axis=1, keepdims=True)

    # ---- experts
    A = np.stack([X @ We[e] + be[e] for e in range(E)], axis=1)
    H = np.maximum(A, 0)
    M = sum(G[:, e : e + 1] * H[:, e] for e in range(E))

    # ---- head and loss
    Z = M @ Wo + bo
    logp = Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))
    onehot = np.eye(K)[y]
    target = (1 - ls) * onehot + ls / K
    J = -np.sum(target * logp) / N

    # ---- backward
    dZ = (np.exp(logp) - target) / N
    dWo, dbo = M.T @ dZ, dZ.sum(axis=0)
    dM = dZ @ Wo.T
    dG = np.zeros_like(G)
    dA = np.zeros_like(A)
    dWe = np.zeros_like(We)
    dbe = np.zeros_like(be)
    for e in range(E):
        dG[:, e] = (dM * H[:, e]).sum(axis=1)
        dA[:, e] = G[:, e : e + 1] * dM * (A[:, e] > 0)
        dWe[e] = X.T @ dA[:, e]
        dbe[e] = dA[:, e].sum(axis=0)
    dr = G * (dG - (G * dG).sum(axis=1, keepdims=True))
    dWg = X.T @ dr
    dbg = np.sum(dr, axis=0)

    return {
        "J": J, "r": r, "G": G, "A": A, "M": M, "Z": Z, "dZ": dZ, "dM": dM, "dA": dA, "dG": dG, "dr": dr,
        "dWg": dWg, "dbg": dbg, "dWe": dWe, "dbe": dbe, "dWo": dWo, "dbo": dbo,
    }
"""


def draw_mixture(rng):
    params = {
        "Wg": rng.normal(size=(4, 3)) / 2,
        "bg": rng.normal(size=3) / 2,
        "We": rng.normal(size=(3, 4, 5)),
        "be": rng.normal(size=(3, 5)) / 2,
        "Wo": rng.normal(size=(5, 6)) / 2,
        "bo": rng.normal(size=6) / 2,
    }
    return params, (rng.normal(size=(7, 4)), rng.integers(0, 6, size=7))


MISTAKES_MIXTURE = (
    Mistake(
        "The gate is normalised over the batch instead of over the experts.",
        "G / G.sum(axis=1, keepdims=True)",
        "G / G.sum(axis=0, keepdims=True)",
    ),
    Mistake(
        "The smoothing is spread over the K - 1 other classes but still added to the target's as well.",
        "ls / K",
        "ls / (K - 1)",
    ),
    Mistake(
        "The loss is averaged over samples and classes instead of over samples.",
        "J = -np.sum(target * logp) / N",
        "J = -np.mean(target * logp)",
    ),
    Mistake(
        "The gradient subtracts the hard labels instead of the smoothed ones.",
        "dZ = (np.exp(logp) - target) / N",
        "dZ = (np.exp(logp) - onehot) / N",
    ),
    Mistake(
        "The gate's gradient takes the experts' pre-activations instead of their outputs.",
        "(dM * H[:, e]).sum(axis=1)",
        "(dM * A[:, e]).sum(axis=1)",
    ),
    Mistake(
        "The gate's weight is forgotten in the experts' gradient.",
        "G[:, e : e + 1] * dM * (A[:, e] > 0)",
        "dM * (A[:, e] > 0)",
    ),
    Mistake(
        "The ReLU's mask is read from the mixture instead of from each expert.",
        "(A[:, e] > 0)",
        "(M > 0)",
    ),
    Mistake(
        "Every expert's weights get the first expert's gradient, as if the weights were tied.",
        "dWe[e] = X.T @ dA[:, e]",
        "dWe[e] = X.T @ dA[:, 0]",
    ),
    Mistake(
        "The experts' bias gradient is averaged over the batch instead of summed.",
        "dA[:, e].sum(axis=0)",
        "dA[:, e].mean(axis=0)",
    ),
    Mistake(
        "The softmax's backward pass lacks the subtracted sum.",
        "dr = G * (dG - (G * dG).sum(axis=1, keepdims=True))",
        "dr = G * dG",
    ),
    Mistake(
        "The gate bias's gradient is taken before going back through the softmax.",
        "dbg = np.sum(dr, axis=0)",
        "dbg = np.sum(dG, axis=0)",
    ),
)


OPERATIONS = (
    Operation("batchnorm-silu-huber", reference_batchnorm, DERIVATION_BATCHNORM, draw_batchnorm, MISTAKES_BATCHNORM),
    Operation("additive-attention", reference_attention, DERIVATION_ATTENTION, draw_attention, MISTAKES_ATTENTION),
    Operation("separable-convolution", reference_separable, DERIVATION_SEPARABLE, draw_separable, MISTAKES_SEPARABLE),
    Operation("minimal-gated-unit", reference_gated, DERIVATION_GATED, draw_gated, MISTAKES_GATED),
    Operation("rbf-log-cosh", reference_rbf, DERIVATION_RBF, draw_rbf, MISTAKES_RBF),
    Operation("two-tower-contrastive", reference_towers, DERIVATION_TOWERS, draw_towers, MISTAKES_TOWERS),
    Operation("mixture-of-experts", reference_mixture, DERIVATION_MIXTURE, draw_mixture, MISTAKES_MIXTURE),
)
