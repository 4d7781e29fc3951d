"""Somebody's network: one example at a time, lists of floats."""

import math


def forward(W, b, V, c, x):
    z = [sum(w * xi for w, xi in zip(row, x)) + bi for row, bi in zip(W, b)]
    h = [math.tanh(zi) for zi in z]
    o = [sum(v * hi for v, hi in zip(row, h)) + ci for row, ci in zip(V, c)]
    return z, h, o


def backward(W, V, x, y, h, o):
    do = [oi - yi for oi, yi in zip(o, y)]
    dV = [[d * hi for hi in h] for d in do]
    dc = do[:]
    dh = [sum(V[k][j] * do[k] for k in range(len(do))) for j in range(len(h))]
    dz = [d * (1 - hi * hi) for d, hi in zip(dh, h)]
    dW = [[d * xi for xi in x] for d in dz]
    db = dz[:]
    return do, dV, dc, dh, dz, dW, db
