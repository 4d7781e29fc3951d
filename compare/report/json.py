"""JSON, schemas handgrad.report/2 (one check) and handgrad.reports/2 (several)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from handgrad.compare.facts.fact import Fact, content_of
from handgrad.compare.report.summary import differing
from handgrad.compare.report.words import words
from handgrad.compare.results import Details, Results

SCHEMA = "handgrad.report/2"
SCHEMA_OF_SEVERAL = "handgrad.reports/2"


def render(results: Results) -> str:
    """The report as JSON text."""
    return text(content(results))


def render_all(reports: Mapping[str, Results], not_run: Mapping[str, str] = {}) -> str:
    """Several reports by name, and why others could not run, as JSON text; ok if there is a report and all pass."""
    contents = {name: content(results) for name, results in reports.items()}
    ok = bool(reports) and not differing(reports) and not not_run
    return text({"schema": SCHEMA_OF_SEVERAL, "ok": ok, "reports": contents, "not_run": dict(not_run)})


def content(results: Results) -> dict[str, Any]:
    """The report as values that `text` makes plain."""
    return {
        "schema": SCHEMA,
        "ok": results.ok,
        "rows": results.rows,
        "findings": [{**vars(finding), "text": str(words(finding, results))} for finding in results.findings],
        "notes": results.notes,
        "blind_spots": results.blind_spots,
        "environment": results.environment,
        **({"details": results.details} if results.details != Details() else {}),
    }


def text(content: Any) -> str:
    """A JSON text of values; nan and infinities are the strings "nan", "inf" and "-inf", records objects."""
    return json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """The same value with every non-finite float as a string and every record and fact as an object."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Fact):
        value = content_of(value)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
