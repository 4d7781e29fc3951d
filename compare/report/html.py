"""The report as one HTML page that needs nothing else: no network, no script, no file beside it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from handgrad.compare.equations import EQUATIONS
from handgrad.compare.errors import InputError
from handgrad.compare.facts.fact import counted, listed
from handgrad.compare.report.graph import LEGEND, MARKS
from handgrad.compare.report.page import Page, state_of, subject
from handgrad.compare.report.summary import closing, deciding, differing, outcome, shared_environment, value
from handgrad.compare.report.words import location, printable
from handgrad.compare.results import Results

IN_FULL, LISTED = 12, 300  # so many reports in full, and so many in a line
NEEDED = "the HTML report needs jinja2 and matplotlib; run: pip install 'handgrad[report]'"


def render(results: Results) -> str:
    """One report as a whole page."""
    first = deciding(results)
    verdict = "OK" if first is None else f"{first.verdict} {first.where.name}"
    return page(f"{verdict}, {subject(results)}", fragment(results))


def fragment(results: Results) -> str:
    """One report as a piece of a page, with its own style, as notebooks show it."""
    return rendered("report.html", page=Page(results))


def render_all(reports: Mapping[str, Results], not_run: Mapping[str, str] = {}) -> str:
    """Several reports by name as a whole page: a table of them, then those that differ in full, then others."""
    wrong = differing(reports)
    ordered = [*wrong, *(name for name in reports if name not in wrong)]
    title = outcome(reports, not_run)
    content = rendered(
        "several.html",
        title=title,
        not_run=not_run,
        lines=[(name, *_line(reports[name])) for name in ordered[:LISTED]],
        wrong=wrong,
        more=len(ordered) - LISTED,
        pages=[(name, Page(reports[name], f"p{i}")) for i, name in enumerate(ordered[:IN_FULL])],
        shared=shared_environment(reports.values()) if reports else {},
    )
    subjects = listed(dict.fromkeys(map(subject, reports.values())), 2)
    return page(", ".join(filter(None, (title, subjects))), content)


def _line(results: Results) -> tuple[str, str, str]:
    """A report as one row of the table of several: its state, the verdict and the outcome."""
    first = deciding(results)
    return state_of(results), "OK" if first is None else first.verdict, closing(results)[0]


def page(title: str, content: str, language: str = "en") -> str:
    """A whole document, in a language by its code; its title tells it from other pages."""
    return rendered("page.html", title=f"{title} - handgrad", content=content, language=language)


def rendered(template: str, **values: Any) -> str:
    """A template filled in, without control characters; InputError, with the remedy, where the extra is missing."""
    text = str(ready().get_template(template).render(**values))
    return "\n".join(line if line.isprintable() else printable(line) for line in text.split("\n"))


@cache
def ready() -> Any:
    """The environment of the templates; InputError, with the remedy, where the extra `report` is not installed."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup

        from handgrad.compare.report.curves import svg
    except ImportError:
        raise InputError(NEEDED) from None
    from handgrad.compare.report.mathml import equation

    environment = Environment(
        loader=PackageLoader("handgrad.compare.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals |= {"counted": counted, "equations": EQUATIONS, "legend": LEGEND, "marks": MARKS}
    environment.filters |= {
        "equation": lambda text: Markup(equation(text)),
        "location": location,
        "markup": Markup,
        "number": _number,
        "page": Page,
        "svg": lambda plot, id: Markup(svg(plot, id)),
        "value": value,
    }
    return environment


def _number(number: float | None, digits: int = 7) -> str:
    return "" if number is None else f"{number:.{digits}g}"
