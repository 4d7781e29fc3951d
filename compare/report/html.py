"""The report as one HTML page that needs nothing else: no network, no script, no file beside it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import count
from types import MappingProxyType
from typing import Any

from handgrad.compare.errors import InputError
from handgrad.compare.report import Report
from handgrad.compare.report.states import LEGEND, MARKS
from handgrad.compare.report.summary import (
    closing,
    counted,
    deciding,
    differing,
    outcome,
    printable,
    setting,
    shared_environment,
    value,
)

__all__ = ["fragment", "page", "ready", "render", "render_all", "rendered"]

IN_FULL, LISTED = 12, 300  # so many reports in full, and so many in a line
NEEDED = "the HTML report needs jinja2 and matplotlib; run: pip install 'handgrad[report]'"


def render(report: Report) -> str:
    """One report as a whole page."""
    first = deciding(report)
    found = "OK" if first is None else f"{first.verdict} {first.name}"
    return page(f"handgrad: {found}", fragment(report))


def fragment(report: Report) -> str:
    """One report as a piece of a page, with its own style, as notebooks show it."""
    return rendered("report.html", report=report, name="")


def render_all(reports: Mapping[str, Report], not_run: Mapping[str, str] = MappingProxyType({})) -> str:
    """Several reports by name as a whole page: a table of them, then those that differ in full, then others."""
    wrong = differing(reports)
    ordered = [*wrong, *(name for name in reports if name not in wrong)]
    told = outcome(reports, not_run)
    content = rendered(
        "several.html",
        told=told,
        not_run=not_run,
        reports=[(name, reports[name]) for name in ordered[:LISTED]],
        more=len(ordered) - LISTED,
        full=[(name, reports[name]) for name in ordered[:IN_FULL]],
        wrong=wrong,
        shared=shared_environment(reports.values()) if reports else {},
    )
    return page(f"handgrad: {told}", content)


def ready() -> None:
    """Raise InputError, with the remedy, where the extra `report` is not installed."""
    _environment()


def page(title: str, content: str) -> str:
    """A whole document."""
    return rendered("page.html", title=title, content=content)


def rendered(template: str, **values: Any) -> str:
    """A template filled in, without control characters; InputError, with the remedy, where the extra is missing."""
    environment = _environment()
    unique = count(1)
    text = str(environment.get_template(template).render(unique=lambda: f"h{next(unique)}", **values))
    return "\n".join(line if line.isprintable() else printable(line) for line in text.split("\n"))


@cache
def _environment() -> Any:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup

        from handgrad.compare.report.curves import svg
    except ImportError:
        raise InputError(NEEDED) from None
    from handgrad.compare.report import page as content
    from handgrad.compare.report.graph import ARROWS, graph
    from handgrad.compare.report.mathml import equation

    environment = Environment(
        loader=PackageLoader("handgrad.compare.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals |= {
        "arrows": Markup(ARROWS),
        "closing": closing,
        "content": content,
        "counted": counted,
        "deciding": deciding,
        "legend": LEGEND,
        "marks": MARKS,
        "setting": setting,
    }
    environment.filters |= {
        "equation": lambda text: Markup(equation(text)),
        "graph": lambda report: Markup(graph(report)),
        "markup": Markup,
        "number": _number,
        "svg": lambda plot, unique: Markup(svg(plot, unique)),
        "value": value,
    }
    return environment


def _number(number: float | None, digits: int = 7) -> str:
    return "" if number is None else f"{number:.{digits}g}"
