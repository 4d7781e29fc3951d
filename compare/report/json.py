"""JSON, schemas handgrad.report/2 (one check) and handgrad.reports/2 (several)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from handgrad.compare.facts.fact import plain
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
    """The report as values that `text` can write."""
    return {
        "schema": SCHEMA,
        "ok": results.ok,
        "rows": results.rows,
        "findings": [{**vars(finding), "text": str(words(finding))} for finding in results.findings],
        "notes": results.notes,
        "blind_spots": results.blind_spots,
        "environment": results.environment,
        **({"details": results.details} if results.details != Details() else {}),
    }


def text(content: Any) -> str:
    """A JSON text of values; nan and infinities are the strings "nan", "inf" and "-inf", records objects."""
    return json.dumps(plain(content), indent=1, allow_nan=False) + "\n"
