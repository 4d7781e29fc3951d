"""Every statement of the notes, in their order, and beside them what was supplied."""

from functools import partial

from handgrad.compare.notes import activations, depth, losses, steps, weights
from handgrad.compare.notes.evidence import Statement, evidence
from handgrad.compare.notes.language import Sentence
from handgrad.compare.notes.parity import parity, parity_of
from handgrad.compare.operations import OPERATIONS

S = Statement
ABSENT = "({name} is not in the notes)"
OF_THE_NOTES = (
    S("F0", '"cross-entropy is a single-neuron network"', "logistic regression is a single-neuron network; "
      "cross-entropy is its loss", "corrected", partial(evidence, "a name, nothing to compute")),
    S("F1", "forward propagation (a heading)", "Z[l] = W[l] A[l-1] + b[l], A[0] = X", "holds", parity("F1")),
    S("F2", "a = b(z)", "A[l] = g(Z[l])", "corrected", parity("F2")),
    S("L1", "J = (1/n) sum of the losses", "the same", "holds", parity("L1")),
    S("L2", "loss = -y log p + (1-y) log(1-p)", "loss = -[ y log p + (1-y) log(1-p) ]", "corrected",
      losses.literal_loss),
    S("L4", Sentence(ABSENT, name="weight decay"), "J += (l2/2) sum ||W[l]||^2, dW[l] += l2 W[l], never b", "supplied",
      parity("L4")),
    S("B1", '(not written: "much computation, tedious")', "dZ[L] = (A[L] - Y)/n", "supplied", parity("B1")),
    S("B2", "(not written)", "dW[l] = dZ[l] A[l-1]^T", "supplied", parity("B2")),
    S("B3", "(not written)", "db[l] = row sums of dZ[l]", "supplied", parity("B3")),
    S("B4", "(not written)", "dA[l-1] = W[l]^T dZ[l]", "supplied", parity("B4")),
    S("B5", "(not written)", "dZ[l] = dA[l] * g'(Z[l])", "supplied", parity("B5")),
    S("U1", "w[L] = w[L] - a dJ/dw[L]", "for every layer, for b as well, all gradients before any update", "corrected",
      steps.updated_too_early),
    S("A1", "sigmoid, ReLU and tanh are slow in their saturated ends", "so it is for sigmoid and tanh; ReLU is flat on "
      "the left only", "holds", activations.saturation),
    S("A2", "ReLU' = 0 for z <= 0, 1 for z > 0", "the same; at exactly 0 it is a convention", "convention",
      activations.kink),
    S("A3", "tanh = (e^z - e^-z)/(e^z + e^-z), tanh' = 1 - tanh^2", "the same as maths; as code use np.tanh",
      "corrected", activations.written_out),
    S("C0", "y = a[2] = z[2] = w[2] a[1] + b[2]", "the same: the identity at the output", "holds", depth.collapse),
    S("C1", "y = W x + B with W = W2 W1 W0", "W = W3 W2 W1, counting layers from 1", "corrected", depth.collapse),
    S("C2", "B = W2 v1 b1 + v2 b2 + b3", "B = W3 W2 b1 + W3 b2 + b3", "corrected", depth.collapsed_bias),
    S("C3", 'an activation "to escape non-linearity"', "to escape linearity", "corrected", depth.not_linear),
    S("G1", "y = w[L] ... w[2] x + b", "y = W[L] ... W[1] x, b = 0", "corrected", depth.without_bias),
    S("G2", 'W = 1.5 I gives (1.5 x1, 1.5 x2); "explode: none"', "1.5^L x: it explodes", "corrected",
      partial(depth.powers, 1.5)),
    S("G3", "W = 0.5 I the same", "0.5^L x: it vanishes", "corrected", partial(depth.powers, 0.5)),
    S("I1", "large n, small w: w_i ~ 1/n", "Var(w_i) = 1/n, standard deviation 1/sqrt(n)", "corrected",
      weights.variance),
    S("I2", "randn(shape) * sqrt(1/n)", "the same, n being the fan-in n[l-1]", "holds", weights.draw),
    S("I3", "for ReLU replace 1 by 2", "sqrt(2/n[l-1])", "holds", weights.he),
    S("I4", '"Xavier" is sqrt(1/n[l-1])', "the literature calls that LeCun's", "convention",
      weights.lecun_called_xavier),
    S("I5", '"He" is sqrt(2/(n[l] + n[l-1]))', "that is Glorot's; He's is sqrt(2/n[l-1])", "corrected",
      weights.glorot_called_he),
    S("I6", "(unstated)", "equal weights never separate: they must be drawn", "supplied", weights.symmetry),
    S("O1", "batch, stochastic, mini-batch", "n = N, 1, between; the last batch divides by its own size", "holds",
      steps.batches),
    S("O2", "for each iteration: select a batch, forward, backward, update", "the same", "holds", parity("O1")),
    S("O3", "V = B V + (1-B) dL/dw", "dJ for dL; V = 0 at the start; the same for b", "corrected", parity("O3")),
    S("O4", "w = w - a V", "the same", "holds", steps.oscillation),
)  # fmt: skip
SUPPLIED = (
    S(label, Sentence(ABSENT, name=row.name.replace("-", " ")), equation, "supplied", parity_of(row, label))
    for row in OPERATIONS
    for label, equation in row.supplied.items()
)
STATEMENTS = tuple(sorted((*OF_THE_NOTES, *SUPPLIED), key=lambda s: ("FLBUACGIO".index(s.id[0]), s.id)))
