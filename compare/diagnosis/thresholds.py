"""The numbers on which a cause is accepted, each with its unit and its meaning."""

__all__ = [
    "CANCELLED",
    "EPSILONS",
    "EQUAL",
    "FEW",
    "FITTED",
    "INFORMATIVE",
    "LIKE_A_SUM",
    "MOST_EXAMPLES",
    "MOST_NUMBERS",
    "MOST_PLACES",
    "MOST_REPLAYS",
    "ROUNDING",
    "SHARE",
    "TIMES",
    "WHOLE",
]

# --- when a hypothesis explains a tensor

# Entries that must differ before a cause is named: fewer can be explained by anything.
INFORMATIVE = 3

# Part of the largest entry that rounding may leave, by dtype. float64: the cut of the verdict times u of float32.
# float32: 64 u.
ROUNDING = {"float64": 2.0**-38.5, "float32": 2.0**-18}

# Part of the difference that a hypothesis may leave: one that removes less explains something else.
SHARE = 2.0**-5

# --- when two numbers are the same (relative differences)

EQUAL = 1e-9  # a factor, a coefficient, and the number that a hypothesis says
FITTED = 1e-6  # two numbers that were fitted to tensors, or such a number and the exact one near it
WHOLE = 1e-6  # how often an example counts, as it was fitted, and a whole number (absolute)
CANCELLED = 1e-10  # a term that contributes less of the largest entry than this has the coefficient 0
LIKE_A_SUM = 1e-3  # a gradient and the sum of another, to see which axes are summed

# --- what is tried

EPSILONS = (*(10.0**-k for k in range(3, 17)), 2.0**-52, 2.0**-23)  # in a logarithm
TIMES = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)  # how often a term is missing (below 0) or too many

# --- how long is searched

MOST_REPLAYS = 100  # replays of the reference for one tensor
MOST_EXAMPLES = 64  # examples whose contributions are computed one by one
MOST_NUMBERS = 2**22  # entries in these contributions, all together
MOST_PLACES = 4096  # indices along an axis whose order is sought

# --- what counts as a few

FEW = 3  # wrong entries that are called single ones however small the tensor is
