"""Stored reports read back: every record and fact is rebuilt by its type, and what is damaged is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import cache
from inspect import signature
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from handgrad.compare.errors import InputError
from handgrad.compare.facts import (
    causes,
    compounds,
    edits,
    failures,
    functions,
    operands,
    remarks,
    updates,
    weights,
)
from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.fact import Fact, listed
from handgrad.compare.facts.remarks import BlindSpot, Note
from handgrad.compare.report.json import SCHEMA, SCHEMA_OF_SEVERAL
from handgrad.compare.report.report import Report
from handgrad.compare.results import ALONE, FAILING, VERDICTS, Code, Details, Finding, Results, Row
from handgrad.compare.source.suspects import located

if TYPE_CHECKING:
    from pathlib import Path


OLDER, OLDER_OF_SEVERAL = "handgrad.report/1", "handgrad.reports/1"  # their causes and notes are sentences
FACTS: dict[str, type[Fact]] = {
    name: kind
    for module in (causes, compounds, edits, operands, updates, weights, failures, functions, remarks)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, Fact) and (hasattr(kind, "code") or kind is BlindSpot)
}
PLAIN: dict[Any, str] = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
PLAIN |= {dict: "an object", list: "an array"}
NOT_FINITE = ("nan", "inf", "-inf")  # numbers that JSON does not have
MOST_ENTRIES, MOST_LINES = 64, 5000  # of an excerpt along an axis, of a piece of code


class Stored(Cause, Note, sentence="{text}"):
    """A cause or a note of another version of handgrad, whose facts are not known: its code and its sentence."""

    code: str  # type: ignore[misc]  # here it is a field
    text: str
    factor: float | None = None


class _Unreadable(Exception):
    """What is wrong with a file, and the remedy, as the end of a sentence that its name begins."""


def load_report(file: str | Path) -> Report:
    """Read a report that was written with --format json or to_json(); it renders as it did when it was made.

    Raises InputError, a ValueError, for a file that cannot be read, is damaged, is no report of handgrad, was written
    by a newer version, or holds several reports.
    """
    reports = load_reports(file)
    if len(reports) != 1:
        names = f": {listed(reports, 3)}" if reports else ""
        raise InputError(f"{file} holds {len(reports)} reports{names}; read it with load_reports")
    return next(iter(reports.values()))


def load_reports(file: str | Path) -> dict[str, Report]:
    """Read one report or several, by name; raises InputError as load_report does. A single one is named `report`."""
    try:
        with open(file, "rb") as opened:  # noqa: PTH123  # importing pathlib takes longer than all of this
            content = opened.read()
        return read(content, str(file))
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); name an existing report") from None


def read(content: str | bytes, source: str) -> dict[str, Report]:
    """The reports in a JSON text; an InputError calls it by the name of its source."""
    try:
        return _reports(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source} is no JSON ({error}); name a report written with --format json") from None
    except _Unreadable as error:
        raise InputError(f"{source} {error}") from None


def _reports(content: Any) -> dict[str, Report]:
    if not isinstance(content, dict):
        raise _of_no_known(None)
    if content.get("schema") in (SCHEMA_OF_SEVERAL, OLDER_OF_SEVERAL):
        several = _member(content, "reports", dict[str, dict[str, Any]], "")
        return {name: _report(report, f"reports[{name!r}].") for name, report in several.items()}
    return {ALONE: _report(content, "")}


def _report(content: dict[str, Any], where: str) -> Report:
    if content.get("schema") == OLDER:
        return located(_checked(_renewed(content, where), where))
    if content.get("schema") != SCHEMA:
        raise _of_no_known(content.get("schema"))
    return _checked(content, where)


def _of_no_known(schema: object) -> _Unreadable:
    kind, _, version = str(schema).partition("/")
    if f"{kind}/2" in (SCHEMA, SCHEMA_OF_SEVERAL) and version.isdecimal():
        return _Unreadable(f"is of schema {schema}, which this handgrad does not know yet; install a newer handgrad")
    return _Unreadable(f"is no report of handgrad (its schema is {schema!r}); name one written with --format json")


def _checked(content: dict[str, Any], where: str) -> Report:
    """A report from its parts, which must be there and agree with each other."""
    parts = {"details": {}, **content}
    report = Report(**{name: _member(parts, name, kind, where) for name, (kind, _) in _fields(Results).items()})
    _as(tuple[str, ...], report.environment.get("precisions", []), f"{where}environment.precisions")
    _check_details(report.details, f"{where}details")
    if not report.findings and any(row.verdict in FAILING for row in report.rows):
        raise _damaged(f"{where}rows fail and {where}findings is empty")
    if not report.rows and not report.findings:
        raise _damaged("it has neither rows nor findings")
    if _member(content, "ok", bool, where) != report.ok:
        raise _damaged(f"{where}ok is {content['ok']} against its findings")
    return report


def _renewed(content: dict[str, Any], where: str) -> dict[str, Any]:
    """A report of schema 1 in the form of schema 2."""
    details = _as(dict, content.get("details", {}), f"{where}details")
    together = _as(dict, details.get("together", {}), f"{where}details.together")
    findings = _member(content, "findings", tuple[dict[str, Any], ...], where)
    notes, spots = (_member(content, name, tuple[Any, ...], where) for name in ("notes", "blind_spots"))

    def finding(old: dict[str, Any]) -> dict[str, Any]:
        cause = {"code": old.get("cause"), "text": old.get("explanation"), "factor": old.get("factor")}
        return {**old, "where": old, "cause": cause, "together": together.get(str(old.get("name")), [])}

    return {
        **content,
        "findings": [finding(old) for old in findings],
        "notes": [{"code": "note", "text": text} for text in notes],
        "blind_spots": [{"code": "blind-spot", "text": text} for text in spots],
    }


def _check_details(details: Details, where: str) -> None:
    """Refuse what no check writes and no page could show: ragged or huge excerpts, lines that are not there."""
    for i, excerpt in enumerate(details.excerpts):
        shapes = {(len(side), *{len(row) for row in side}) for side in (excerpt.by_hand, excerpt.torch)}
        if len(shapes) != 1 or len(*shapes) != 2 or not all(1 <= n <= MOST_ENTRIES for shape in shapes for n in shape):
            due = f"two equal tables of at most {MOST_ENTRIES} x {MOST_ENTRIES}"
            raise _other_than(due, shapes, f"{where}.excerpts[{i}]")
    for i, code in enumerate(details.code):
        if not 1 <= code.first < 10**7 or len(code.lines) > MOST_LINES:
            raise _other_than(f"at most {MOST_LINES} lines from line 1 on", code.first, f"{where}.code[{i}]")
        for name, lines in code.tensors.items():
            _check_lines(lines, code, f"{where}.code[{i}].tensors[{name!r}]")
    by_hand = details.by_hand
    for name, suspects in details.suspects.items():
        for position, lines in suspects.lines.items():
            place = f"{where}.suspects[{name!r}].lines"
            if position not in by_hand:
                raise _other_than(f"positions below {len(by_hand)}", position, place)
            _check_lines(lines, by_hand[position], f"{place}[{position!r}]")
    for i, plot in enumerate(details.plots):
        for k, line in enumerate(plot.lines):
            if len(line.x) != len(line.y):
                raise _other_than("as many x as y", (len(line.x), len(line.y)), f"{where}.plots[{i}].lines[{k}]")


def _check_lines(numbers: tuple[int, ...], code: Code, where: str) -> None:
    lines = code.lines
    if not numbers or not lines.keys() >= {*numbers}:
        raise _other_than(f"lines from {code.first} to {code.first + len(lines) - 1}", numbers, where)


# --- values by the types that their classes give them


def _member(content: dict[str, Any], name: str, kind: Any, where: str) -> Any:
    return _as(kind, content.get(name), f"{where}{name}")


def _as(kind: Any, value: Any, where: str) -> Any:
    """A value of the type that an annotation names."""
    if kind is Any:
        return value
    if kind in PLAIN:
        if not _is_of(kind, value):
            raise _other_than(PLAIN[kind], value, where)
        return float(value) if value in NOT_FINITE and kind is float else value
    origin, arguments = _parts(kind)
    if origin in (UnionType, Union):  # of a type and None
        return None if value is None else _as(arguments[0], value, where)
    if origin is tuple:
        return _tuple(arguments, _as(list, value, where), where)
    if origin in (dict, Mapping):
        return {name: _as(arguments[1], item, f"{where}[{name!r}]") for name, item in _as(dict, value, where).items()}
    content = _as(dict, value, where)
    return _fact(kind, content, where) if issubclass(kind, Fact) else _record(kind, content, where)


@cache
def _parts(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """What an annotation is made of: tuple and (int, ...) of tuple[int, ...]."""
    return get_origin(kind), get_args(kind)


def _is_of(kind: type, value: Any) -> bool:
    """Whether a value of JSON is of a plain type."""
    if kind is float:  # json reads whole numbers that are too long for one
        is_in_range = _is_of(int, value) and abs(value) <= sys.float_info.max
        return isinstance(value, float) or value in NOT_FINITE or is_in_range
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _tuple(kinds: tuple[Any, ...], items: list[Any], where: str) -> tuple[Any, ...]:
    """A tuple of one type, or of as many as it has items."""
    kinds = kinds[:1] * len(items) if kinds[-1] is Ellipsis else kinds
    if len(kinds) != len(items):
        raise _other_than(f"an array of {len(kinds)}", items, where)
    return tuple(_as(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, items, strict=True)))


def _fact(base: type[Fact], content: dict[str, Any], where: str) -> Fact:
    """A fact by the name of its type; one of a type that is not known here keeps its sentence alone."""
    code, text = (_as(str, content.get(name), f"{where}.{name}") for name in ("code", "text"))
    kind = FACTS.get(str(content.get("type")))
    if kind is None or not issubclass(kind, base):
        if base is BlindSpot:
            return BlindSpot(code, text, "")
        return Stored(code, text, _as(float | None, content.get("factor"), f"{where}.factor"))
    fact: Fact = _record(kind, content, where)
    try:
        str(fact)
    except (LookupError, ValueError, TypeError, ArithmeticError):
        raise _other_than(f"the facts of a {kind.__name__}", content, where) from None
    return fact


def _record(of: Any, content: dict[str, Any], where: str) -> Any:
    """A row, a finding, a fact or a part of the details from its fields; what has a default may be left out.

    Further fields are left.
    """
    kinds = _fields(of)
    lacking = [name for name, (_, is_due) in kinds.items() if is_due and name not in content]
    if lacking:
        raise _damaged(f"{where} has no {lacking[0]}")
    values = {name: _as(kind, content[name], f"{where}.{name}") for name, (kind, _) in kinds.items() if name in content}
    if of in (Row, Finding) and values.get("verdict") not in VERDICTS:
        raise _other_than(f"one of {', '.join(VERDICTS)}", values.get("verdict"), f"{where}.verdict")
    return of(**values)


@cache
def _fields(of: Any) -> dict[str, tuple[Any, bool]]:
    """The fields of a class: the type of each, and whether it has no default."""
    kinds = get_type_hints(of)
    if issubclass(of, Fact):
        of.prepare()
    return {name: (kinds[name], item.default is item.empty) for name, item in signature(of).parameters.items()}


def _other_than(due: str, value: Any, where: str) -> _Unreadable:
    return _damaged(f"{where} must be {due} and is {str(value)[:60]!r}")


def _damaged(what: str) -> _Unreadable:
    return _Unreadable(f"is a damaged report: {what}; write it anew")
