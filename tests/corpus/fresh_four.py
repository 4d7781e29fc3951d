"""Seven hand-derived backward passes and the mistakes that people make in them."""

import numpy as np
import torch
import torch.nn.functional as F

from handgrad import tap
from tests.corpus.planted import Mistake, Operation

# 1. A linear layer with weight normalisation, softplus, and Poisson regression with an exposure.


def poisson_reference(params, X, Y, exposure):
    V, g = params["V"], params["g"]
    W = tap("W", g[:, None] * V / V.norm(dim=1, keepdim=True))
    A = tap("A", X @ W.T + params["b"])
    H = tap("H", F.softplus(A))
    eta = tap("eta", H @ params["U"] + params["c"] + torch.log(exposure)[:, None])
    loss = torch.exp(eta) - Y * eta + torch.lgamma(Y + 1)
    return loss.sum() / X.shape[0]


POISSON = """def derivation(params, X, Y, exposure):
    V, g, b = params["V"], params["g"], params["b"]
    U, c = params["U"], params["c"]
    n = X.shape[0]

    # forward
    norm = np.sqrt(np.sum(V ** 2, axis=1, keepdims=True))
    Vhat = V / norm
    W = g[:, None] * Vhat
    A = X @ W.T + b
    H = np.logaddexp(0.0, A)
    eta = H @ U + c + np.log(exposure)[:, None]
    mu = np.exp(eta)
    logfact = np.array([[np.log(np.arange(1, y + 1)).sum() for y in row] for row in Y])
    J = np.sum(mu - Y * eta + logfact) / n

    # backward
    deta = (mu - Y) / n
    dU = H.T @ deta
    dc = deta.sum(axis=0)
    dH = deta @ U.T
    dA = dH / (1 + np.exp(-A))
    db = dA.sum(axis=0)
    dW = dA.T @ X
    dg = np.sum(dW * Vhat, axis=1)
    dV = g[:, None] / norm * (dW - dg[:, None] * Vhat)
    return {"J": J, "W": W, "A": A, "H": H, "eta": eta, "deta": deta, "dH": dH, "dA": dA, "dW": dW,
            "dV": dV, "dg": dg, "db": db, "dU": dU, "dc": dc}
"""


def poisson_draw(rng):
    n, d, k, m = 7, 5, 4, 3
    params = {
        "V": rng.normal(size=(k, d)),
        "g": rng.uniform(0.5, 1.5, size=k) * rng.choice([-1.0, 1.0], size=k),
        "b": rng.normal(size=k),
        "U": 0.5 * rng.normal(size=(k, m)),
        "c": 0.5 * rng.normal(size=m),
    }
    X = rng.normal(size=(n, d))
    Y = rng.integers(1, 6, size=(n, m)).astype(np.float64)
    exposure = rng.uniform(0.4, 2.5, size=n)
    return params, (X, Y, exposure)


POISSON_MISTAKES = (
    Mistake(
        "The weight is divided by the norm of the whole matrix instead of the norm of each row.",
        "np.sqrt(np.sum(V ** 2, axis=1, keepdims=True))",
        "np.sqrt(np.sum(V ** 2))",
    ),
    Mistake(
        "The norm is held constant, so that the projection term of the direction's gradient is forgotten.",
        "(dW - dg[:, None] * Vhat)",
        "dW",
    ),
    Mistake(
        "The projection is onto the scaled weight instead of the unit vector.",
        "dg[:, None] * Vhat)",
        "dg[:, None] * W)",
    ),
    Mistake(
        "The gradient of the gain uses the unnormalised direction.",
        "np.sum(dW * Vhat, axis=1)",
        "np.sum(dW * V, axis=1)",
    ),
    Mistake(
        "The direction's gradient is divided by the square of the norm.",
        "g[:, None] / norm *",
        "g[:, None] / norm ** 2 *",
    ),
    Mistake(
        "The derivative of softplus is taken at its output instead of its input.",
        "dH / (1 + np.exp(-A))",
        "dH / (1 + np.exp(-H))",
    ),
    Mistake(
        "The exposure is added to the linear predictor without its logarithm.",
        "np.log(exposure)[:, None]",
        "exposure[:, None]",
    ),
    Mistake(
        "The residual is multiplied by the exposure, which the mean already contains.",
        "deta = (mu - Y) / n",
        "deta = exposure[:, None] * (mu - Y) / n",
    ),
    Mistake(
        "The derivative by the mean is taken for the derivative by the log of the mean.",
        "deta = (mu - Y) / n",
        "deta = (1 - Y / mu) / n",
    ),
    Mistake("The log factorial stops one factor too early.", "np.arange(1, y + 1)", "np.arange(1, y)"),
    Mistake(
        "The loss is averaged over all entries although the gradient is averaged over the samples only.",
        "+ logfact) / n",
        "+ logfact) / Y.size",
    ),
)


# 2. A bilinear layer between two encodings that share their encoder, sigmoid and Dice loss.


def dice_reference(params, A, B, Y):
    U = tap("U", torch.tanh(A @ params["S"]))
    T = tap("T", torch.tanh(B @ params["S"]))
    Z = tap("Z", torch.einsum("np,opq,nq->no", U, params["W"], T) + params["b"])
    P = tap("P", torch.sigmoid(Z))
    smooth = 0.5
    dice = (2 * (P * Y).sum(dim=0) + smooth) / (P.sum(dim=0) + Y.sum(dim=0) + smooth)
    return (1 - dice).mean()


DICE = """def derivation(params, A, B, Y):
    S = params["S"]
    W = params["W"]
    b = params["b"]
    smooth = 0.5
    n, K = Y.shape

    U = np.tanh(A @ S)
    T = np.tanh(B @ S)
    Z = np.zeros((n, K))
    for k in range(K):
        Z[:, k] = np.sum((U @ W[k]) * T, axis=1) + b[k]
    P = 1.0 / (1.0 + np.exp(-Z))
    num = 2 * np.sum(P * Y, axis=0) + smooth
    den = np.sum(P, axis=0) + np.sum(Y, axis=0) + smooth
    J = np.mean(1 - num / den)

    # quotient rule
    dP = -(2 * Y * den - num) / den ** 2 / K
    dZ = dP * P * (1 - P)
    db = dZ.sum(axis=0)
    dW = np.zeros_like(W)
    dU = np.zeros_like(U)
    dT = np.zeros_like(T)
    for k in range(K):
        dz = dZ[:, k:k + 1]
        dW[k] = U.T @ (dz * T)
        dU += (dz * T) @ W[k].T
        dT += (dz * U) @ W[k]
    dS = A.T @ (dU * (1 - U ** 2)) + B.T @ (dT * (1 - T ** 2))
    return dict(J=J, U=U, T=T, Z=Z, P=P, dP=dP, dZ=dZ, dU=dU, dT=dT, dW=dW, db=db, dS=dS)
"""


def dice_draw(rng):
    n, d, p, k = 8, 3, 5, 4
    params = {
        "S": 0.7 * rng.normal(size=(d, p)),
        "W": rng.normal(size=(k, p, p)),
        "b": rng.normal(size=k),
    }
    A, B = rng.normal(size=(n, d)), rng.normal(size=(n, d))
    Y = (rng.uniform(size=(n, k)) < 0.45).astype(np.float64)
    Y[rng.integers(n, size=k), np.arange(k)] = 1.0
    return params, (A, B, Y)


DICE_MISTAKES = (
    Mistake(
        "The smoothing constant is added to the denominator but not to the numerator.",
        "np.sum(P * Y, axis=0) + smooth",
        "np.sum(P * Y, axis=0)",
    ),
    Mistake("The quotient rule loses the factor 2 of the overlap.", "-(2 * Y * den - num)", "-(Y * den - num)"),
    Mistake("The denominator is treated as a constant.", "-(2 * Y * den - num) / den ** 2 / K", "-2 * Y / den / K"),
    Mistake("The quotient rule divides by the denominator instead of its square.", "den ** 2 / K", "den / K"),
    Mistake(
        "The sums of the denominator run over all outputs at once instead of one output at a time.",
        "np.sum(P, axis=0) + np.sum(Y, axis=0)",
        "np.sum(P) + np.sum(Y)",
    ),
    Mistake("The derivative of tanh is used for the sigmoid.", "dP * P * (1 - P)", "dP * (1 - P ** 2)"),
    Mistake("The weight is not transposed on the way back to the first input.", "(dz * T) @ W[k].T", "(dz * T) @ W[k]"),
    Mistake("The two inputs are exchanged in the weight's gradient.", "U.T @ (dz * T)", "T.T @ (dz * U)"),
    Mistake(
        "The second input's gradient is overwritten for each output instead of added up.",
        "dT += (dz * U) @ W[k]",
        "dT = (dz * U) @ W[k]",
    ),
    Mistake("The second use of the shared encoder is forgotten.", " + B.T @ (dT * (1 - T ** 2))", ""),
    Mistake(
        "The gradient is divided by the batch size although the mean is over the outputs.",
        "/ den ** 2 / K",
        "/ den ** 2 / n",
    ),
)


# 3. Mixing of channels, instance norm of 1-D signals, leaky ReLU and a transposed convolution.


def instance_reference(params, X, Y):
    U = tap("U", torch.einsum("ci,nil->ncl", params["M"], X))
    N = tap("N", F.instance_norm(U, weight=params["gamma"], bias=params["beta"], eps=1e-3))
    A = tap("A", F.leaky_relu(N, 0.1))
    Z = tap("Z", F.conv_transpose1d(A, params["K"], params["b"], stride=2, padding=3))
    return 0.5 * ((Z - Y) ** 2).sum() / X.shape[0]


INSTANCE = """def derivation(params, X, Y):
    M, gamma, beta = params["M"], params["gamma"], params["beta"]
    K, b = params["K"], params["b"]
    eps, slope, stride, pad = 1e-3, 0.1, 2, 3
    n, _, L = X.shape
    c, o, k = K.shape

    U = np.einsum("ci,nil->ncl", M, X)
    axes = 2
    mean = U.mean(axis=axes, keepdims=True)
    var = U.var(axis=axes, keepdims=True)
    inv = 1 / np.sqrt(var + eps)
    xhat = (U - mean) * inv
    N = gamma[:, None] * xhat + beta[:, None]
    A = np.where(N > 0, N, slope * N)
    full = np.zeros((n, o, (L - 1) * stride + k))
    for t in range(L):
        full[:, :, t * stride:t * stride + k] += np.einsum("nc,cok->nok", A[:, :, t], K)
    Z = full[:, :, pad:-pad] + b[:, None]
    J = 0.5 * np.sum((Z - Y) ** 2) / n

    dZ = (Z - Y) / n
    db = dZ.sum(axis=(0, 2))
    dfull = np.zeros_like(full)
    dfull[:, :, pad:full.shape[2] - pad] = dZ
    dA = np.zeros_like(A)
    dK = np.zeros_like(K)
    for t in range(L):
        lo = stride * t
        win = dfull[:, :, lo:lo + k]
        dA[:, :, t] = np.einsum("nok,cok->nc", win, K)
        dK += np.einsum("nc,nok->cok", A[:, :, t], win)
    dN = dA * np.where(N > 0, 1.0, slope)
    dgamma = (dN * xhat).sum(axis=(0, 2))
    dbeta = dN.sum(axis=(0, 2))
    dxhat = dN * gamma[:, None]
    m1 = dxhat.mean(axis=axes, keepdims=True)
    m2 = (dxhat * xhat).mean(axis=axes, keepdims=True)
    dU = inv * (dxhat - m1 - xhat * m2)
    dM = np.einsum("ncl,nil->ci", dU, X)
    return {"J": J, "U": U, "N": N, "A": A, "Z": Z, "dZ": dZ, "dA": dA, "dN": dN, "dU": dU,
            "dM": dM, "dgamma": dgamma, "dbeta": dbeta, "dK": dK, "db": db}
"""


def instance_draw(rng):
    n, i, c, length, o, k = 3, 6, 4, 7, 5, 8
    params = {
        "M": rng.normal(size=(c, i)),
        "gamma": rng.uniform(0.5, 1.5, size=c) * rng.choice([-1.0, 1.0], size=c),
        "beta": rng.uniform(0.2, 0.8, size=c) * rng.choice([-1.0, 1.0], size=c),
        "K": 0.5 * rng.normal(size=(c, o, k)),
        "b": rng.normal(size=o),
    }
    return params, (rng.normal(size=(n, i, length)), rng.normal(size=(n, o, 2 * length)))


INSTANCE_MISTAKES = (
    Mistake(
        "The variance is the unbiased one.",
        "U.var(axis=axes, keepdims=True)",
        "U.var(axis=axes, keepdims=True, ddof=1)",
    ),
    Mistake(
        "The small constant is added to the standard deviation instead of the variance.",
        "np.sqrt(var + eps)",
        "(np.sqrt(var) + eps)",
    ),
    Mistake("The statistics are taken over the batch too, as in batch norm.", "axes = 2\n", "axes = (0, 2)\n"),
    Mistake("The path through the variance is forgotten.", "(dxhat - m1 - xhat * m2)", "(dxhat - m1)"),
    Mistake("The mean of the gradient is a sum.", "m1 = dxhat.mean(", "m1 = dxhat.sum("),
    Mistake(
        "The slope of leaky ReLU is left out of its derivative.",
        "np.where(N > 0, 1.0, slope)",
        "np.where(N > 0, 1.0, 0.0)",
    ),
    Mistake(
        "The branch of leaky ReLU is chosen by the normalised signal before scale and shift.",
        "dA * np.where(N > 0,",
        "dA * np.where(xhat > 0,",
    ),
    Mistake("The kernel is flipped on the way back.", '"nok,cok->nc", win, K)', '"nok,cok->nc", win, K[:, :, ::-1])'),
    Mistake(
        "The window of the backward pass moves by one position instead of the stride.", "lo = stride * t", "lo = t"
    ),
    Mistake(
        "The output is cropped one position too early.", "full[:, :, pad:-pad] + b", "full[:, :, pad - 1:-pad - 1] + b"
    ),
    Mistake("The gradient of the scale uses the signal before normalisation.", "(dN * xhat).sum", "(dN * U).sum"),
)


# 4. A low-rank adapter with dropout beside a frozen weight, on top of a trained layer, and SiLU.


def adapter_reference(params, X, W0, drop, Y):
    H = tap("H", torch.tanh(X @ params["E"] + params["c"]))
    A, B = params["A"], params["B"]
    scale = 8.0 / A.shape[0]
    adapter = (H * drop / 0.75) @ A.T @ B.T
    Z = tap("Z", H @ W0.T + scale * adapter + params["b"])
    return F.mse_loss(F.silu(Z), Y)


ADAPTER = """def derivation(params, X, W0, drop, Y):
    E, c, A, B, b = (params[name] for name in ("E", "c", "A", "B", "b"))
    r = A.shape[0]
    n = X.shape[0]
    keep = 0.75
    scale = 8.0 / r

    H = np.tanh(np.dot(X, E) + c)
    Hd = H * drop / keep
    low = np.dot(Hd, A.T)
    Z = np.dot(H, W0.T) + scale * np.dot(low, B.T) + b
    sig = 1 / (1 + np.exp(-Z))
    S = Z * sig
    R = S - Y
    J = np.mean(R ** 2)

    dS = 2 * R / R.size
    dZ = dS * (sig + Z * sig * (1 - sig))
    db = np.sum(dZ, axis=0)
    dB = scale * np.dot(dZ.T, low)
    dlow = scale * np.dot(dZ, B)
    dA = np.dot(dlow.T, Hd)
    dHd = np.dot(dlow, A)
    dH = np.dot(dZ, W0) + dHd * drop / keep
    dG = dH * (1 - H ** 2)
    dE = np.dot(X.T, dG)
    dc = np.sum(dG, axis=0)
    return {"J": J, "dE": dE, "dc": dc, "dA": dA, "dB": dB, "db": db}
"""


def adapter_draw(rng):
    n, i, d, o, r = 6, 4, 7, 5, 3
    params = {
        "E": 0.6 * rng.normal(size=(i, d)),
        "c": 0.5 * rng.normal(size=d),
        "A": 0.5 * rng.normal(size=(r, d)),
        "B": 0.5 * rng.normal(size=(o, r)),
        "b": rng.normal(size=o),
    }
    drop = np.ones(n * d)
    drop[rng.permutation(n * d)[:10]] = 0.0
    X, W0, Y = rng.normal(size=(n, i)), rng.normal(size=(o, d)), rng.normal(size=(n, o))
    return params, (X, W0, drop.reshape(n, d), Y)


ADAPTER_MISTAKES = (
    Mistake("The adapter is scaled by one over the root of the rank.", "scale = 8.0 / r", "scale = 8.0 / np.sqrt(r)"),
    Mistake(
        "The adapter's scale is missing from the gradient of the up-projection.", "dB = scale * np.dot", "dB = np.dot"
    ),
    Mistake(
        "The adapter's scale is applied twice in the gradient of the down-projection.",
        "dA = np.dot(dlow.T, Hd)",
        "dA = scale * np.dot(dlow.T, Hd)",
    ),
    Mistake(
        "The frozen weight passes no gradient to the layer below it.",
        "dH = np.dot(dZ, W0) + dHd * drop / keep",
        "dH = dHd * drop / keep",
    ),
    Mistake("The dropout mask is forgotten in the backward pass.", "dHd * drop / keep", "dHd / keep"),
    Mistake(
        "The gradient of the down-projection reads the input from before dropout.",
        "np.dot(dlow.T, Hd)",
        "np.dot(dlow.T, H)",
    ),
    Mistake("The derivative of the sigmoid is used for SiLU.", "(sig + Z * sig * (1 - sig))", "sig * (1 - sig)"),
    Mistake(
        "The mean over all entries is divided by the batch size only in the gradient.", "2 * R / R.size", "2 * R / n"
    ),
    Mistake(
        "The adapter's scale multiplies the frozen path too.",
        "np.dot(H, W0.T) + scale * np.dot(low, B.T)",
        "scale * (np.dot(H, W0.T) + np.dot(low, B.T))",
    ),
    Mistake(
        "The gradient of the lower bias is averaged over the batch instead of summed.",
        "dc = np.sum(dG, axis=0)",
        "dc = np.mean(dG, axis=0)",
    ),
    Mistake("The derivative of tanh lacks its square.", "(1 - H ** 2)", "(1 - H)"),
)


# 5. Pooling by attention over sets of several lengths, a linear layer and softmax cross-entropy.


def pooling_reference(params, X, lengths, Y):
    H = tap("H", torch.tanh(X @ params["V"] + params["a"]))
    E = tap("E", H @ params["w"])
    mask = torch.arange(X.shape[1])[None, :] < lengths[:, None]
    alpha = tap("alpha", torch.softmax(E.masked_fill(~mask, float("-inf")), dim=1))
    Z = tap("Z", torch.einsum("nl,nlh->nh", alpha, H))
    logits = tap("logits", Z @ params["U"] + params["c"])
    return F.cross_entropy(logits, Y)


POOLING = """def derivation(params, X, lengths, Y):
    V, a, w = params["V"], params["a"], params["w"]
    U, c = params["U"], params["c"]
    n, L, _ = X.shape
    rows = np.arange(n)

    H = np.tanh(X @ V + a)
    E = H @ w
    mask = np.arange(L)[None, :] < lengths[:, None]
    scores = np.where(mask, E, -np.inf)
    ex = np.exp(scores - scores.max(axis=1, keepdims=True))
    alpha = ex / ex.sum(axis=1, keepdims=True)
    Z = np.einsum("nl,nlh->nh", alpha, H)
    logits = Z @ U + c
    shifted = logits - logits.max(axis=1, keepdims=True)
    logp = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    J = -logp[rows, Y].mean()

    dlogits = np.exp(logp)
    dlogits[rows, Y] -= 1
    dlogits /= n
    dU = Z.T @ dlogits
    dc = dlogits.sum(axis=0)
    dZ = dlogits @ U.T
    dalpha = np.einsum("nh,nlh->nl", dZ, H)
    dE = alpha * (dalpha - np.sum(alpha * dalpha, axis=1, keepdims=True))
    dw = np.einsum("nl,nlh->h", dE, H)
    dH = alpha[:, :, None] * dZ[:, None, :] + dE[:, :, None] * w
    dG = dH * (1 - H ** 2)
    dV = np.einsum("nld,nlh->dh", X, dG)
    da = dG.sum(axis=1).sum(axis=0)
    return {"J": J, "H": H, "E": E, "alpha": alpha, "Z": Z, "logits": logits,
            "dlogits": dlogits, "dZ": dZ, "dalpha": dalpha, "dE": dE, "dH": dH,
            "dV": dV, "da": da, "dw": dw, "dU": dU, "dc": dc}
"""


def pooling_draw(rng):
    n, length, d, h, k = 5, 6, 4, 7, 3
    params = {
        "V": 0.6 * rng.normal(size=(d, h)),
        "a": 0.5 * rng.normal(size=h),
        "w": rng.normal(size=h),
        "U": rng.normal(size=(h, k)),
        "c": rng.normal(size=k),
    }
    lengths = rng.permutation(np.array([2, 3, 4, 5, 6]))
    Y = rng.permutation(np.array([0, 1, 2, 0, 2]))
    return params, (rng.normal(size=(n, length, d)), lengths, Y)


POOLING_MISTAKES = (
    Mistake("The mask lets one member too many into each set.", "[None, :] < lengths", "[None, :] <= lengths"),
    Mistake(
        "The absent members get the score zero instead of no weight.",
        "np.where(mask, E, -np.inf)",
        "np.where(mask, E, 0.0)",
    ),
    Mistake(
        "Only the diagonal of the Jacobian of the softmax is kept.",
        "alpha * (dalpha - np.sum(alpha * dalpha, axis=1, keepdims=True))",
        "alpha * (1 - alpha) * dalpha",
    ),
    Mistake(
        "The softmax's correction is summed over the sets instead of the members.",
        "np.sum(alpha * dalpha, axis=1, keepdims=True)",
        "np.sum(alpha * dalpha, axis=0, keepdims=True)",
    ),
    Mistake("The path from the encodings through the scores is forgotten.", " + dE[:, :, None] * w", ""),
    Mistake(
        "The pooling is differentiated as if it were a plain mean over the members.",
        "alpha[:, :, None] * dZ[:, None, :]",
        "(mask / lengths[:, None])[:, :, None] * dZ[:, None, :]",
    ),
    Mistake(
        "The gradient is divided by the number of members in the batch instead of the number of sets.",
        "dlogits /= n",
        "dlogits /= lengths.sum()",
    ),
    Mistake("The one is added at the label instead of taken off.", "dlogits[rows, Y] -= 1", "dlogits[rows, Y] += 1"),
    Mistake(
        "The gradient of the score vector uses the gradient of the weights after the softmax.",
        '"nl,nlh->h", dE, H)',
        '"nl,nlh->h", dalpha, H)',
    ),
    Mistake(
        "The gradient of the encoder's bias is averaged over the members instead of summed.",
        "dG.sum(axis=1)",
        "dG.mean(axis=1)",
    ),
    Mistake("The loss is summed over the sets instead of averaged.", "-logp[rows, Y].mean()", "-logp[rows, Y].sum()"),
)


# 6. Weston-Watkins hinge loss over a two-layer network with ELU and a penalty on the weights.


def hinge_reference(params, X, Y):
    Z = tap("Z", X @ params["W1"] + params["b1"])
    H = tap("H", F.elu(Z, alpha=1.5))
    S = tap("S", H @ params["W2"] + params["b2"])
    own = S.gather(1, Y[:, None])
    other = 1 - F.one_hot(Y, S.shape[1])
    hinge = (torch.relu(S - own + 1.3) * other).sum() / X.shape[0]
    return hinge + 0.5 * 0.05 * ((params["W1"] ** 2).sum() + (params["W2"] ** 2).sum())


HINGE = """def derivation(params, X, Y):
    W1, b1, W2, b2 = params["W1"], params["b1"], params["W2"], params["b2"]
    alpha, delta, lam = 1.5, 1.3, 0.05
    n = len(X)
    rows = np.arange(n)

    Z = X @ W1 + b1
    H = np.where(Z > 0, Z, alpha * (np.exp(Z) - 1))
    S = H @ W2 + b2
    margins = S - S[rows, Y][:, None] + delta
    margins[rows, Y] = 0.0
    active = margins > 0
    J = margins[active].sum() / n + 0.5 * lam * (np.sum(W1 ** 2) + np.sum(W2 ** 2))

    dS = active.astype(float)
    dS[rows, Y] = -active.sum(axis=1)
    dS /= n
    dW2 = H.T @ dS + lam * W2
    db2 = dS.sum(axis=0)
    dH = dS @ W2.T
    dZ = dH * np.where(Z > 0, 1.0, alpha * np.exp(Z))
    dW1 = X.T @ dZ + lam * W1
    db1 = dZ.sum(axis=0)
    return {"J": J, "Z": Z, "H": H, "S": S, "dS": dS, "dH": dH, "dZ": dZ,
            "dW1": dW1, "db1": db1, "dW2": dW2, "db2": db2}
"""


def hinge_draw(rng):
    n, d, h, k = 8, 5, 6, 4
    params = {
        "W1": rng.normal(size=(d, h)),
        "b1": rng.normal(size=h),
        "W2": rng.normal(size=(h, k)),
        "b2": rng.normal(size=k),
    }
    return params, (rng.normal(size=(n, d)), rng.permutation(np.array([0, 0, 1, 1, 2, 2, 3, 3])))


HINGE_MISTAKES = (
    Mistake(
        "The own class is not excluded from the sum of the hinges.",
        "margins[rows, Y] = 0.0",
        "margins[rows, Y] = delta",
    ),
    Mistake(
        "The own score gets one, not the number of violated margins, as with the hinge on the largest one.",
        "dS[rows, Y] = -active.sum(axis=1)",
        "dS[rows, Y] = -active.any(axis=1).astype(float)",
    ),
    Mistake("The scale of ELU is left out of its derivative.", "1.0, alpha * np.exp(Z))", "1.0, np.exp(Z))"),
    Mistake("The derivative of ELU is taken at its output.", "1.0, alpha * np.exp(Z))", "1.0, alpha * np.exp(H))"),
    Mistake(
        "The scale of ELU multiplies the exponential but not the one that is taken off.",
        "alpha * (np.exp(Z) - 1)",
        "alpha * np.exp(Z) - 1",
    ),
    Mistake("The gradient is divided by the number of classes too.", "dS /= n", "dS /= S.size"),
    Mistake(
        "The penalty's gradient has a factor 2 although its loss has a factor one half.", "+ lam * W1", "+ 2 * lam * W1"
    ),
    Mistake("The penalty is applied to the bias too.", "db2 = dS.sum(axis=0)", "db2 = dS.sum(axis=0) + lam * b2"),
    Mistake("The gradient of the second weight uses the values before the activation.", "H.T @ dS", "Z.T @ dS"),
    Mistake(
        "The own score and the other scores are exchanged in the margin.",
        "S - S[rows, Y][:, None] + delta",
        "S[rows, Y][:, None] - S + delta",
    ),
    Mistake(
        "The second weight is updated before the error is passed back through it.",
        "dH = dS @ W2.T",
        "W2 = W2 - 0.1 * dW2\n    dH = dS @ W2.T",
    ),
)


# 7. A diagonal linear state-space recurrence with a trained initial state, and the quantile loss.


def recurrence_reference(params, X, Y):
    a = torch.sigmoid(params["lam"])
    h = params["h0"].expand(X.shape[0], -1)
    outputs = []
    for t in range(X.shape[1]):
        h = a * h + X[:, t] @ params["B"].T
        outputs.append(h @ params["C"].T + params["d"] * X[:, t])
    out = tap("out", torch.stack(outputs, dim=1))
    err = Y - out
    return torch.maximum(0.3 * err, (0.3 - 1) * err).mean()


RECURRENCE = """def derivation(params, X, Y):
    lam, h0, B, C, d = params["lam"], params["h0"], params["B"], params["C"], params["d"]
    tau = 0.3
    n, T, _ = X.shape
    m = h0.shape[0]
    a = 1 / (1 + np.exp(-lam))

    hs = np.zeros((T + 1, n, m))
    hs[0] = h0
    out = np.zeros_like(Y)
    for t in range(T):
        hs[t + 1] = a * hs[t] + X[:, t] @ B.T
        out[:, t] = hs[t + 1] @ C.T + d * X[:, t]
    err = Y - out
    J = np.mean(np.where(err > 0, tau * err, (tau - 1) * err))

    dout = np.where(err > 0, -tau, 1 - tau) / err.size
    dB, dC, dd = np.zeros_like(B), np.zeros_like(C), np.zeros_like(d)
    da = np.zeros_like(a)
    dh = np.zeros((n, m))
    for t in reversed(range(T)):
        dC += dout[:, t].T @ hs[t + 1]
        dd += (dout[:, t] * X[:, t]).sum(axis=0)
        dh = a * dh + dout[:, t] @ C
        da += (dh * hs[t]).sum(axis=0)
        dB += dh.T @ X[:, t]
    dh0 = (a * dh).sum(axis=0)
    dlam = da * a * (1 - a)
    return {"J": J, "dlam": dlam, "dh0": dh0, "dB": dB, "dC": dC, "dd": dd}
"""


def recurrence_draw(rng):
    n, length, p, m = 7, 6, 3, 5
    params = {
        "lam": rng.uniform(0.3, 1.5, size=m) * rng.choice([-1.0, 1.0], size=m),
        "h0": rng.normal(size=m),
        "B": rng.normal(size=(m, p)),
        "C": rng.normal(size=(p, m)),
        "d": rng.normal(size=p),
    }
    return params, (rng.normal(size=(n, length, p)), rng.normal(size=(n, length, p)))


RECURRENCE_MISTAKES = (
    Mistake(
        "The gradient of the decay reads the state of the same step instead of the step before.",
        "(dh * hs[t]).sum",
        "(dh * hs[t + 1]).sum",
    ),
    Mistake(
        "The last step back to the initial state lacks the decay.", "dh0 = (a * dh).sum(axis=0)", "dh0 = dh.sum(axis=0)"
    ),
    Mistake("The recurrence starts from zero instead of the trained state.", "hs[0] = h0", "hs[0] = 0.0"),
    Mistake("The backward pass runs forward in time.", "for t in reversed(range(T)):", "for t in range(0, T):"),
    Mistake(
        "The two slopes of the quantile loss are exchanged in its derivative.",
        "np.where(err > 0, -tau, 1 - tau)",
        "np.where(err > 0, tau - 1, tau)",
    ),
    Mistake("The gradient is cut off between the time steps.", "dh = a * dh + dout[:, t] @ C", "dh = dout[:, t] @ C"),
    Mistake(
        "The derivative of the sigmoid is taken at its input.", "dlam = da * a * (1 - a)", "dlam = da * lam * (1 - lam)"
    ),
    Mistake(
        "The input is weighted by one minus the decay, as in a moving average.",
        "a * hs[t] + X[:, t] @ B.T",
        "a * hs[t] + (1 - a) * (X[:, t] @ B.T)",
    ),
    Mistake(
        "The decay is squared when the gradient is carried over a step.",
        "dh = a * dh + dout",
        "dh = a ** 2 * dh + dout",
    ),
    Mistake(
        "The gradient of the mean is divided by the batch and the time steps but not by the outputs.",
        "/ err.size",
        "/ (n * T)",
    ),
    Mistake(
        "The gradient of the input weight is overwritten at each time step.",
        "dB += dh.T @ X[:, t]",
        "dB = dh.T @ X[:, t]",
    ),
)


OPERATIONS = (
    Operation("weight-norm-poisson", poisson_reference, POISSON, poisson_draw, POISSON_MISTAKES),
    Operation("bilinear-dice", dice_reference, DICE, dice_draw, DICE_MISTAKES),
    Operation("instance-norm-transposed-convolution", instance_reference, INSTANCE, instance_draw, INSTANCE_MISTAKES),
    Operation("low-rank-adapter", adapter_reference, ADAPTER, adapter_draw, ADAPTER_MISTAKES),
    Operation("attention-pooling", pooling_reference, POOLING, pooling_draw, POOLING_MISTAKES),
    Operation("multi-class-hinge", hinge_reference, HINGE, hinge_draw, HINGE_MISTAKES),
    Operation("state-space-pinball", recurrence_reference, RECURRENCE, recurrence_draw, RECURRENCE_MISTAKES),
)
