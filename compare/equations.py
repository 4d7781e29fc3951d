"""The equations of the lecture notes: label and formula of every one that a recorded tensor can come from."""

from handgrad.compare.operations import OPERATIONS

_OF_THE_NOTES = {
    "F1": "Z[l] = W[l] A[l-1] + b[l], A[0] = X",
    "F2": "A[l] = g(Z[l])",
    "L1": "J = (1/n) sum of the losses",
    "L2": "loss = -[ y log p + (1-y) log(1-p) ]",
    "L4": "penalty = (l2/2) sum over layers ||W[l]||^2",
    "B1": "dZ[L] = (A[L] - Y)/n",
    "B2": "dW[l] = dZ[l] A[l-1]^T",
    "B3": "db[l] = row sums of dZ[l]",
    "B4": "dA[l-1] = W[l]^T dZ[l]",
    "B5": "dZ[l] = dA[l] * g'(Z[l])",
    "U1": "w = w - a dJ/dw",
    "O1": "batch, stochastic, mini-batch",
    "O2": "for each iteration: select a batch, forward propagation, backpropagation, update",
    "O3": "V = B V + (1-B) dJ/dw",
    "O4": "w = w - a V",
}
_OF_OTHERS = {
    label: equation for row in OPERATIONS for label, equation in row.supplied.items() if label in row.equations
}
EQUATIONS = _OF_THE_NOTES | _OF_OTHERS
