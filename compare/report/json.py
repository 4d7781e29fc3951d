"""JSON, schemas handgrad.report/1 (one check) and handgrad.reports/1 (several): written, and read back."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from handgrad.compare.errors import InputError
from handgrad.compare.report import ALONE, FAILING, VERDICTS, Finding, Report, Row
from handgrad.compare.report.details import Code, Details, Excerpt, Line, Plot
from handgrad.compare.report.summary import differing

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "SCHEMA",
    "SCHEMA_OF_SEVERAL",
    "content",
    "load_report",
    "load_reports",
    "read",
    "render",
    "render_all",
    "text",
]

SCHEMA = "handgrad.report/1"
SCHEMA_OF_SEVERAL = "handgrad.reports/1"
T = TypeVar("T", Row, Finding, Code, Details, Excerpt, Line, Plot)


def render(report: Report) -> str:
    """The report as JSON text."""
    return text(content(report))


def render_all(reports: Mapping[str, Report], not_run: Mapping[str, str] = MappingProxyType({})) -> str:
    """Several reports by name, and why others could not run, as JSON text; ok if there is a report and all pass."""
    contents = {name: content(report) for name, report in reports.items()}
    ok = bool(reports) and not differing(reports) and not not_run
    return text({"schema": SCHEMA_OF_SEVERAL, "ok": ok, "reports": contents, "not_run": dict(not_run)})


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


class _Unreadable(Exception):
    """What is wrong with a file, and the remedy, as the end of a sentence that its name begins."""


def _reports(content: Any) -> dict[str, Report]:
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema == SCHEMA:
        return {ALONE: _report(content, "")}
    if schema == SCHEMA_OF_SEVERAL:
        several = _has(content, "reports", dict, "")
        for each in several.values():
            if isinstance(each, dict) and each.get("schema") != SCHEMA:
                _reports(each)  # says what is wrong with its schema
        return {name: _report(each, f"reports[{name!r}].") for name, each in several.items()}
    kind, _, version = str(schema).partition("/")
    if f"{kind}/1" in (SCHEMA, SCHEMA_OF_SEVERAL) and version.isdecimal():
        raise _Unreadable(f"is of schema {schema}, which this handgrad does not know yet; install a newer handgrad")
    raise _Unreadable(f"is no report of handgrad (its schema is {schema!r}); name one written with --format json")


def _report(content: Any, where: str) -> Report:
    if not isinstance(content, dict):
        raise _damaged(where.removesuffix("."), "an object", content)
    rows = _records(Row, content, "rows", where)
    findings = _records(Finding, content, "findings", where)
    texts = {name: _has(content, name, list, where) for name in ("notes", "blind_spots")}
    for name, items in texts.items():
        for i, item in enumerate(items):
            _as("str", item, f"{where}{name}[{i}]")
    environment = _has(content, "environment", dict, where)
    _as("tuple[str, ...]", environment.get("precisions", []), f"{where}environment.precisions")
    details = _as("Details", content["details"], f"{where}details") if "details" in content else Details()
    _check_details(details, f"{where}details")
    report = Report(rows, findings, tuple(texts["notes"]), tuple(texts["blind_spots"]), environment, details)
    if not findings and any(row.verdict in FAILING for row in rows):
        raise _Unreadable(f"is a damaged report: {where}rows fail and {where}findings is empty; write it anew")
    if not rows and not findings:
        raise _Unreadable("is a damaged report: it has neither rows nor findings; write it anew")
    if _has(content, "ok", bool, where) != report.ok:
        raise _Unreadable(f"is a damaged report: {where}ok is {content['ok']} against its findings; write it anew")
    return report


MOST_ENTRIES, MOST_LINES = 64, 5000  # of an excerpt along an axis, of a piece of code


def _check_details(details: Details, where: str) -> None:
    """Refuse what no check writes and no page could show: ragged or huge excerpts, lines that are not there."""
    for i, excerpt in enumerate(details.excerpts):
        shapes = {(len(side), *{len(row) for row in side}) for side in (excerpt.by_hand, excerpt.torch)}
        if len(shapes) != 1 or len(*shapes) != 2 or not all(1 <= n <= MOST_ENTRIES for shape in shapes for n in shape):
            raise _damaged(
                f"{where}.excerpts[{i}]", f"two equal tables of at most {MOST_ENTRIES} x {MOST_ENTRIES}", shapes
            )
    for i, code in enumerate(details.code):
        last = code.first + len(code.text.splitlines()) - 1
        if not 1 <= code.first < 10**7 or last - code.first >= MOST_LINES:
            raise _damaged(f"{where}.code[{i}]", f"at most {MOST_LINES} lines from line 1 on", code.first)
        for name, lines in code.tensors.items():
            if any(not code.first <= line <= last for line in lines):
                raise _damaged(f"{where}.code[{i}].tensors[{name!r}]", f"lines from {code.first} to {last}", lines)
    for i, plot in enumerate(details.plots):
        for k, line in enumerate(plot.lines):
            if len(line.x) != len(line.y):
                raise _damaged(f"{where}.plots[{i}].lines[{k}]", "as many x as y", (len(line.x), len(line.y)))


def _records(of: type[T], content: dict[str, Any], name: str, where: str) -> tuple[T, ...]:
    items = _has(content, name, list, where)
    return tuple(_record(of, item, f"{where}{name}[{i}]") for i, item in enumerate(items))


def _record(of: type[T], content: Any, where: str) -> T:
    """A Row, a Finding or a part of the details from its fields, each of the type that its class gives it.

    Further fields are left.
    """
    if not isinstance(content, dict):
        raise _damaged(where, "an object", content)
    values = {}
    for name, kind in of.__annotations__.items():
        if name not in content:
            raise _Unreadable(f"is a damaged report: {where} has no {name}; write it anew")
        values[name] = _as(str(getattr(kind, "__forward_arg__", kind)), content[name], f"{where}.{name}")
    if values.get("verdict", VERDICTS[0]) not in VERDICTS:
        raise _damaged(f"{where}.verdict", f"one of {', '.join(VERDICTS)}", values["verdict"])
    return of(**values)


def _as(kind: str, value: Any, where: str) -> Any:
    """A value of the type that an annotation names."""
    if kind.endswith(" | None") and value is None:
        return None
    kind = kind.removesuffix(" | None")
    if kind in _RECORDS:
        return _record(_RECORDS[kind], value, where)
    if kind.startswith("tuple[") and kind not in _TYPES:
        items = value if isinstance(value, list) else _refused(where, "an array", value)
        inner = kind.removeprefix("tuple[").removesuffix(", ...]")
        return tuple(_as(inner, item, f"{where}[{i}]") for i, item in enumerate(items))
    if kind.startswith("Mapping[str, "):
        entries = value if isinstance(value, dict) else _refused(where, "an object", value)
        inner = kind.removeprefix("Mapping[str, ").removesuffix("]")
        return {name: _as(inner, item, f"{where}[{name!r}]") for name, item in entries.items()}
    described, accepts, convert = _TYPES[kind]
    if not accepts(value):
        raise _damaged(where, described, value)
    return convert(value)


def _has(content: dict[str, Any], name: str, kind: type, where: str) -> Any:
    value = content.get(name)
    if not isinstance(value, kind):
        raise _damaged(f"{where}{name}", {dict: "an object", list: "an array", bool: "true or false"}[kind], value)
    return value


def _refused(where: str, due: str, found: Any) -> NoReturn:
    raise _damaged(where, due, found)


def _damaged(where: str, due: str, found: Any) -> _Unreadable:
    return _Unreadable(f"is a damaged report: {where} must be {due} and is {str(found)[:60]!r}; write it anew")


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


_RECORDS: dict[str, Any] = {each.__name__: each for each in (Code, Details, Excerpt, Line, Plot)}
_TYPES: dict[str, tuple[str, Callable[[Any], bool], Callable[[Any], Any]]] = {
    "int": ("a whole number", _is_integer, int),
    "str": ("a text", lambda value: isinstance(value, str), str),
    "float": ("a number", _is_number, _number),
    "tuple[int, ...]": (
        "an array of whole numbers",
        lambda value: isinstance(value, list) and all(map(_is_integer, value)),
        tuple,
    ),
    "bool": ("true or false", lambda value: isinstance(value, bool), bool),
}


def content(report: Report) -> dict[str, Any]:
    """The report as values that `text` makes plain."""
    return {
        "schema": SCHEMA,
        "ok": report.ok,
        "rows": [row._asdict() for row in report.rows],
        "findings": [asdict(finding) for finding in report.findings],
        "notes": report.notes,
        "blind_spots": report.blind_spots,
        "environment": dict(report.environment),
        **({"details": report.details} if report.details != Details() else {}),
    }


def text(content: Any) -> str:
    """A JSON text of values; nan and infinities are the strings "nan", "inf" and "-inf", records objects."""
    return json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """The same value with every non-finite float as a string and every record as an object."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
