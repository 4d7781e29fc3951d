"""Equations in plain text, as the notes and docstrings write them, to MathML; prose between them stays prose.

Recognised are the notes' forms: Z[l] for a superscript in brackets, ^T and _in, a/b without spaces for a fraction,
sqrt(...), |...|, and names such as dW. Whatever else a text holds is shown as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

TOKENS = re.compile(
    r"""(?P<space>\s+)
    |(?P<quoted>"[^"]*")
    |(?P<number>\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![A-Za-z])|\.\d+)
    |(?P<word>[A-Za-z]{2,}(?:(?:[-.][A-Za-z]+)+|'s\b))
    |(?P<name>[A-Za-z]+\d*(?:_[A-Za-z0-9]+)*)
    |(?P<operator><=|>=|->|\|\||\+=|-=|\.\.\.|.)""",
    re.VERBOSE,
)
GRADIENT = re.compile(r"d(?:[A-Z]|[a-z])(?:\d+)?")
GREEK = {"eps": "epsilon"} | {name: name for name in ("alpha", "beta", "gamma", "epsilon", "sigma", "lambda", "mu")}
FUNCTIONS = {"exp", "max", "min", "tanh", "sigmoid", "relu", "ReLU", "Var", "log", "log2", "randn", "loss", "penalty"}
OPERATORS = {"<=": "&le;", ">=": "&ge;", "->": "&rarr;", "-": "&minus;", "*": "&lowast;", "...": "&hellip;"}
OPERATORS |= {"'": "&prime;", "~": "&sim;", "-=": "&minus;="}
BREAKS = {"=", "+=", "-=", ",", "+", "-", ";", ":"}
CLOSING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class _Node:
    """A piece of the result: its MathML, or its HTML where it is prose, and what it was."""

    html: str
    kind: str  # "word", "atom", "operator", "group" or "space"
    inner: str = ""  # of a group, without its parentheses
    text: str = ""


def equation(text: str) -> str:
    """HTML of a text with equations: its formulas as MathML that may wrap between terms, its words as they are."""
    nodes = _prose(_joined(_nodes(TOKENS.finditer(text), "")))
    parts: list[str] = []
    run: list[str] = []

    def close() -> None:
        if run:
            parts.append(f"<math><mrow>{''.join(run)}</mrow></math>")
            run.clear()

    for node in nodes:
        if node.kind in ("word", "space"):
            close()
            parts.append(node.html)
        else:
            if node.text in BREAKS and run:
                close()
            run.append(node.html)
    close()
    return f'<span class="equation" title="{escape(text)}">{"".join(parts).strip()}</span>'


def _nodes(tokens: Iterator[re.Match[str]], until: str) -> list[_Node]:
    """The tokens as nodes, up to the one that closes a group."""
    nodes: list[_Node] = []
    for token in tokens:
        kind, text = token.lastgroup or "operator", token.group()
        if until and text == until:
            return [*nodes, _Node("", "end")]
        if kind == "operator" and text in CLOSING:
            nodes.append(_group(text, _nodes(tokens, CLOSING[text])))
        else:
            nodes.append(_leaf(kind, text))
    return nodes


def _leaf(kind: str, text: str) -> _Node:
    shown = escape(text)
    if kind == "space":
        return _Node(" ", "space", text=" ")
    if kind in ("quoted", "word"):
        return _Node(shown, "word", text=text)
    if kind == "number":
        return _Node(f"<mn>{shown}</mn>", "atom", text=text)
    if kind == "operator":
        return _Node(f"<mo>{OPERATORS.get(text, shown)}</mo>", "operator", text=text)
    base, *under = text.split("_")
    if not under and len(base) > 1 and not _is_symbol(base):
        return _Node(shown, "word", text=text)
    if under and not _is_symbol(base):
        return _Node(f"<mi mathvariant='normal'>{shown}</mi>", "atom", text=text)
    html = _symbol(base)
    return _Node(f"<msub>{html}<mi>{escape('_'.join(under))}</mi></msub>" if under else html, "atom", text=text)


def _is_symbol(name: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z]\d*", name) or GRADIENT.fullmatch(name) or name in GREEK or name in FUNCTIONS)


def _symbol(name: str) -> str:
    """A name of one letter, of a gradient, with a number below it, Greek, or of a function."""
    if name in FUNCTIONS:
        return f"<mrow><mi mathvariant='normal'>{name}</mi><mspace width='0.1em'></mspace></mrow>"
    letters = name.rstrip("0123456789")
    number = name[len(letters) :]
    if letters in GREEK:
        shown = f"<mi>&{GREEK[letters]};</mi>"
    elif len(letters) == 2:
        shown = f"<mrow><mi mathvariant='normal'>d</mi><mi>{letters[1]}</mi></mrow>"
    else:
        shown = f"<mi>{letters}</mi>"
    return f"<msub>{shown}<mn>{number}</mn></msub>" if number else shown


def _group(opening: str, nodes: list[_Node]) -> _Node:
    """What stands in parentheses; without an end it is left open."""
    closed = bool(nodes) and nodes[-1].kind == "end"
    nodes = _prose(_joined(nodes[:-1] if closed else nodes))
    if nodes and all(node.kind in ("word", "space") for node in nodes):
        return _Node(f"{opening}{''.join(node.html for node in nodes)}{CLOSING[opening] if closed else ''}", "word")
    inner = "".join(map(_in_math, nodes))
    closing = f"<mo stretchy='false'>{CLOSING[opening]}</mo>" if closed else ""
    return _Node(f"<mrow><mo stretchy='false'>{opening}</mo>{inner}{closing}</mrow>", "group", inner, opening)


def _in_math(node: _Node) -> str:
    """A node inside a formula, where words need an element of their own."""
    if node.kind == "space":
        return ""
    return f"<mtext>&nbsp;{node.html}&nbsp;</mtext>" if node.kind == "word" else node.html


def _joined(nodes: list[_Node]) -> list[_Node]:
    """Nodes with their superscripts, indices, roots and fractions joined on."""
    joined: list[_Node] = []
    waiting = list(nodes)
    while waiting:
        node = waiting.pop(0)
        before = joined[-1] if joined else None
        if node.kind == "group" and node.text == "[" and before is not None and before.kind == "atom":
            above = node.html
            if [after.text for after in waiting[:2]] == ["^", "T"]:
                above = f"<mrow>{above}<mi>T</mi></mrow>"
                del waiting[:2]
            joined[-1] = _Node(f"<msup>{before.html}{above}</msup>", "atom", text=before.text)
        elif node.text == "^" and before is not None and waiting and before.kind in ("atom", "group", "operator"):
            power = waiting.pop(0)
            html = power.inner if power.kind == "group" and power.text == "(" else power.html
            if power.text == "-" and waiting:
                html += waiting.pop(0).html
            joined[-1] = _Node(f"<msup>{before.html}<mrow>{html}</mrow></msup>", "atom")
        elif node.text == "/" and before is not None and waiting and _is_operand(before) and _is_operand(waiting[0]):
            below = waiting.pop(0)
            while waiting and waiting[0].kind == "group" and waiting[0].text == "[" and below.kind == "atom":
                below = _Node(f"<msup>{below.html}{waiting.pop(0).html}</msup>", "atom")
            if below.text == "sqrt" and waiting and waiting[0].kind == "group":
                below = _Node(f"<msqrt><mrow>{waiting.pop(0).inner}</mrow></msqrt>", "atom")
            joined[-1] = _Node(f"<mfrac>{_bare(before)}{_bare(below)}</mfrac>", "atom")
        elif node.kind == "word" and node.text == "sqrt" and waiting and waiting[0].kind == "group":
            joined.append(_Node(f"<msqrt><mrow>{waiting.pop(0).inner}</mrow></msqrt>", "atom"))
        else:
            joined.append(node)
    return joined


def _is_operand(node: _Node) -> bool:
    return node.kind in ("atom", "group") or node.text == "sqrt"


def _bare(node: _Node) -> str:
    """What a fraction shows: a group without its parentheses."""
    return f"<mrow>{node.inner}</mrow>" if node.kind == "group" and node.text == "(" else f"<mrow>{node.html}</mrow>"


def _prose(nodes: list[_Node]) -> list[_Node]:
    """The same with single letters, numbers and punctuation between words taken for prose."""
    solid = [i for i, node in enumerate(nodes) if node.kind != "space"]
    prose = list(nodes)
    for place, i in enumerate(solid):
        node = nodes[i]
        before = nodes[solid[place - 1]].kind if place else "word"
        if place and node.text == "a" and nodes[solid[place - 1]].text in {*",;:"}:
            before = "word"
        after = nodes[solid[place + 1]].kind if place + 1 < len(solid) else "word"
        if before == after == "word" and node.text in {"a", "I", *",;:.'-"} and len(solid) > 1:
            prose[i] = _Node(escape(node.text), "word", text=node.text)
    return prose
