"""JSON, schema handgrad.report/1."""

import json
import math
from dataclasses import asdict
from typing import Any

from compare.report import Report

__all__ = ["SCHEMA", "render"]

SCHEMA = "handgrad.report/1"


def render(report: Report) -> str:
    """The report as JSON text; nan and infinities are the strings "nan", "inf" and "-inf"."""
    content = {
        "schema": SCHEMA,
        "ok": report.ok,
        "rows": [asdict(row) for row in report.rows],
        "findings": [asdict(finding) for finding in report.findings],
        "notes": report.notes,
        "blind_spots": report.blind_spots,
        "environment": dict(report.environment),
    }
    return json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """The same value with every non-finite float as a string."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
