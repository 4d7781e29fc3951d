"""A cause explained: what it means, an example wrong and right, and how to tell it from others; or the list of all."""

import textwrap
from itertools import groupby
from operator import attrgetter

from handgrad.compare.faults import lesson
from handgrad.compare.faults.explanations import Explanation, explanations
from handgrad.compare.faults.lesson import Lesson
from handgrad.compare.report import html, json, markdown

WIDTH = 80
SEED = 0  # of the examples' sizes and data


def example(explanation: Explanation) -> Lesson:
    """The known mistake that shows a cause."""
    return lesson.prepared(explanation.fault, SEED)


def as_text(explanation: Explanation) -> str:
    """A cause as a person reads it on a terminal."""
    codes = max(map(len, explanation.neighbours))
    neighbours = [_filled(sign, f"  {code:{codes}}  ") for code, sign in explanation.neighbours.items()]
    parts = [
        f"{explanation.code}: {explanation.line}",
        _filled(explanation.means),
        lesson.indented("An example", lesson.as_text(example(explanation))),
        "\n".join(["Not to be mistaken for", *neighbours]),
        _filled(_others(explanation)),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _filled(text: str, head: str = "") -> str:
    indent = " " * len(head)
    return textwrap.fill(text, WIDTH, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False)


def _others(explanation: Explanation) -> str:
    """Where more of the same cause is."""
    names = ", ".join(explanation.others)
    return f"More of this cause, each by handgrad faults NAME: {names}." if names else ""


def as_json(explanation: Explanation) -> str:
    """A cause's facts, and its example as a lesson with a report."""
    return json.text({**_fields(explanation), "lesson": lesson.content(example(explanation))})


def as_markdown(explanation: Explanation) -> str:
    """A cause as Markdown."""
    escaped = markdown.escaped
    parts = [
        f"# {explanation.code}: {escaped(explanation.line)}",
        escaped(explanation.means),
        lesson.as_markdown(example(explanation)).rstrip(),
        markdown.grid(("not to be mistaken for", "how to tell"), explanation.neighbours.items()),
        escaped(_others(explanation)),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def as_page(explanation: Explanation) -> str:
    """A cause as a page."""
    content = html.rendered("cause.html", cause=explanation, lesson=example(explanation))
    return html.page(explanation.code, content)


def listed() -> str:
    """All causes in a line each, by group."""
    codes = max(map(len, explanations()))
    lines = [[group, *(f"  {one.code:{codes}}  {one.line}" for one in causes)] for group, causes in _groups()]
    lines.append([f"{len(explanations())} causes; handgrad explain CAUSE shows one."])
    return "\n\n".join(map("\n".join, lines)) + "\n"


def listed_as_json() -> str:
    """All causes with stable keys: code, group, line, means, example, question, neighbours, others."""
    return json.text([_fields(explanation) for explanation in explanations().values()])


def listed_as_markdown() -> str:
    """The table of all causes as Markdown."""
    rows = [(cause.group, cause.code, cause.line) for cause in explanations().values()]
    return markdown.grid(("", "cause", "means"), rows) + "\n"


def listed_as_page() -> str:
    """The table of all causes as a page."""
    return html.page("causes", html.rendered("causes.html", groups=_groups()))


def _groups() -> list[tuple[str, tuple[Explanation, ...]]]:
    return [(group, tuple(causes)) for group, causes in groupby(explanations().values(), attrgetter("group"))]


def _fields(explanation: Explanation) -> dict[str, object]:
    return {**vars(explanation), "others": explanation.others}


LIST = {"text": listed, "json": listed_as_json, "markdown": listed_as_markdown, "html": listed_as_page}
ONE = {"text": as_text, "json": as_json, "markdown": as_markdown, "html": as_page}
