"""Every threshold: the numbers that decide what is said, each with its unit, its meaning and what fixes it.

Units: a share is relative to the largest entry of a tensor, a ratio compares two differences, and a rounding is u, the
unit roundoff, times the number it belongs to. How much is computed at a time is no threshold: it stands where it is
used.
"""

# --- what rounding is

# Relative error of one rounding, by dtype: half the distance of 1 from the next number.
UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24}

# The largest number that may be handed over: float32 holds 3.4028e38, and the message names this one.
FLOAT32_MAX = 3.4e38

# Roundings: what an operation whose bound is not known in closed form may be off by. The libraries' worst case for tanh
# and sigmoid, 4 units in the last place, is 8 u.
FEW_ROUNDINGS = 8.0

# Share of a difference that a reference may change by when it is run again; draws seldom agree so well.
REPEATED = 0.01

# Roundings: what another order of summation may change between two calls; sums of up to some thousand numbers.
SAME_SUM = 64.0

# Share: the same in a reference that is called twice, which may compute in float32 (2^-24 = 6e-8).
SAME_ANSWER = 1e-6

# Roundings of float32 between a record and a value that the reference itself computes in float32: a sum and a division.
REFERENCE_IN_FLOAT32 = 4.0

# The last bits of a float32, and the share of its numbers that use one of them. Of random numbers three quarters do, of
# whole numbers and simple fractions hardly any.
LAST_BITS, LAST_BITS_USED = 0b11, 0.25

# --- rounding or fault (verdict.rounding, verdict.opinions, pipeline.evidence)

# Smallest subnormal number, by dtype: what underflow leaves.
SMALLEST = {"float64": 2.0**-1074, "float32": 2.0**-149}

# Roundings of the largest in its row and column: a difference that is smaller passes without a noise run. Twice as many
# right tensors need none as with 8, which finds a little more of 1e-14.
SCREEN = 32.0

# Roundings by the root of the longest axis, where that is more than SCREEN: sums of n terms in another order are 1.1 of
# them apart at n = 1024 to 16384 (random products in torch and in NumPy, the worst of 60000 entries), and what is
# computed from several such sums 1.9 (2236-2236-2236-10).
SCREEN_OF_SUMS = 3.0

# Share of an entry: one of float64 that is further off is looked at although the largest around it would excuse it, as
# that of a polynomial's constant beside its highest power's. Of random numbers none is so small.
FAR_OFF = 2.0**-10

# Roundings of float32: a float32 record so close to the float64 one, which is OK, needs no replay.
SCREEN_FLOAT32 = 64.0

# Relative sizes of the drawn roundings. The first is the middle between float64's own, 2^-17 of it, and where the
# mathematics is no longer linear; finer ones where that is so near, as under chaos, down to float64's own.
NOISES = (2.0**-36, 2.0**-48, 2.0**-53)

# Runs with drawn roundings: too small a deviation by chance costs second opinions, no verdict. Two are enough for what
# is below or above such shares of what right code is off by at most.
NOISE_RUNS, NEAR, FAR = 4, 2.0**-3, 2.0**5

# Other places at which both sides run: a median needs three. Where a large difference stands out at so many entries,
# which rounding hardly moves, one tells as much: a share over them varies by a tenth of itself.
PLACES, TELLING_ENTRIES = 3, 2**7

# Entries: of so many, whose rows and columns share their spread, one noise run shows first whether there is a doubt.
MANY_ENTRIES = 2**14

# Standard deviations: what right code is off by at most, entry by entry and along the reference. Right code reaches a
# half to the whole of the half of these, by rounded exponents, log-sum-exp of large numbers and tiny constants.
ROUNDINGS, ALONG = 48.0, 32.0

# Roundings of an entry that is not noise at all: a rounding of its own.
NOISE_FREE = 0.3

# Share of the reference that rounding moves where it tells nothing.
BLIND = 0.1

# Relative steps of parameters and batch: over the first roundings are drawn anew in float64 (2^33 of its own), over the
# second in float32. The third is where the mathematics amplifies the first by more than AMPLIFIED.
MOVE, MOVE_FLOAT32, MOVE_LESS, AMPLIFIED = 2.0**-20, 2.0**-10, 2.0**-32, 2.0**-5

# Relative: sums, or lengths, along an axis that are so near to each other are one number, as float32 data have it.
NORMALISED = 1e-6

# Ratio: a difference that changes by less over every move is systematic. Faults change by 0.05 as a rule, rounding by
# 0.3 to 1.8.
SAME = 0.25

# A difference of less than this share of what it is computed from may be digits that a larger move draws anew: a share
# by which it changes there, and the move.
TINY, MOVE_FAR, SAME_FAR = 2.0**-26, 2.0**-7, 0.75

# Share of the difference that is left where everything moves, of a difference that only a special point has.
SPECIAL_POINT = 2.0**-20

# One factor: the reference must move by the first share, the factor be larger than that and constant to the second.
MOVES, CONSTANT = 2.0**-10, 2.0**-20

# Fewer digits inside: the unit roundoffs of the formats that people compute in.
FORMATS = {"float32": 2.0**-24, "float16 or TF32": 2.0**-11, "bfloat16": 2.0**-8}

# Standard deviations of such a format, and the share of it over which a good part of the entries still stand. Where so
# many deviations are a larger share of a tensor than the last, a format explains anything.
OF_FORMAT, STANDS_OVER, STANDS, TELLING = 8.0, 2.0**-6, 0.1, 0.25

# Share: a difference that is larger is not one of the last digits. Half of what 8 bits hold.
LARGE = 2.0**-7

# Entries: so few may have one factor in common by chance, or round alike at other places.
FEW_ENTRIES = 3

# A move that draws the roundings of a format anew, in such roundings, and at most as a share, which draws those of a
# long sum kept in the format anew as well.
MOVE_OF_FORMAT, MOST_MOVED = 16.0, 2.0**-4

# Ratio: what stays of a difference over that move, where the format does not explain it.
STEADY = 0.35

# Roundings of the largest number that a tensor is computed from: an addition to that leaves no more digits.
SWALLOWED = 4.0

# Share of the deviation and the size in float32: a smaller difference is arithmetic of another order. The geometric
# midpoint of what rounding shrinks by from float32 to float64, 2^-29, and 1.
CUT = 2.0**-14.5

# Ratio of how far float32 and float64 are from what rounding explains, or float32 alone: rounding alike, another order.
ALIKE = 2.0**6

# Share of the largest entry: a difference that cannot be moved is a FAULT beyond it.
UNMOVED = 2.0**-20

# Share of J and its gradients: a tensor below may be pure rounding, half of the digits of float64 being gone.
NOTHING = 2.0**-30

# Share of the largest number handed over: what float64 leaves of a sum that cancels, a few dozen roundings.
LEFT_OF_SUMS = 2.0**-48

# The same of float32, whose digits end before half of them do: 2^5 roundings.
LEFT_OF_FLOAT32 = 2.0**-19

# Units of what rounding explains: so far what is nothing but rounding may be off.
NOTHING_FAR = 64.0

# --- one coarse precision and nothing finer (oracle.coarse, verdict.coarse)

# Relative error of one rounding of what is stored, by format. The reference itself is off by float64's own rounding, so
# 2^13 of that stand for it, where no finer rule is at hand: what differs between layouts, and second derivatives.
COARSE_UNITS = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 2.0**-24, "float64": 2.0**-40}

# The smallest number by format: below 2^-24 float16 has none, the others are flushed to 0 below their smallest normal.
COARSE_SMALLEST = {"bfloat16": 2.0**-126, "float16": 2.0**-25, "float32": 2.0**-126, "float64": 2.0**-1022}

# Share of an operand that TF32 cuts off at most: it keeps 10 bits, and hardware truncates.
TRUNCATED = 2.0**-10

# Roundings of float32: a fast exponential; others are FEW_ROUNDINGS off.
EXP_ROUNDINGS = 256.0

# Smallest numbers of the format: sums of parts that are stored where they are that small. Without: 2 of 560 right
# convolutions in float16 were a FAULT.
SUBNORMAL_PARTS = 4.0

# Noise runs of each draw; more that are judged as if they were kernels, of which a FAULT must be so many times worse.
COARSE_RUNS, NULL_RUNS, WORSE_THAN_NULL = 8, 16, 1.5

# Draws of inputs and cotangents, of up to so many numbers that come out; of more, one.
COARSE_DRAWS, MANY_NUMBERS = 3, 30_000

# Share of a tensor's root mean square, and of an entry's own rounding, that a deviation never falls below.
OF_TENSOR, OF_ENTRY = 0.1, 0.3

# Times the deviation that a slice's root mean square may be off, and chance that a right entry is flagged.
OF_SLICE, CHANCE_OF_ENTRY = 1.4, 1e-9

# Roundings of one constant: beyond the second a whole step is off (FAULT), beyond the first nothing is told.
CONSTANTS_FAULT, CONSTANTS_UNTOLD = 2.0, 1.0

# Standard deviations of the noise along a direction that are left out, and that a direction must reach in some entry.
ALONG_NOISE, VISIBLE = 7.0, 8.0

# Share: where a factor that is further from 1 could not be told, nothing is.
COARSE_BLIND = 0.1

# Relative: by how much a step is made larger; directions that are so nearly parallel are one.
SHARE_OF_STEP, PARALLEL, APART = 2.0**-16, 1 - 1e-5, 1e-4

# Share of a constant's unit, along the gradient, that a direction's is at least: errors of nearly constant values
# correlate with the values themselves. Share of the noise's mean that may be removed, as of truncated operands.
LEAST_UNIT, MOST_BIAS = 0.25, 1.3

# Directions of steps, and of their last entries, that are looked at, at most.
MOST_DIRECTIONS = 40

# Share of a difference that lies along a direction that may explain it; of so many directions each is tried so often,
# the share of the step being improved each time.
NEARLY, MOST_NEAR, TRIES_FOR_SHARE = 0.9, 6, 5

# Times: the factor of a step that is told as left out is this at most, and no more than would have shown. Left out of
# silu in bfloat16, a step has 0.003.
LEFT_OUT = 0.05

# Times what rounding explains: in float32 alone an entry or a slice that is not further off, and off along no
# direction, is not told. Flash attention with a sharp softmax reaches 2.1.
FLOAT32_UNTOLD = 5.0

# Share by which an input is moved to see whether the reference depends on it where it has no gradient: steps, as those
# of floor, are hardly met on the way.
MOVE_OF_DETACHED = 2.0**-30

# Roundings of float32 that an entry moves at least where an operand of ten bits, which moves by up to 8192, enters it.
FOLLOWS = 16.0

# Times the largest difference of passes on the same draw: two passes that are no further apart are the same. Of 78
# right kernels in TF32 (seed 20261212) five, which add in another order at every call, were taken for float32 before.
AS_REPEATED = 4.0

# --- what follows from another tensor (verdict.attribution)

# Share: the gradient that reads a value cast to float32 is off by a few roundings of 2^-24.
CAST_GRADIENT = 2.0**-20

# Times |dA| |A - A'|: what a cast value makes of a gradient whose derivative is taken at it. That of tanh and sigmoid
# changes at most twice as fast as the value; twice that again for the roundings around it.
CAST_DERIVATIVE = 4.0

# Share of the local difference: a value that is off by less end to end was not computed from a wrong one.
RIGHT_AFTER_ALL = 2.0**-10

# --- conventions (verdict.readings, pipeline)

# Share: a factor so close to 1 is a mistake, which nobody chose; records are read by others than these. A factor near
# a fraction of so many parts at most is taken for that; so many factors are tried for all gradients at once.
NO_CONVENTION, FEW_PARTS, UNIFORM = 1e-2, 64, 3
MEAN_IS_KEPT = 1e-4  # share: J of a batch that holds every example twice, where J is a mean; float32 sums included
SAME_FACTOR = 1e-6  # relative: two factors that are the same, each fitted to a tensor

# --- two runs on their own (experiment.drift)

# Times the spread of runs that start one rounding apart: how far two runs may drift. So many runs are the sample; fewer
# are too small a one where a tensor has one entry.
DRIFT, TWINS = 10.0, 4

# --- initial weights (checks.initializer, checks.distributions)

CHANCE = 1e-9  # how often a check may call samples of one distribution different, by all of its tests together
EXACT_WEIGHTS = 2.0**-45  # share: a + s D in float64, 256 roundings
FLOAT32_WEIGHTS = 2.0**-22  # share: the same where the weights are rounded to float32 once more, 4 roundings of that
LINEAR_WEIGHTS = 3  # weights: fewer are linear in any draw
FEW_WEIGHTS = 32  # weights: of fewer, some may be equal by chance
DISTINCT_WEIGHTS = 0.9  # of the distinct numbers in torch: fewer are not by chance
SAME_FORMULA = 1e-6  # of a standard deviation: how far a formula for it may be off
FINE_SPREAD = 1e-3  # share: a spread that may be off by more is near some formula by chance
MOST_INPUTS = 10**4  # of a layer whose bias is bounded by 1/sqrt(inputs): of more, any bound is near one

EXPLAINED = 2 / 3  # of what CHANCE allows: a law that explains weights by samples is no further from them
CUTS = tuple(k / 10 for k in range(10, 36))  # deviations: bounds of a cut normal that are tried
NEAR_CUT = 0.01  # share: how far what the edge and the spread show may be from such a bound
NARROWEST = 3.0  # deviations: of a thousand normal numbers or more, the largest is beyond

# --- slopes by differences (pipeline.finite_differences, checks.own_loss)

# Steps h of numbers up to 1, and the shares of larger ones: that of the slope; four roundings, over which nothing but
# rounding changes J; that over which a J that looks constant is asked whether it is.
SLOPE_STEP, SLOPE_NEAR, SLOPE_WIDE = 2.0**-16, 2.0**-51, 2.0**-4
SLOPE_FAR = 3.7  # times h, a second distance that no power of 2 leads to
SLOPE_ROUNDINGS = 16.0  # of the largest J: what a few operations in float64 leave
KINK = 64  # times the noise: a smaller bend may be rounding
SAME_BEND = (0.75, 1.33)  # ratio of the bend over half the distance and the bend: 0.5 where J is smooth, 1 at a kink
OWN_LOSS_ERRORS = 10  # times the error of a slope: how far it may be off
OWN_LOSS_SHARE = 1e-7  # share of the gradient: how far a right entry may be off besides
OWN_LOSS_IN_VAIN = 2  # slopes of some ten runs each that may tell nothing of rounding: under chaos none does
OWN_LOSS_GAP = 0.05  # share of the gap between two slopes that their error may be
OWN_LOSS_SURE = 0.1  # share of a slope that it may be off and still tell anything: in chaos 1 to 100, else below 1e-5

# --- numbers from elsewhere (checks.arguments)

# Share of the move of torch's answer that a derivation may leave out, over a move of 2^-10: curvature is as much.
IGNORED = 2.0**-6

# Ratio of what is left out over a move of 2^-20 and over one of 2^-10, at most: 2^-10 where it is in proportion.
IN_PROPORTION = 2.0**-5

# --- what a run cannot show (pipeline.blind_spots)

SMALL_PARAMETERS = 0.05  # below, an activation is used where its derivative is nearly what it is at 0

# Share of a parameter: of a step that is as small, a mistake of 1 % passes the screen.
SMALL_STEP = {
    "float64": 100 * SCREEN * UNIT_ROUNDOFF["float64"],
    "float32": 100 * SCREEN * UNIT_ROUNDOFF["float32"],
}

DECAYED = 0.1  # share of itself that a moment must have lost for a mistake in how it is kept to show

# --- which mistake it is (diagnosis, pipeline)

# Share by which parameters and batch move where a name is asked for once more.
MOVE_FOR_NAMES = 0.3

# Entries that must differ before a cause is named: fewer can be explained by anything.
INFORMATIVE = 3

# Share that rounding may leave of a tensor that a hypothesis explains, by dtype: what the verdict calls rounding.
UNEXPLAINED = {"float64": CUT * UNIT_ROUNDOFF["float32"], "float32": 64 * UNIT_ROUNDOFF["float32"]}

# Share of the difference that a hypothesis may leave: one that removes less explains something else.
UNEXPLAINED_SHARE = 2.0**-5

EXACT = 2.0**-49  # relative: what an edit may leave that is as exact as any
EQUAL = 1e-9  # relative: a factor, a coefficient, and the number that a hypothesis says
SAME_TENSOR = 2.0**-16  # of the largest entry: how far a tensor may be off the one that its name is asked about
KNOWN = 2.0**-8  # relative: how far rounding may leave a factor open that is named
SHORT_STEP = 2.0**-10  # share of a number over which the slope of a tensor along it is taken, before it is fitted
FITTED = 1e-6  # relative: two numbers that were fitted to tensors, or such a number and the exact one near it
WHOLE = 1e-6  # how often an example counts, as it was fitted, and a whole number
SINGLE_ENTRIES = 3  # wrong entries that are called single ones however small the tensor is

EPSILONS = (*(10.0**-k for k in range(1, 17)), 2.0**-52, 2.0**-23)  # that people add in a logarithm or a root
TIMES = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)  # how often a term is missing (below 0) or too many

MOST_EXAMPLES = 64  # examples whose contributions are computed one by one
MOST_NUMBERS = 2**22  # entries in these contributions, all together
MOST_PLACES = 4096  # indices along an axis whose order is sought

# Findings beside the first whose names differ from its in the number alone, and whose cause is sought as long.
MOST_SIBLINGS = 4

# Relative: how far an optimiser's settings move where a step is recorded, so that no two of its numbers are equal.
MOVE_SETTINGS = 2.0**-10

# Of what rounding explains: an edited rule of update that leaves no more is as exact as any.
EXACT_SHARE = 2.0**-12

# Relative: two tries of a number in a rule of update that lie so near end the search for it.
CLOSE = 2.0**-50
