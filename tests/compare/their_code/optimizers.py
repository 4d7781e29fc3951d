"""Somebody's optimisers: momentum returns new parameters, Adam is an object that changes them in place."""

import numpy as np


def momentum(params, grads, velocity, lr=0.1, mu=0.9):
    new, kept = {}, {}
    for name, w in params.items():
        v = mu * velocity[name] + grads["d" + name]
        new[name] = w - lr * v
        kept[name] = v
    return new, kept


class Adam:
    def __init__(self, lr=0.001, b1=0.9, b2=0.999, eps=1e-8):
        self.lr, self.b1, self.b2, self.eps = lr, b1, b2, eps
        self.t, self.m, self.v = 0, {}, {}

    def step(self, params, grads):
        self.t += 1
        for name, w in params.items():
            g = grads["d" + name]
            self.m[name] = self.b1 * self.m.get(name, 0) + (1 - self.b1) * g
            self.v[name] = self.b2 * self.v.get(name, 0) + (1 - self.b2) * g * g
            m = self.m[name] / (1 - self.b1**self.t)
            v = self.v[name] / (1 - self.b2**self.t)
            w -= self.lr * m / (np.sqrt(v) + self.eps)
