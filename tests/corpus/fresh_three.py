"""Planted mistakes, third part: seven hand-derived backward passes, each with the ways people get it wrong."""

import numpy as np
import torch
import torch.nn.functional as F

from handgrad import tap
from tests.corpus.planted import Mistake, Operation

# 1. Two-layer perceptron, softmax cross-entropy, L2 penalty on the weights only


def perceptron_reference(params, X, Y):
    A = tap("A", X @ params["W1"] + params["b1"])
    H = tap("H", F.relu(A))
    S = tap("S", H @ params["W2"] + params["b2"])
    penalty = 0.5 * 0.1 * (params["W1"].square().sum() + params["W2"].square().sum())
    return F.cross_entropy(S, Y) + penalty


PERCEPTRON = """def derivation(params, X, Y):
    W1, b1 = params["W1"], params["b1"]
    W2, b2 = params["W2"], params["b2"]
    N = X.shape[0]
    lam = 0.1
    rows = np.arange(N)

    # forward
    A = X @ W1 + b1
    H = np.maximum(A, 0)
    S = H @ W2 + b2
    m = S.max(axis=1, keepdims=True)
    E = np.exp(S - m)
    P = E / E.sum(axis=1, keepdims=True)
    logZ = np.log(E.sum(axis=1)) + m[:, 0]
    data_loss = np.mean(logZ - S[rows, Y])
    reg_loss = 0.5 * lam * (np.sum(W1 * W1) + np.sum(W2 * W2))
    J = data_loss + reg_loss

    # backward
    dS = P.copy()
    dS[rows, Y] -= 1
    dS /= N
    dW2 = H.T @ dS + lam * W2
    db2 = dS.sum(axis=0)
    dH = dS @ W2.T
    dA = dH * (A > 0)
    dW1 = X.T @ dA + lam * W1
    db1 = dA.sum(axis=0)

    return {"J": J, "A": A, "H": H, "S": S, "dS": dS, "dH": dH, "dA": dA,
            "dW1": dW1, "db1": db1, "dW2": dW2, "db2": db2}
"""


def perceptron_draw(rng):
    params = {
        "W1": rng.normal(size=(5, 6)) * 0.7,
        "b1": rng.normal(size=6) * 0.5,
        "W2": rng.normal(size=(6, 4)) * 0.7,
        "b2": rng.normal(size=4) * 0.5,
    }
    return params, (rng.normal(size=(9, 5)), rng.integers(0, 4, size=9))


PERCEPTRON_MISTAKES = (
    Mistake(
        "The softmax is normalised over the examples instead of the classes.",
        "P = E / E.sum(axis=1, keepdims=True)",
        "P = E / E.sum(axis=0, keepdims=True)",
    ),
    Mistake(
        "The maximum that was subtracted for stability is not added back to the log-sum-exp in the loss.",
        "logZ = np.log(E.sum(axis=1)) + m[:, 0]",
        "logZ = np.log(E.sum(axis=1))",
    ),
    Mistake(
        "The half is missing from the penalty, while its gradient is still the one with the half.",
        "reg_loss = 0.5 * lam * (",
        "reg_loss = lam * (",
    ),
    Mistake(
        "The one is subtracted in every row for every label, by a slice where an index of rows belongs.",
        "dS[rows, Y] -= 1",
        "dS[:, Y] -= 1",
    ),
    Mistake(
        "The logits' gradient is divided by the number of classes rather than the number of examples.",
        "dS /= N",
        "dS /= S.shape[1]",
    ),
    Mistake(
        "The penalty's gradient on the second layer's weights is twice what it should be.",
        "+ lam * W2",
        "+ 2 * lam * W2",
    ),
    Mistake(
        "The output bias's gradient is a mean over the batch where the sum belongs.",
        "db2 = dS.sum(axis=0)",
        "db2 = dS.mean(axis=0)",
    ),
    Mistake(
        "The ReLU mask asks whether the output is at least zero, which it always is.",
        "dA = dH * (A > 0)",
        "dA = dH * (H >= 0)",
    ),
    Mistake(
        "The first layer's weights take the gradient from before the ReLU's mask.",
        "X.T @ dA",
        "X.T @ dH",
    ),
    Mistake(
        "The penalty also acts on the hidden bias, which the loss does not penalise.",
        "db1 = dA.sum(axis=0)",
        "db1 = dA.sum(axis=0) + lam * b1",
    ),
    Mistake(
        "The penalty's gradient on the first layer's weights is divided by the batch size with the data term.",
        "+ lam * W1",
        "+ lam * W1 / N",
    ),
)


# 2. Layer norm over the last axis with gain and shift, a linear map, mean squared error


def layer_norm_reference(params, X, Y):
    U = tap("U", X + params["pos"])
    mu = tap("mu", U.mean(dim=-1, keepdim=True))
    var = tap("var", ((U - mu) ** 2).mean(dim=-1, keepdim=True))
    Xhat = tap("Xhat", (U - mu) / torch.sqrt(var + 1e-5))
    V = tap("V", params["gain"] * Xhat + params["shift"])
    out = tap("O", V @ params["W"] + params["b"])
    return F.mse_loss(out, Y)


LAYER_NORM = """def derivation(params, X, Y):
    pos, gain, shift, W, b = (params[k] for k in ("pos", "gain", "shift", "W", "b"))
    B, T, D = X.shape
    eps = 1e-5

    U = X + pos                                          # (B, T, D)
    mu = U.mean(axis=-1, keepdims=True)                  # (B, T, 1)
    Uc = U - mu
    var = (Uc ** 2).mean(axis=-1, keepdims=True)
    rstd = 1.0 / np.sqrt(var + eps)
    Xhat = Uc * rstd
    V = gain * Xhat + shift
    O = V @ W + b                                        # (B, T, K)
    R = O - Y
    J = (R ** 2).mean()

    dO = 2.0 * R / R.size
    dW = np.einsum("btd,btk->dk", V, dO)
    db = dO.sum(axis=(0, 1))
    dV = dO @ W.T
    dgain = (dV * Xhat).sum(axis=(0, 1))
    dshift = dV.sum(axis=(0, 1))
    dXhat = dV * gain
    dvar = (dXhat * Uc).sum(axis=-1, keepdims=True) * -0.5 * rstd ** 3
    dmu = -(dXhat * rstd).sum(axis=-1, keepdims=True)    # the path through var vanishes, since Uc sums to zero
    dU = dXhat * rstd + dvar * 2.0 * Uc / D + dmu / D
    dpos = dU.sum(axis=0)
    return dict(J=J, U=U, mu=mu, var=var, Xhat=Xhat, V=V, O=O,
                dU=dU, dmu=dmu, dvar=dvar, dXhat=dXhat, dV=dV, dO=dO,
                dpos=dpos, dgain=dgain, dshift=dshift, dW=dW, db=db)
"""


def layer_norm_draw(rng):
    params = {
        "pos": rng.normal(size=(3, 6)),
        "gain": 1.0 + 0.4 * rng.normal(size=6),
        "shift": rng.normal(size=6),
        "W": rng.normal(size=(6, 5)),
        "b": rng.normal(size=5),
    }
    return params, (rng.normal(size=(4, 3, 6)), rng.normal(size=(4, 3, 5)))


LAYER_NORM_MISTAKES = (
    Mistake(
        "The mean is taken over the time axis instead of the features.",
        "mu = U.mean(axis=-1, keepdims=True)",
        "mu = U.mean(axis=1, keepdims=True)",
    ),
    Mistake(
        "The variance has Bessel's correction.",
        "var = (Uc ** 2).mean(axis=-1, keepdims=True)",
        "var = (Uc ** 2).sum(axis=-1, keepdims=True) / (D - 1)",
    ),
    Mistake(
        "The epsilon is added outside the square root.",
        "rstd = 1.0 / np.sqrt(var + eps)",
        "rstd = 1.0 / (np.sqrt(var) + eps)",
    ),
    Mistake(
        "The gain multiplies the shift as well.",
        "V = gain * Xhat + shift",
        "V = gain * (Xhat + shift)",
    ),
    Mistake(
        "The loss averages over all elements, but its gradient divides only by the number of rows.",
        "dO = 2.0 * R / R.size",
        "dO = 2.0 * R / (B * T)",
    ),
    Mistake(
        "The linear map's gradient uses the normalised input from before gain and shift.",
        '"btd,btk->dk", V, dO',
        '"btd,btk->dk", Xhat, dO',
    ),
    Mistake(
        "The gain's gradient uses the centred input that was not divided by the deviation.",
        "dgain = (dV * Xhat)",
        "dgain = (dV * Uc)",
    ),
    Mistake(
        "The gain is forgotten on the way back to the normalised input.",
        "dXhat = dV * gain",
        "dXhat = dV",
    ),
    Mistake(
        "The reciprocal deviation is squared rather than cubed in the variance's gradient.",
        "-0.5 * rstd ** 3",
        "-0.5 * rstd ** 2",
    ),
    Mistake(
        "The path through the variance is left out, as if the deviation were a constant.",
        "dU = dXhat * rstd + dvar * 2.0 * Uc / D + dmu / D",
        "dU = dXhat * rstd + dmu / D",
    ),
    Mistake(
        "The positional offset was broadcast over the batch, but its gradient is that of the last example alone.",
        "dpos = dU.sum(axis=0)",
        "dpos = dU[-1]",
    ),
)


# 3. Multi-head self-attention without a mask, with an output projection


def attention_reference(params, X, Y):
    heads = 2

    def split(M):
        return M.reshape(M.shape[0], M.shape[1], heads, -1).transpose(1, 2)

    Q = tap("Q", split(X @ params["Wq"]))
    K = tap("K", split(X @ params["Wk"]))
    V = tap("V", split(X @ params["Wv"]))
    S = tap("S", Q @ K.transpose(-1, -2) / Q.shape[-1] ** 0.5)
    P = tap("P", torch.softmax(S, dim=-1))
    C = tap("C", (P @ V).transpose(1, 2).flatten(2))
    out = tap("O", C @ params["Wo"] + params["bo"])
    return 0.5 * ((out - Y) ** 2).sum() / X.shape[0]


ATTENTION = """def derivation(params, X, Y):
    Wq, Wk, Wv, Wo, bo = params["Wq"], params["Wk"], params["Wv"], params["Wo"], params["bo"]
    B, T, D = X.shape
    h = 2
    dk = Wq.shape[1] // h
    scale = 1 / np.sqrt(dk)

    def heads(M):
        return M.reshape(B, T, h, dk).transpose(0, 2, 1, 3)

    def unheads(M):
        return M.transpose(0, 2, 1, 3).reshape(B, T, h * dk)

    def weight_grad(inp, gout):
        return inp.reshape(B * T, -1).T @ gout.reshape(B * T, -1)

    # forward
    Q = heads(X @ Wq)
    K = heads(X @ Wk)
    V = heads(X @ Wv)
    S = Q @ K.transpose(0, 1, 3, 2) * scale
    P = np.exp(S - S.max(axis=-1, keepdims=True))
    P = P / P.sum(axis=-1, keepdims=True)
    ctx = P @ V
    C = ctx.transpose(0, 2, 1, 3).reshape(B, T, h * dk)
    O = C @ Wo + bo
    R = O - Y
    J = 0.5 * np.sum(R * R) / B

    # backward
    dO = R / B
    dbo = dO.sum(axis=(0, 1))
    dWo = weight_grad(C, dO)
    dC = dO @ Wo.T
    dctx = heads(dC)
    dV = P.transpose(0, 1, 3, 2) @ dctx
    dP = dctx @ V.transpose(0, 1, 3, 2)
    dS = P * (dP - np.sum(dP * P, axis=-1, keepdims=True))
    dQ = (dS @ K) * scale
    dK = (dS.transpose(0, 1, 3, 2) @ Q) * scale
    dWq = weight_grad(X, unheads(dQ))
    dWk = weight_grad(X, unheads(dK))
    dWv = weight_grad(X, unheads(dV))

    return {
        "J": J, "Q": Q, "K": K, "V": V, "S": S, "P": P, "C": C, "O": O,
        "dQ": dQ, "dK": dK, "dV": dV, "dS": dS, "dP": dP, "dC": dC, "dO": dO,
        "dWq": dWq, "dWk": dWk, "dWv": dWv, "dWo": dWo, "dbo": dbo,
    }
"""


def attention_draw(rng):
    params = {
        "Wq": rng.normal(size=(7, 6)) * 0.5,
        "Wk": rng.normal(size=(7, 6)) * 0.5,
        "Wv": rng.normal(size=(7, 6)) * 0.5,
        "Wo": rng.normal(size=(6, 8)) * 0.5,
        "bo": rng.normal(size=8),
    }
    return params, (rng.normal(size=(4, 5, 7)), rng.normal(size=(4, 5, 8)))


ATTENTION_MISTAKES = (
    Mistake(
        "The scores are scaled by the root of the model's whole width, not of one head's.",
        "scale = 1 / np.sqrt(dk)",
        "scale = 1 / np.sqrt(h * dk)",
    ),
    Mistake(
        "The attention weights are normalised over the queries instead of the keys.",
        "P = P / P.sum(axis=-1, keepdims=True)",
        "P = P / P.sum(axis=-2, keepdims=True)",
    ),
    Mistake(
        "The heads are merged by a reshape without swapping the head and time axes back.",
        "C = ctx.transpose(0, 2, 1, 3).reshape(B, T, h * dk)",
        "C = ctx.reshape(B, T, h * dk)",
    ),
    Mistake(
        "The output's gradient lacks the division by the batch size.",
        "dO = R / B",
        "dO = R",
    ),
    Mistake(
        "The output bias's gradient is summed over time but averaged over the batch.",
        "dbo = dO.sum(axis=(0, 1))",
        "dbo = dO.sum(axis=1).mean(axis=0)",
    ),
    Mistake(
        "The context's gradient is split with the head axis innermost, unlike the forward pass.",
        "dctx = heads(dC)",
        "dctx = dC.reshape(B, T, dk, h).transpose(0, 3, 1, 2)",
    ),
    Mistake(
        "The attention matrix is not transposed in the values' gradient.",
        "dV = P.transpose(0, 1, 3, 2) @ dctx",
        "dV = P @ dctx",
    ),
    Mistake(
        "The softmax is differentiated elementwise like a sigmoid, leaving out the off-diagonal terms.",
        "dS = P * (dP - np.sum(dP * P, axis=-1, keepdims=True))",
        "dS = P * (1 - P) * dP",
    ),
    Mistake(
        "The scale is applied twice on the way back to the queries.",
        "dQ = (dS @ K) * scale",
        "dQ = (dS @ K) * scale ** 2",
    ),
    Mistake(
        "The keys' gradient multiplies by the keys where the queries belong.",
        "dK = (dS.transpose(0, 1, 3, 2) @ Q) * scale",
        "dK = (dS.transpose(0, 1, 3, 2) @ K) * scale",
    ),
    Mistake(
        "The key projection's gradient was copied from the query's line and still reads the queries' gradient.",
        "dWk = weight_grad(X, unheads(dK))",
        "dWk = weight_grad(X, unheads(dQ))",
    ),
)


# 4. Plain tanh recurrent network, predicting from its last state


def recurrent_reference(params, X, Y):
    n, steps = X.shape[:2]
    h = params["h0"].expand(n, -1)
    for t in range(steps):
        h = tap(f"h{t + 1}", torch.tanh(X[:, t] @ params["Wx"] + h @ params["Wh"] + params["b"]))
    yhat = tap("yhat", h @ params["Wy"] + params["by"])
    return 0.5 * ((yhat - Y) ** 2).sum(dim=1).mean()


RECURRENT = """def derivation(params, X, Y):
    Wx, Wh, b = params["Wx"], params["Wh"], params["b"]
    Wy, by = params["Wy"], params["by"]
    N, T, _ = X.shape
    out = {}

    hs = {}
    hs[0] = np.tile(params["h0"], (N, 1))
    for t in range(T):
        hs[t + 1] = np.tanh(X[:, t] @ Wx + hs[t] @ Wh + b)
        out["h%d" % (t + 1)] = hs[t + 1]
    yhat = hs[T] @ Wy + by
    err = yhat - Y
    out["yhat"] = yhat
    out["J"] = 0.5 * np.sum(err ** 2) / N

    dyhat = err / N
    out["dyhat"] = dyhat
    out["dWy"] = hs[T].T @ dyhat
    out["dby"] = dyhat.sum(axis=0)

    dWx, dWh, db = np.zeros_like(Wx), np.zeros_like(Wh), np.zeros_like(b)
    dh = dyhat @ Wy.T
    for t in reversed(range(T)):
        out["dh%d" % (t + 1)] = dh
        dz = dh * (1 - hs[t + 1] ** 2)
        dWx += X[:, t].T @ dz
        dWh += hs[t].T @ dz
        db += dz.sum(axis=0)
        dh = dz @ Wh.T
    out["dWx"], out["dWh"], out["db"] = dWx, dWh, db
    out["dh0"] = dh.sum(axis=0)
    return out
"""


def recurrent_draw(rng):
    params = {
        "h0": rng.normal(size=4) * 0.5,
        "Wx": rng.normal(size=(3, 4)) * 0.5,
        "Wh": rng.normal(size=(4, 4)) * 0.5,
        "b": rng.normal(size=4) * 0.3,
        "Wy": rng.normal(size=(4, 7)),
        "by": rng.normal(size=7),
    }
    return params, (rng.normal(size=(6, 5, 3)), rng.normal(size=(6, 7)))


RECURRENT_MISTAKES = (
    Mistake(
        "The network starts from zeros and ignores the learnt initial state.",
        'hs[0] = np.tile(params["h0"], (N, 1))',
        'hs[0] = np.zeros((N, len(params["h0"])))',
    ),
    Mistake(
        "The loss is averaged over the outputs too, while the gradient is of the sum over them.",
        "np.sum(err ** 2) / N",
        "np.mean(err ** 2)",
    ),
    Mistake(
        "The readout's gradient uses the state before the last one.",
        "hs[T].T @ dyhat",
        "hs[T - 1].T @ dyhat",
    ),
    Mistake(
        "The backward loop runs through time in forward order.",
        "for t in reversed(range(T)):",
        "for t in range(T):",
    ),
    Mistake(
        "The tanh's derivative is taken at the previous step's state.",
        "(1 - hs[t + 1] ** 2)",
        "(1 - hs[t] ** 2)",
    ),
    Mistake(
        "The input weights' gradient is overwritten in each step instead of accumulated.",
        "dWx += X[:, t].T @ dz",
        "dWx = X[:, t].T @ dz",
    ),
    Mistake(
        "The recurrent weights' gradient takes the step's own output where its input state belongs.",
        "dWh += hs[t].T @ dz",
        "dWh += hs[t + 1].T @ dz",
    ),
    Mistake(
        "The bias's gradient adds up the states' gradient without the tanh's derivative.",
        "db += dz.sum(axis=0)",
        "db += dh.sum(axis=0)",
    ),
    Mistake(
        "The recurrent weights, a square matrix, are not transposed on the way back in time.",
        "dh = dz @ Wh.T",
        "dh = dz @ Wh",
    ),
    Mistake(
        "The state's gradient is clipped in every step.",
        "        dh = dz @ Wh.T\n",
        "        dh = np.clip(dz @ Wh.T, -0.1, 0.1)\n",
    ),
    Mistake(
        "The initial state is shared by the batch, but its gradient is averaged over it once more.",
        'out["dh0"] = dh.sum(axis=0)',
        'out["dh0"] = dh.mean(axis=0)',
    ),
)


# 5. Convolution with bias, ReLU, 2 x 2 max pooling, a linear layer, binary cross-entropy with logits


def convolution_reference(params, X, Y):
    Z = tap("Z", F.conv2d(X, params["K"], params["bK"], padding=1))
    A = tap("A", F.relu(Z))
    P = tap("P", F.max_pool2d(A, 2))
    s = tap("s", P.flatten(1) @ params["w"] + params["c"])
    return F.binary_cross_entropy_with_logits(s, Y)


CONVOLUTION = """def derivation(params, X, Y):
    K, bK, w, c = params["K"], params["bK"], params["w"], params["c"]
    N, Cin, Hin, Win = X.shape
    Cout, _, kh, kw = K.shape

    # convolution, stride 1, "same" padding for a 3 x 3 kernel
    Xp = np.pad(X, ((0, 0), (0, 0), (1, 1), (1, 1)))
    Z = np.zeros((N, Cout, Hin, Win))
    for i in range(Hin):
        for j in range(Win):
            patch = Xp[:, :, i:i + kh, j:j + kw]
            Z[:, :, i, j] = np.tensordot(patch, K, axes=((1, 2, 3), (1, 2, 3))) + bK
    A = np.maximum(Z, 0)

    # 2 x 2 max pooling
    Hp, Wp = Hin // 2, Win // 2
    P = np.zeros((N, Cout, Hp, Wp))
    for i in range(Hp):
        for j in range(Wp):
            P[:, :, i, j] = A[:, :, 2 * i:2 * i + 2, 2 * j:2 * j + 2].max(axis=(2, 3))

    flat = P.reshape(N, -1)
    s = flat @ w + c
    J = np.mean(np.maximum(s, 0) - s * Y + np.log1p(np.exp(-np.abs(s))))

    # backward
    prob = 1 / (1 + np.exp(-s))
    ds = (prob - Y) / N
    dw = flat.T @ ds
    dc = np.array([ds.sum()])
    dP = np.outer(ds, w).reshape(P.shape)

    dA = np.zeros_like(A)
    for i in range(Hp):
        for j in range(Wp):
            top = P[:, :, i, j][:, :, None, None]
            g = dP[:, :, i, j][:, :, None, None]
            win = A[:, :, 2 * i:2 * (i + 1), 2 * j:2 * (j + 1)]
            dA[:, :, 2 * i:2 * (i + 1), 2 * j:2 * (j + 1)] += (win == top) * g

    dZ = dA * (Z > 0)
    dbK = dZ.sum(axis=(0, 2, 3))
    dK = np.zeros_like(K)
    for u in range(Hin):
        for v in range(Win):
            dK += np.tensordot(dZ[:, :, u, v], Xp[:, :, u:u + kh, v:v + kw], axes=(0, 0))

    return {"J": J, "dK": dK, "dbK": dbK, "dw": dw, "dc": dc}
"""


def convolution_draw(rng):
    params = {
        "K": rng.normal(size=(5, 2, 3, 3)) * 0.5,
        "bK": rng.normal(size=5) * 0.5,
        "w": rng.normal(size=30) * 0.4,
        "c": rng.normal(size=1),
    }
    Y = rng.permutation(np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]))
    return params, (rng.normal(size=(7, 2, 4, 6)), Y)


CONVOLUTION_MISTAKES = (
    Mistake(
        "All the padding is put on the top and the left.",
        "((0, 0), (0, 0), (1, 1), (1, 1))",
        "((0, 0), (0, 0), (2, 0), (2, 0))",
    ),
    Mistake(
        "The kernel is flipped in the forward pass, as in a mathematical convolution.",
        "np.tensordot(patch, K, axes",
        "np.tensordot(patch, K[:, :, ::-1, ::-1], axes",
    ),
    Mistake(
        "The feature map is flattened with the channels last.",
        "flat = P.reshape(N, -1)",
        "flat = P.transpose(0, 2, 3, 1).reshape(N, -1)",
    ),
    Mistake(
        "The stable form of the loss has the wrong sign in the exponent.",
        "np.log1p(np.exp(-np.abs(s)))",
        "np.log1p(np.exp(np.abs(s)))",
    ),
    Mistake(
        "The sigmoid's derivative is multiplied in although the logits' gradient already accounts for it.",
        "ds = (prob - Y) / N",
        "ds = (prob - Y) * prob * (1 - prob) / N",
    ),
    Mistake(
        "The output bias's gradient is the mean of gradients that were already divided by the batch size.",
        "dc = np.array([ds.sum()])",
        "dc = np.array([ds.mean()])",
    ),
    Mistake(
        "The pooling's gradient is spread over the window as in average pooling.",
        "+= (win == top) * g",
        "+= g / 4",
    ),
    Mistake(
        "The pooling's gradient is written back with stride one.",
        "dA[:, :, 2 * i:2 * (i + 1), 2 * j:2 * (j + 1)] +=",
        "dA[:, :, i:i + 2, j:j + 2] +=",
    ),
    Mistake(
        "The ReLU's mask is forgotten between pooling and convolution.",
        "dZ = dA * (Z > 0)",
        "dZ = dA",
    ),
    Mistake(
        "The kernel's gradient leaves out the last row of output positions.",
        "for u in range(Hin):",
        "for u in range(Hin - 1):",
    ),
    Mistake(
        "The kernel's gradient has its rows and columns exchanged.",
        "Xp[:, :, u:u + kh, v:v + kw]",
        "Xp[:, :, u:u + kh, v:v + kw].transpose(0, 1, 3, 2)",
    ),
)


# 6. Triplet margin loss on normalised embeddings with Euclidean distances


def triplet_reference(params, A, P, N):
    def embed(name, inputs):
        Z = tap("Z" + name, inputs @ params["W"] + params["b"])
        return tap("E" + name, Z / Z.norm(dim=1, keepdim=True))

    Ea, Ep, En = embed("a", A), embed("p", P), embed("n", N)
    near = tap("near", torch.sqrt(((Ea - Ep) ** 2).sum(dim=1) + 1e-4))
    far = tap("far", torch.sqrt(((Ea - En) ** 2).sum(dim=1) + 1e-4))
    return F.relu(near - far + 0.3).mean()


TRIPLET = """def derivation(params, A, P, N):
    W, b = params["W"], params["b"]
    n = len(A)
    margin, eps = 0.3, 1e-4

    Za = A @ W + b
    Zp = P @ W + b
    Zn = N @ W + b
    ra = np.sqrt(np.sum(Za ** 2, axis=1, keepdims=True))
    rp = np.sqrt(np.sum(Zp ** 2, axis=1, keepdims=True))
    rn = np.sqrt(np.sum(Zn ** 2, axis=1, keepdims=True))
    Ea, Ep, En = Za / ra, Zp / rp, Zn / rn

    u = Ea - Ep
    v = Ea - En
    near = np.sqrt(np.sum(u * u, axis=1) + eps)
    far = np.sqrt(np.sum(v * v, axis=1) + eps)
    slack = near - far + margin
    J = np.mean(np.maximum(slack, 0))

    active = (slack > 0).astype(float)
    dnear = active / n
    dfar = -active / n
    du = (dnear / near)[:, None] * u
    dv = (dfar / far)[:, None] * v
    dEa = du + dv
    dEp = -du
    dEn = -dv

    # E = Z / |Z|:  dZ = (dE - E <E, dE>) / |Z|
    dZa = (dEa - Ea * np.sum(Ea * dEa, axis=1, keepdims=True)) / ra
    dZp = (dEp - Ep * np.sum(Ep * dEp, axis=1, keepdims=True)) / rp
    dZn = (dEn - En * np.sum(En * dEn, axis=1, keepdims=True)) / rn

    dW = A.T @ dZa + P.T @ dZp + N.T @ dZn
    db = dZa.sum(axis=0) + dZp.sum(axis=0) + dZn.sum(axis=0)

    values = dict(J=J, Za=Za, Zp=Zp, Zn=Zn, Ea=Ea, Ep=Ep, En=En, near=near, far=far)
    grads = dict(dZa=dZa, dZp=dZp, dZn=dZn, dEa=dEa, dEp=dEp, dEn=dEn, dnear=dnear, dfar=dfar, dW=dW, db=db)
    return {**values, **grads}
"""


def triplet_draw(rng):
    while True:
        params = {"W": rng.normal(size=(4, 5)), "b": 0.3 * rng.normal(size=5)}
        A, P, N = (rng.normal(size=(8, 4)) for _ in range(3))
        raw = [M @ params["W"] + params["b"] for M in (A, P, N)]
        Ea, Ep, En = (Z / np.linalg.norm(Z, axis=1, keepdims=True) for Z in raw)
        gap = np.linalg.norm(Ea - Ep, axis=1) - np.linalg.norm(Ea - En, axis=1)
        # Triplets of all three sorts: inside the margin, wrongly ordered, and far enough apart to cost nothing.
        if (gap < -0.35).any() and ((gap > -0.25) & (gap < -0.05)).any() and (gap > 0.05).any():
            return params, (A, P, N)


TRIPLET_MISTAKES = (
    Mistake(
        "The negative's embedding is normalised over the batch instead of over its own coordinates.",
        "rn = np.sqrt(np.sum(Zn ** 2, axis=1, keepdims=True))",
        "rn = np.sqrt(np.sum(Zn ** 2, axis=0, keepdims=True))",
    ),
    Mistake(
        "The epsilon of the distance to the negative stands outside the root.",
        "far = np.sqrt(np.sum(v * v, axis=1) + eps)",
        "far = np.sqrt(np.sum(v * v, axis=1)) + eps",
    ),
    Mistake(
        "The margin is subtracted instead of added.",
        "slack = near - far + margin",
        "slack = near - far - margin",
    ),
    Mistake(
        "The mask keeps only the wrongly ordered triplets and drops those inside the margin.",
        "active = (slack > 0).astype(float)",
        "active = (near > far).astype(float)",
    ),
    Mistake(
        "The gradient is averaged over the active triplets, while the loss is averaged over all.",
        "dnear = active / n",
        "dnear = active / active.sum()",
    ),
    Mistake(
        "The difference to the positive is scaled as for a squared distance.",
        "du = (dnear / near)[:, None] * u",
        "du = (2 * dnear)[:, None] * u",
    ),
    Mistake(
        "The difference to the negative is divided by the distance to the positive.",
        "dv = (dfar / far)[:, None] * v",
        "dv = (dfar / near)[:, None] * v",
    ),
    Mistake(
        "The anchor gets a gradient from the positive pair alone.",
        "dEa = du + dv",
        "dEa = du",
    ),
    Mistake(
        "The positive's gradient has the anchor's sign.",
        "dEp = -du",
        "dEp = du",
    ),
    Mistake(
        "The positive's norm is treated as a constant, so the projection is missing.",
        "dZp = (dEp - Ep * np.sum(Ep * dEp, axis=1, keepdims=True)) / rp",
        "dZp = dEp / rp",
    ),
    Mistake(
        "The weight's gradient multiplies all three branches by the anchor's inputs.",
        "dW = A.T @ dZa + P.T @ dZp + N.T @ dZn",
        "dW = A.T @ (dZa + dZp + dZn)",
    ),
)


# 7. Two stacked highway layers, log-cosh loss


def highway_reference(params, X, Y):
    x = X
    for k in (1, 2):
        cand = tap(f"cand{k}", torch.tanh(x @ params[f"WH{k}"] + params[f"bH{k}"]))
        gate = tap(f"gate{k}", torch.sigmoid(x @ params[f"WT{k}"] + params[f"bT{k}"]))
        x = tap(f"x{k}", gate * cand + (1 - gate) * x)
    return torch.log(torch.cosh(x - Y)).sum(dim=1).mean()


HIGHWAY = """def derivation(params, X, Y):
    sigmoid = lambda z: 1 / (1 + np.exp(-z))
    N = X.shape[0]

    x = X
    cache = []
    for k in (1, 2):
        cand = np.tanh(x @ params[f"WH{k}"] + params[f"bH{k}"])
        gate = sigmoid(x @ params[f"WT{k}"] + params[f"bT{k}"])
        cache.append((x, cand, gate))
        x = gate * cand + (1 - gate) * x
    diff = x - Y
    res = {"J": np.log(np.cosh(diff)).sum(axis=1).mean()}

    dx = np.tanh(diff) / N
    for k in (2, 1):
        WH, WT = params[f"WH{k}"], params[f"WT{k}"]
        xin, cand, gate = cache[k - 1]
        dcand = dx * gate
        dgate = dx * (cand - xin)
        dh = dcand * (1 - cand ** 2)
        dt = dgate * gate * (1 - gate)
        res[f"dWH{k}"] = xin.T @ dh
        res[f"dbH{k}"] = dh.sum(axis=0)
        res[f"dWT{k}"] = xin.T @ dt
        res[f"dbT{k}"] = dt.sum(axis=0)
        dx = dx * (1 - gate) + dh @ WH.T + dt @ WT.T
    return res
"""


def highway_draw(rng):
    params = {}
    for k in (1, 2):
        params[f"WH{k}"] = rng.normal(size=(5, 5)) * 0.6
        params[f"bH{k}"] = rng.normal(size=5) * 0.5
        params[f"WT{k}"] = rng.normal(size=(5, 5)) * 0.6
        params[f"bT{k}"] = rng.normal(size=5) - 0.5
    return params, (rng.normal(size=(7, 5)), rng.normal(size=(7, 5)))


HIGHWAY_MISTAKES = (
    Mistake(
        "The layer's input is stored for the backward pass after it has been overwritten by the output.",
        "        cache.append((x, cand, gate))\n        x = gate * cand + (1 - gate) * x\n",
        "        x = gate * cand + (1 - gate) * x\n        cache.append((x, cand, gate))\n",
    ),
    Mistake(
        "The loss's gradient is divided by the number of elements, while the loss sums over the features.",
        "dx = np.tanh(diff) / N",
        "dx = np.tanh(diff) / diff.size",
    ),
    Mistake(
        "The cache is read one layer off, so each layer gets the other one's activations.",
        "cache[k - 1]",
        "cache[k - 2]",
    ),
    Mistake(
        "The gate's gradient leaves out the carried input, which the gate closes.",
        "dgate = dx * (cand - xin)",
        "dgate = dx * cand",
    ),
    Mistake(
        "The tanh is applied once more before taking its derivative.",
        "(1 - cand ** 2)",
        "(1 - np.tanh(cand) ** 2)",
    ),
    Mistake(
        "The gate is differentiated as a tanh although it is a sigmoid.",
        "dt = dgate * gate * (1 - gate)",
        "dt = dgate * (1 - gate ** 2)",
    ),
    Mistake(
        "The candidate weights' gradient uses the network's input in every layer.",
        'res[f"dWH{k}"] = xin.T @ dh',
        'res[f"dWH{k}"] = X.T @ dh',
    ),
    Mistake(
        "The gate bias's gradient is summed before the sigmoid's derivative is applied.",
        "dt.sum(axis=0)",
        "dgate.sum(axis=0)",
    ),
    Mistake(
        "The carried path is weighted with the gate instead of its complement.",
        "dx = dx * (1 - gate) +",
        "dx = dx * gate +",
    ),
    Mistake(
        "The path from the gate back to the layer's input is left out.",
        "+ dt @ WT.T",
        "",
    ),
    Mistake(
        "The candidate's and the gate's weights are exchanged on the way back to the input.",
        "dh @ WH.T + dt @ WT.T",
        "dh @ WT.T + dt @ WH.T",
    ),
)


OPERATIONS = (
    Operation("perceptron-l2", perceptron_reference, PERCEPTRON, perceptron_draw, PERCEPTRON_MISTAKES),
    Operation("layer-norm-mse", layer_norm_reference, LAYER_NORM, layer_norm_draw, LAYER_NORM_MISTAKES),
    Operation("multi-head-attention", attention_reference, ATTENTION, attention_draw, ATTENTION_MISTAKES),
    Operation("tanh-recurrent-last-state", recurrent_reference, RECURRENT, recurrent_draw, RECURRENT_MISTAKES),
    Operation("convolution-pool-bce", convolution_reference, CONVOLUTION, convolution_draw, CONVOLUTION_MISTAKES),
    Operation("triplet-normalised", triplet_reference, TRIPLET, triplet_draw, TRIPLET_MISTAKES),
    Operation("highway-stacked", highway_reference, HIGHWAY, highway_draw, HIGHWAY_MISTAKES),
)
