"""Mistakes that the reference's own graph explains: one edit of its formula.

Every text field is a formula or a name. `inside` is the formula that the edit was made in, nothing where that is the
tensor itself.
"""

from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.fact import enumerated


def _in(formula: str) -> str:
    return f" in {formula}" if formula else ""


class MissingTerm(Cause, code="missing-term"):
    """Terms of a sum that are left out, each with its sign."""

    terms: tuple[str, ...]
    inside: str = ""

    def __str__(self) -> str:
        noun, verb = ("term", "is") if len(self.terms) == 1 else ("terms", "are")
        return f"the {noun} {enumerated(self.terms)} {verb} left out{_in(self.inside)}"


class TermSign(Cause, code="sign"):
    """Terms of a sum, or an operand, with the wrong sign."""

    terms: tuple[str, ...]
    inside: str = ""

    def __str__(self) -> str:
        verb = "has" if len(self.terms) == 1 else "have"
        return f"{enumerated(self.terms)} {verb} the wrong sign{_in(self.inside)}"


class TermTimes(Cause, code="scale"):
    """A term or an operand that is so many times what it should be; `times` says how many times."""

    term: str
    times: str
    factor: float = 1.0
    inside: str = ""

    def __str__(self) -> str:
        return f"{self.term} is {self.times} what it should be{_in(self.inside)}"


class ExtraTerm(Cause, code="missing-term"):
    """A tensor added where nothing belongs."""

    term: str
    inside: str = ""

    def __str__(self) -> str:
        return f"{self.term} is added{f' to {self.inside}' if self.inside else ''}, where it does not belong"


class MissingFactor(Cause, code="missing-factor"):
    """A factor of a product, or a divisor, that is left out."""

    factor_name: str
    is_divisor: bool = False
    inside: str = ""

    def __str__(self) -> str:
        return f"the {'divisor' if self.is_divisor else 'factor'} {self.factor_name} is left out{_in(self.inside)}"


class FactorForm(Cause, code="missing-factor"):
    """A factor that enters in another way: `how` is a key of HOW_FACTORS."""

    factor_name: str
    how: str
    inside: str = ""

    def __str__(self) -> str:
        return f"{HOW_FACTORS.get(self.how, '{0}').format(self.factor_name)}{_in(self.inside)}"


HOW_FACTORS = {
    "divided": "{0} divides where it should multiply",
    "multiplied": "{0} multiplies where it should divide",
    "twice": "the factor {0} enters twice",
    "root": "the square root of {0} is used where {0} belongs",
    "absolute": "|{0}| is used where {0} belongs",
    "signs": "only the sign of {0} is used",
    "extra": "the factor {0} does not belong",
    "extra-divisor": "the divisor {0} does not belong, or a factor {0} is left out",
    "added": "{0} is added where it should multiply",
    "product": "{0} multiplies where it should be added",
}


class FactorOfTerms(Cause, code="missing-factor"):
    """A factor, or a divisor, of a sum that is applied to too few of its terms or to one too much."""

    factor_name: str
    term: str
    belongs: bool
    divides: bool
    inside: str = ""

    def __str__(self) -> str:
        what = f"the {'divisor' if self.divides else 'factor'} {self.factor_name}"
        if self.belongs:
            return f"{what} is left out of {self.term}, one of the terms{_in(self.inside)}"
        return f"{what} is applied to {self.term} as well{_in(self.inside)}"


class OtherFunction(Cause, code="function"):
    """Another function than the one that belongs there; nothing for `used` where the function is left out."""

    used: str
    belongs: str
    of: str

    def __str__(self) -> str:
        if not self.used:
            return f"{self.belongs} is left out: {self.of} itself is used"
        return f"{self.used} of {self.of} is used where {self.belongs} belongs"


class OtherNumber(Cause, code="constant"):
    """A number in a formula that is another, by name or digits."""

    used: str
    belongs: str
    inside: str = ""

    def __str__(self) -> str:
        return f"{self.used} stands where {self.belongs} belongs{_in(self.inside)}"


class NumbersExchanged(Cause, code="constant", sentence="{used} and {belongs} are exchanged"):
    """Two numbers, each in the other's place."""

    used: str
    belongs: str


class Epsilon(Cause, code="constant"):
    """A small number in a place of its own: `how` is a key of HOW_EPSILON, `of` the formula there."""

    value: float
    how: str
    of: str

    def __str__(self) -> str:
        return HOW_EPSILON.get(self.how, "{value}").format(value=f"{self.value:.6g}", of=self.of)


HOW_EPSILON = {
    "inside": "{value} is added inside {of}",
    "outside": "{value} is added to {of}",
    "clipped": "the argument of {of} is clipped to [{value}, 1 - {value}]",
    "moved-out": "{value} is added outside the root in {of}, not inside",
    "moved-in": "{value} is added inside a root in {of}, not outside",
}


class OtherReduction(Cause, code="reduction"):
    """A sum, mean or maximum that is another: `used` and `due` are such, `of` what is reduced."""

    used: str
    due: str
    of: str
    inside: str = ""

    def __str__(self) -> str:
        return f"{self.used} of {self.of} is used where {self.due} is due{_in(self.inside)}"


class NotReduced(Cause, code="reduction"):
    """A reduction that is left out."""

    due: str
    of: str
    inside: str = ""

    def __str__(self) -> str:
        return f"{self.due} of {self.of} is left out{_in(self.inside)}: it stands there entry by entry"


class RowsOverwritten(Cause, code="reduction"):
    """A scatter that overwrites what it should add up."""

    sentence = "rows that occur several times are overwritten, not added up"


class OtherMask(Cause, code="mask"):
    """A comparison or a mask that is another, or left out where nothing is `used`."""

    used: str
    belongs: str
    inside: str = ""

    def __str__(self) -> str:
        if not self.used:
            return f"the mask {self.belongs} is left out{_in(self.inside)}"
        return f"{self.used} is used where the mask {self.belongs} belongs{_in(self.inside)}"


class OtherOperand(Cause, code="wrong-operand"):
    """A tensor, or a formula of one, in another's place."""

    used: str
    belongs: str
    inside: str = ""

    def __str__(self) -> str:
        where = f", in {self.inside} alone" if self.inside else ""
        return f"{self.used} is used where {self.belongs} belongs{where}"


class OperandsExchanged(Cause, code="wrong-operand"):
    """Two tensors, each in the other's place: everywhere, or in the backward pass alone."""

    one: str
    other: str
    backward: bool = False

    def __str__(self) -> str:
        return f"{self.one} and {self.other} are exchanged{' in the backward pass' if self.backward else ''}"


class OperandOrder(Cause, code="wrong-operand"):
    """A product in another order, or entry by entry."""

    used: str
    belongs: str

    def __str__(self) -> str:
        return f"{self.used} stands where {self.belongs} belongs"


class OperandPlaces(Cause, code="permuted"):
    """A tensor's entries in other places: `how` is a key of HOW_PLACES."""

    operand: str
    how: str
    axes: tuple[int, ...]
    inside: str = ""

    def __str__(self) -> str:
        noun = "axis" if len(self.axes) == 1 else "axes"
        axes = f"{noun} {' and '.join(map(str, self.axes))}"
        return f"{HOW_PLACES.get(self.how, '{0}').format(self.operand or 'it', axes)}{_in(self.inside)}"


HOW_PLACES = {
    "earlier": "{0} is read one place earlier along {1}",
    "later": "{0} is read one place later along {1}",
    "earlier-zero": "{0} is read one place earlier along {1}, zero at the start",
    "reversed": "{0} runs backwards along {1}",
    "exchanged": "{1} of {0} are exchanged",
    "regrouped": "{1} of {0} are joined or split in another order",
    "in-memory": "{0} is read in the order of its memory, as if it were contiguous",
}


class OtherKernel(Cause, code="kernel"):
    """A convolution's operand or setting: `how` is a key of HOW_KERNEL."""

    operand: str
    how: str

    def __str__(self) -> str:
        return f"{HOW_KERNEL.get(self.how, '{0}').format(self.operand)} in the convolution"


HOW_KERNEL = {
    "turned": "{0} is turned by 180 degrees",
    "transposed": "{0} is transposed in space",
    "flipped": "{0} is flipped along its last axis",
    "flipped-first": "{0} is flipped along its last axis but one",
    "channels": "{0} has its two axes of channels exchanged",
}


class KernelSetting(Cause, code="kernel"):
    """Stride, padding or dilation of a convolution."""

    sentence = "the {setting} of the convolution is {value} where {due} belongs"
    setting: str
    value: int | str
    due: str


class PartOfSum(Cause, code="dropped-example"):
    """Terms along an axis that a sum leaves out: all but the first or last, or one."""

    of: str
    axis: int
    index: int
    alone: bool = False
    inside: str = ""

    def __str__(self) -> str:
        if self.alone:
            return f"only index {self.index} of axis {self.axis} of {self.of} is used{_in(self.inside)}"
        return f"index {self.index} of axis {self.axis} of {self.of} is left out{_in(self.inside)}"


class Clipped(Cause, code="function"):
    """A tensor cut off at a bound, entry by entry or in its length."""

    bound: float
    by_length: bool = False

    def __str__(self) -> str:
        bounds = f"a length of {self.bound:g}" if self.by_length else f"[-{self.bound:g}, {self.bound:g}]"
        return f"it is clipped to {bounds}"


class PartsReordered(Cause, code="permuted"):
    """The parts of a tensor, as gates packed in one, taken in another order."""

    of: str
    order: tuple[int, ...]

    def __str__(self) -> str:
        return f"the parts of {self.of} are taken in the order {', '.join(map(str, self.order))}"


class Setting(Cause, code="function"):
    """A switch of one of torch's operations that stands the other way."""

    name: str
    value: bool
    operation: str

    def __str__(self) -> str:
        return f"{self.name} is {self.value} in {self.operation}, where {not self.value} belongs"


class FactorInside(Cause, code="missing-factor"):
    """A factor of a product's result that multiplies one of its operands instead."""

    factor_name: str
    operand: str

    def __str__(self) -> str:
        return f"{self.factor_name} multiplies {self.operand} before the matrix product, and should multiply its result"


class OneForAll(Cause, code="wrong-operand"):
    """One index of a tensor used in place of every one."""

    of: str
    axis: int
    index: int = 0

    def __str__(self) -> str:
        return f"index {self.index} of axis {self.axis} of {self.of} is used in place of every index"
