"""Stored reports read back: every record and fact is rebuilt by its type, and what is damaged is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from handgrad.compare.errors import InputError
from handgrad.compare.facts import causes, failures, operands, remarks, updates
from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.fact import Fact
from handgrad.compare.facts.remarks import BlindSpot, Note
from handgrad.compare.report.json import SCHEMA, SCHEMA_OF_SEVERAL
from handgrad.compare.report.report import Report
from handgrad.compare.results import ALONE, FAILING, VERDICTS, Code, Details, Finding, Row
from handgrad.compare.source.suspects import located

if TYPE_CHECKING:
    from pathlib import Path


OLDER, OLDER_OF_SEVERAL = "handgrad.report/1", "handgrad.reports/1"  # their causes and notes are sentences
FACTS: dict[str, type[Fact]] = {
    name: kind
    for module in (causes, operands, updates, failures, remarks)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, Fact) and (hasattr(kind, "code") or kind is BlindSpot)
}
MOST_ENTRIES, MOST_LINES = 64, 5000  # of an excerpt along an axis, of a piece of code


class Stored(Cause, Note):
    """A cause or a note of another version of handgrad, whose facts are not known: its code and its sentence."""

    code: str  # type: ignore[misc]  # here it is a field
    text: str
    factor: float | None = None

    def __str__(self) -> str:
        """The sentence as it was written."""
        return self.text


class _Unreadable(Exception):
    """What is wrong with a file, and the remedy, as the end of a sentence that its name begins."""


def load_report(file: str | Path) -> Report:
    """Read a report that was written with --format json or to_json(); it renders as it did when it was made.

    Raises InputError, a ValueError, for a file that cannot be read, is damaged, is no report of handgrad, was written
    by a newer version, or holds several reports.
    """
    reports = load_reports(file)
    if len(reports) != 1:
        names = f": {', '.join(list(reports)[:3])}{' ...' if len(reports) > 3 else ''}" if reports else ""
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
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema in (SCHEMA_OF_SEVERAL, OLDER_OF_SEVERAL):
        several = _member(content, "reports", dict[str, Any], "")
        return {name: _report(report, f"reports[{name!r}].") for name, report in several.items()}
    if not isinstance(content, dict):
        raise _of_no_known(schema)
    return {ALONE: _report(content, "")}


def _report(content: Any, where: str) -> Report:
    content = _as(dict[str, Any], content, where.removesuffix("."))
    if content.get("schema") == OLDER:
        return located(_checked(_renewed(content), where))
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
    rows = _member(content, "rows", tuple[Row, ...], where)
    findings = _member(content, "findings", tuple[Finding, ...], where)
    notes = _member(content, "notes", tuple[Note, ...], where)
    spots = _member(content, "blind_spots", tuple[BlindSpot, ...], where)
    environment = _member(content, "environment", dict[str, Any], where)
    _as(tuple[str, ...], environment.get("precisions", []), f"{where}environment.precisions")
    details = _as(Details, content.get("details", {}), f"{where}details")
    _check_details(details, f"{where}details")
    report = Report(rows, findings, notes, spots, environment, details)
    if not findings and any(row.verdict in FAILING for row in rows):
        raise _Unreadable(f"is a damaged report: {where}rows fail and {where}findings is empty; write it anew")
    if not rows and not findings:
        raise _Unreadable("is a damaged report: it has neither rows nor findings; write it anew")
    if _member(content, "ok", bool, where) != report.ok:
        raise _Unreadable(f"is a damaged report: {where}ok is {content['ok']} against its findings; write it anew")
    return report


def _renewed(content: dict[str, Any]) -> dict[str, Any]:
    """A report of schema 1 in the form of schema 2; what is damaged in it stays damaged and is refused later."""
    details = content.get("details")
    shared = details.get("together") if isinstance(details, dict) else None
    together = shared if isinstance(shared, dict) else {}

    def finding(old: dict[str, Any]) -> dict[str, Any]:
        cause = {"code": old.get("cause"), "text": old.get("explanation"), "factor": old.get("factor")}
        return {**old, "where": old, "cause": cause, "together": together.get(str(old.get("name")), [])}

    def spot(text: str) -> dict[str, Any]:
        return {"code": "blind-spot", "type": "BlindSpot", "hides": text, "because": "", "text": text}

    converted = {
        "findings": [finding(old) if isinstance(old, dict) else old for old in _items(content, "findings")],
        "notes": [{"code": "note", "text": text} for text in _items(content, "notes")],
        "blind_spots": [spot(text) for text in _items(content, "blind_spots")],
    }
    return {**content, **{name: items for name, items in converted.items() if isinstance(content.get(name), list)}}


def _items(content: dict[str, Any], name: str) -> list[Any]:
    items = content.get(name)
    return items if isinstance(items, list) else []


def _check_details(details: Details, where: str) -> None:
    """Refuse what no check writes and no page could show: ragged or huge excerpts, lines that are not there."""
    for i, excerpt in enumerate(details.excerpts):
        shapes = {(len(side), *{len(row) for row in side}) for side in (excerpt.by_hand, excerpt.torch)}
        if len(shapes) != 1 or len(*shapes) != 2 or not all(1 <= n <= MOST_ENTRIES for shape in shapes for n in shape):
            raise _damaged(
                f"{where}.excerpts[{i}]", f"two equal tables of at most {MOST_ENTRIES} x {MOST_ENTRIES}", shapes
            )
    for i, code in enumerate(details.code):
        if not 1 <= code.first < 10**7 or len(code.text.splitlines()) > MOST_LINES:
            raise _damaged(f"{where}.code[{i}]", f"at most {MOST_LINES} lines from line 1 on", code.first)
        _check_lines(code.tensors, code, f"{where}.code[{i}].tensors")
    by_hand = {str(i): code for i, code in enumerate(code for code in details.code if code.side == "by hand")}
    for name, suspects in details.suspects.items():
        for position, lines in suspects.lines.items():
            if position not in by_hand:
                raise _damaged(f"{where}.suspects[{name!r}].lines", f"positions below {len(by_hand)}", position)
            _check_lines({position: lines}, by_hand[position], f"{where}.suspects[{name!r}].lines")
    for i, plot in enumerate(details.plots):
        for k, line in enumerate(plot.lines):
            if len(line.x) != len(line.y):
                raise _damaged(f"{where}.plots[{i}].lines[{k}]", "as many x as y", (len(line.x), len(line.y)))


def _check_lines(lines: Mapping[str, tuple[int, ...]], code: Code, where: str) -> None:
    last = code.first + len(code.text.splitlines()) - 1
    for name, numbers in lines.items():
        if not numbers or not all(code.first <= number <= last for number in numbers):
            raise _damaged(f"{where}[{name!r}]", f"lines from {code.first} to {last}", numbers)


# --- values by the types that their classes give them


def _member(content: dict[str, Any], name: str, kind: Any, where: str) -> Any:
    return _as(kind, content.get(name), f"{where}{name}")


def _as(kind: Any, value: Any, where: str) -> Any:
    """A value of the type that an annotation names."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (UnionType, Union):  # of a type and None
        return None if value is None else _as(arguments[0], value, where)
    if origin is tuple:
        return _tuple(arguments, _as(list, value, where), where)
    if origin in (dict, Mapping):
        return {name: _as(arguments[1], item, f"{where}[{name!r}]") for name, item in _as(dict, value, where).items()}
    if kind not in _PLAIN:
        content = _as(dict, value, where)
        return _fact(kind, content, where) if issubclass(kind, Fact) else _record(kind, content, where)
    described, accepts, convert = _PLAIN[kind]
    if not accepts(value):
        raise _damaged(where, described, value)
    return convert(value)


def _tuple(kinds: tuple[Any, ...], items: list[Any], where: str) -> tuple[Any, ...]:
    """A tuple of one type, or of as many as it has items."""
    kinds = kinds[:1] * len(items) if kinds[-1] is Ellipsis else kinds
    if len(kinds) != len(items):
        raise _damaged(where, f"an array of {len(kinds)}", items)
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
        raise _damaged(where, f"the facts of a {kind.__name__}", content) from None
    return fact


def _record(of: Any, content: dict[str, Any], where: str) -> Any:
    """A row, a finding, a fact or a part of the details from its fields; what has a default may be left out.

    Further fields are left.
    """
    values = {}
    for name, (kind, is_due) in _fields(of).items():
        if name in content:
            values[name] = _as(kind, content[name], f"{where}.{name}")
        elif is_due:
            raise _Unreadable(f"is a damaged report: {where} has no {name}; write it anew")
    if of in (Row, Finding) and values.get("verdict") not in VERDICTS:
        raise _damaged(f"{where}.verdict", f"one of {', '.join(VERDICTS)}", values.get("verdict"))
    return of(**values)


@cache
def _fields(of: Any) -> dict[str, tuple[Any, bool]]:
    """The fields of a class: the type of each, and whether it has no default."""
    kinds = get_type_hints(of)
    if is_dataclass(of):
        return {
            item.name: (kinds[item.name], item.default is MISSING and item.default_factory is MISSING)
            for item in fields(of)
        }
    return {name: (kinds[name], name not in of._field_defaults) for name in of._fields}


def _damaged(where: str, due: str, value: Any) -> _Unreadable:
    return _Unreadable(f"is a damaged report: {where} must be {due} and is {str(value)[:60]!r}; write it anew")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    number = _number(value)
    if isinstance(number, int):
        return not isinstance(number, bool) and abs(number) <= sys.float_info.max  # json reads longer ones too
    return isinstance(number, float)


def _number(value: Any) -> Any:
    """A number for a string that stands for one which JSON does not have."""
    return float(value) if value in ("nan", "inf", "-inf") else value


_PLAIN: dict[Any, tuple[str, Callable[[Any], bool], Callable[[Any], Any]]] = {
    int: ("a whole number", _is_integer, int),
    str: ("a text", lambda value: isinstance(value, str), str),
    float: ("a number", _is_number, _number),
    bool: ("true or false", lambda value: isinstance(value, bool), bool),
    dict: ("an object", lambda value: isinstance(value, dict), dict),
    list: ("an array", lambda value: isinstance(value, list), list),
}
