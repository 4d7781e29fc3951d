"""Somebody's network: functions, a dict of parameters, examples in columns."""

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def forward(P, X):
    Z1 = P["W1"] @ X + P["b1"]
    A1 = np.tanh(Z1)
    Z2 = P["W2"] @ A1 + P["b2"]
    A2 = sigmoid(Z2)
    return Z1, A1, Z2, A2


def loss(A2, Y):
    return -np.sum(Y * np.log(A2) + (1 - Y) * np.log(1 - A2)) / Y.shape[1]


def backward(P, X, Y, A1, A2):
    m = X.shape[1]
    dZ2 = (A2 - Y) / m
    dW2 = dZ2 @ A1.T
    db2 = np.sum(dZ2, axis=1, keepdims=True)
    dA1 = P["W2"].T @ dZ2
    dZ1 = dA1 * (1 - A1**2)
    dW1 = dZ1 @ X.T
    db1 = np.sum(dZ1, axis=1, keepdims=True)
    return {"dZ2": dZ2, "dW2": dW2, "db2": db2, "dA1": dA1, "dZ1": dZ1, "dW1": dW1, "db1": db1}
