"""What a check found, as plain values: rows, findings, and what a page shows beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, TypeVar, cast

from handgrad.compare.facts.causes import Cause, factor_of
from handgrad.compare.facts.fact import Fact
from handgrad.compare.facts.remarks import BlindSpot, Note
from handgrad.compare.names import Key

FAILING = ("FAULT", "NONFINITE", "MISSING")
UNSURE = ("WEAK", "UNTOLD")  # neither shown right nor wrong
VERDICTS = ("OK", *UNSURE, *FAILING)
ALONE = "report"  # the name of a single report where reports have names


class Row(NamedTuple):
    """One tensor of one step: where it stands, how far the two sides are apart and where, and the verdict.

    `rho` is the difference in units of what rounding explains; None as long as no such bound was computed.
    """

    step: int
    phase: str
    name: str
    equation: str
    shape: tuple[int, ...]
    max_abs_diff: float
    index: tuple[int, ...] | None = None  # type: ignore[assignment]  # a tuple's own index() is not missed
    by_hand: float | None = None
    torch: float | None = None
    rho: float | None = None
    rho_basis: str | None = None
    verdict: str = "OK"


class SourceLine(NamedTuple):
    """A line of the derivation: its file as the path from the current folder, its number there, and its text."""

    file: str
    number: int
    text: str


class Worst(NamedTuple):
    """The entry that a finding shows: its index, both values there, and what they were computed from.

    Of the entries that are off by a quarter and more of the most that one is beside what rounding allows there, it is
    the one where both sides are furthest apart.

    `dtype` is the precision that shows it where another one does not. `inputs` are the tensors, the same on both sides,
    that it was computed from, where they are known; `before` is the value that an update started from.
    """

    index: tuple[int, ...]  # type: ignore[assignment]  # as in Row
    by_hand: float
    torch: float
    dtype: str = ""
    inputs: tuple[str, ...] = ()
    before: float | None = None


@dataclass(frozen=True)
class Finding:
    """A culprit: a tensor that is wrong by itself, not by what it was computed from.

    `where` is its step, phase and name; `cause` says which mistake explains it, `others` which do as well. `line` is
    the line of the derivation to look at. `equation` is the label of the notes' equation that computes the tensor.
    `rho` is how many times what rounding explains it is off; `affects` counts the later tensors that differ because of
    it, `together` names those that are off by the same mistake; `circumstances` are further facts.
    """

    where: Key
    verdict: str
    cause: Cause
    line: SourceLine | None = None
    worst: Worst | None = None
    equation: str = ""
    rho: float | None = None
    others: tuple[Cause, ...] = ()
    affects: int = 0
    together: tuple[str, ...] = ()
    circumstances: tuple[Fact, ...] = ()

    @property
    def factor(self) -> float | None:
        """The ratio of the two sides, where the cause is one."""
        return factor_of(self.cause)


class Excerpt(NamedTuple):
    """Entries of a wrong tensor around its worst one, by hand and in torch from the same inputs.

    The last two axes are shown, from the entry at `start` on; earlier axes stand still there. A vector is one row.
    """

    step: int
    name: str
    start: tuple[int, ...]
    by_hand: tuple[tuple[float, ...], ...]
    torch: tuple[tuple[float, ...], ...]


class Code(NamedTuple):
    """A piece of the source of one side, "by hand" or "torch": its file's name, its first line, and its text.

    `tensors` names the lines, numbered as in the file, that compute a tensor, for those where that can be told.
    """

    side: str
    file: str
    first: int
    text: str
    tensors: Mapping[str, tuple[int, ...]]

    @property
    def lines(self) -> dict[int, str]:
        """The lines of the text by their numbers in the file."""
        return dict(enumerate(self.text.splitlines(), start=self.first))


class Suspects(NamedTuple):
    """Where to look for the mistake behind a finding: lines by the position of their piece among the code by hand.

    `sure`: everything that these lines read agrees, so the mistake is in them. `shared` names the tensors that are all
    computed from them. `doubts` are names, each with its line, that are computed before and were not judged.
    """

    lines: Mapping[str, tuple[int, ...]] = {}
    sure: bool = True
    shared: tuple[str, ...] = ()
    doubts: Mapping[str, int] = {}


class Curve(NamedTuple):
    """One line of a plot: its name, which is "by hand" or "torch" where it is of one side, and its points."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


class Plot(NamedTuple):
    """A plot: its title, what its axes show, its curves, whether y is logarithmic, and a sentence on what to see."""

    title: str
    x: str
    y: str
    lines: tuple[Curve, ...]
    log: bool = False
    text: str = ""


class Details(NamedTuple):
    """What a page shows beside the rows.

    `reads` names what each value is computed from, J and the taps in dataflow order, whether recorded or not.
    `downstream` holds the steps at which a tensor differs because of what it is computed from; `suspects` the lines to
    look at, by the name of a finding's tensor.
    """

    reads: Mapping[str, tuple[str, ...]] = {}
    downstream: Mapping[str, tuple[int, ...]] = {}
    suspects: Mapping[str, Suspects] = {}
    excerpts: tuple[Excerpt, ...] = ()
    code: tuple[Code, ...] = ()
    plots: tuple[Plot, ...] = ()

    @property
    def is_untapped(self) -> bool:
        """Whether the reference taps nothing, so that neither J nor a gradient can be told wrong by itself."""
        return {*self.reads} == {"J"}

    @property
    def by_hand(self) -> dict[str, Code]:
        """The code by hand by the position of each piece in it, as a text."""
        return {str(i): code for i, code in enumerate(code for code in self.code if code.side == "by hand")}


Value = TypeVar("Value")


class _Later(NamedTuple):
    make: Callable[[], Any]


def later(make: Callable[[], Value]) -> Value:
    """What a deferred field is handed in place of its value: it is made when the field is first read."""
    return cast(Value, _Later(make))


class _Deferred:
    """A field of a dataclass whose value may be made when it is first read."""

    def __init__(self, default: Sequence[Any]) -> None:
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, of: object | None, owner: type | None = None) -> Any:
        if of is None:  # dataclass asks for the default
            if not self.default:
                raise AttributeError(self.name)
            return self.default[0]
        kept = vars(of)
        if isinstance(kept[self.name], _Later):
            kept[self.name] = kept[self.name].make()
        return kept[self.name]

    def __set__(self, of: object, value: Any) -> None:
        vars(of)[self.name] = value


def deferred(*default: Any) -> Any:
    """A field of a dataclass that may be handed `later(make)`; with a default, or else due."""
    return _Deferred(default)


@dataclass(frozen=True)
class Results:
    """The outcome of a check: every tensor compared, culprits in dataflow order, and what could not be seen.

    What a verdict does without is made when it is first read.
    """

    rows: tuple[Row, ...] = deferred()
    findings: tuple[Finding, ...] = ()
    notes: tuple[Note, ...] = deferred(())
    blind_spots: tuple[BlindSpot, ...] = deferred(())
    environment: Mapping[str, Any] = field(default_factory=dict)
    details: Details = deferred(Details())  # noqa: RUF009  # what it holds is never changed

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: values."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def ok(self) -> bool:
        """True if no finding is FAULT, NONFINITE or MISSING."""
        return not any(finding.verdict in FAILING for finding in self.findings)

    @property
    def first(self) -> Finding | None:
        """The first culprit in dataflow order, or None."""
        return self.findings[0] if self.findings else None
