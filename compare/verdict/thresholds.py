"""Every threshold of the verdict, with its unit, its meaning and what fixes it.

Shares are of a tensor's largest entry, cuts are ratios of two differences. u is the unit roundoff, 2^-53 in float64 and
2^-24 in float32.
"""

__all__ = [
    "CAST",
    "CAST_RESULT",
    "CLOSE",
    "CUT",
    "DRIFT",
    "FEW",
    "FLOAT32_VALUE",
    "JITTER_CUT",
    "JITTER_STEP",
    "LESS_EXACT",
    "MEAN_IS_KEPT",
    "MEAN_TIMES",
    "MOVED_RUNS",
    "NOTHING",
    "RIGHT",
    "RIGHT_END_TO_END",
    "ROUNDINGS",
    "SAME_ANSWER",
    "SAME_FACTOR",
    "SAME_SUM",
    "SHARE",
    "STAYS",
    "STILL",
    "TREMOR_STEP",
]

CUT = 2.0**-14.5  # ratio: a difference shrinks more than this from float32 to float64 if it is rounding (2^-29), less
# if it is a formula (1): the geometric midpoint
SHARE = 2.0**-7  # share: a gradient that is off by more, or of the wrong sign, does not merely lack its last digits
CLOSE = 2.0**-20  # share: a difference in float64 that is looked at again although float32 would allow for it
CAST = 64.0  # roundings of float32: what a value that was cast to float32 may be off by
LESS_EXACT = 2.0**-20  # share: a gradient that reads a value cast to float32 is off by a few roundings of 2^-24
CAST_RESULT = 4.0  # times |dA| |A - A'|: what a cast value makes of the gradient that takes a derivative at it
RIGHT = 2.0**-10  # of its local difference: a value that is off by less end to end was not computed from a wrong one
FEW = 3  # entries: so many have a common factor by chance
FLOAT32_VALUE = 4.0  # roundings of float32: between a value that the reference computes in float32 and the record

JITTER_STEP = 2.0**-20  # relative step of the parameters by which float32 can still follow
TREMOR_STEP = 2.0**-45  # relative step by which float32 cannot follow, and mathematics is still smooth
JITTER_CUT = 2.0**-5  # ratio: a difference that changes less than this from one place to the next is no noise
STAYS = (
    2.0**6
)  # ratio of how fast a difference changes to how fast its tensor changes: above, it stays where that moves
STILL = 2.0**6  # ratio: a tensor that moves so many times less than the reference was cast to float32
MOVED_RUNS = 3  # replays with moved inputs, reruns with moved parameters, optimisers with moved tensors

ROUNDINGS = 2.0**-48  # share: a few dozen roundings of float64
NOTHING = 2.0**-30  # share of J and the gradients: below, a tensor may be pure rounding


SAME_SUM = 64.0  # roundings: what another order of summation may change between two calls
SAME_ANSWER = 1e-6  # share: what it may change in a reference that is called twice
SAME_FACTOR = 1e-6  # relative: two factors that are the same
RIGHT_END_TO_END = 1e-2  # share: a gradient that is about torch's
MEAN_TIMES = 1e-3  # share: a gradient that is about n times torch's
MEAN_IS_KEPT = 1e-4  # share: J of a batch that holds every example twice, where J is a mean

DRIFT = 10.0  # times the spread of runs that start one rounding apart: how far two runs may drift
