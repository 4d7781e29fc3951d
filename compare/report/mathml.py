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
    |(?P<number>[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?(?![A-Za-z])|\.[0-9]+)
    |(?P<syllables>[\u3131-\u318e\uac00-\ud7a3]+)
    |(?P<word>[A-Za-z]{2,}(?:(?:[-.][A-Za-z]+)+|'s\b))
    |(?P<name>[A-Za-z]+[0-9]*(?:_[A-Za-z0-9]+)*)
    |(?P<operator><=|>=|->|\|\||\+=|-=|\.\.\.|.)""",
    re.VERBOSE,
)
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

    @property
    def is_prose(self) -> bool:
        return self.kind in ("word", "space")


def equation(text: str) -> str:
    """HTML of a text with equations: its formulas as MathML that may wrap between terms, its words as they are."""
    runs: list[list[_Node]] = []  # a word or a space alone, a formula up to where it may wrap
    for node in _prose(_joined(_nodes(TOKENS.finditer(text), ""))):
        if runs and not (runs[-1][0].is_prose or node.is_prose or node.text in BREAKS):
            runs[-1].append(node)
        else:
            runs.append([node])
    joined = [("".join(node.html for node in run), run[0].is_prose) for run in runs]
    html = "".join(part if is_prose else f"<math><mrow>{part}</mrow></math>" for part, is_prose in joined)
    return f'<span class="equation" title="{escape(text)}">{html.strip()}</span>'


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
    if kind in ("quoted", "syllables", "word"):
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
    return name in GREEK or name in FUNCTIONS or re.fullmatch(r"d?[A-Za-z][0-9]*", name) is not None


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
    if nodes and all(node.is_prose for node in nodes):
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
        node = _operand(waiting)
        before = joined[-1] if joined and waiting else _Node("", "end")
        if node.text == "^" and before.kind in ("atom", "group", "operator"):
            power = waiting.pop(0)
            html = power.inner if power.kind == "group" and power.text == "(" else power.html
            if power.text == "-" and waiting:
                html += waiting.pop(0).html
            waiting.insert(0, _Node(f"<msup>{joined.pop().html}<mrow>{html}</mrow></msup>", "atom"))
        elif node.text == "/" and _is_operand(before) and _is_operand(waiting[0]):
            below = _operand(waiting)
            waiting.insert(0, _Node(f"<mfrac>{_bare(joined.pop())}{_bare(below)}</mfrac>", "atom"))
        else:
            joined.append(node)
    return joined


def _operand(waiting: list[_Node]) -> _Node:
    """The next node, with the root that it is, or with what stands in brackets above it."""
    node = waiting.pop(0)
    if node.text == "sqrt" and waiting and waiting[0].kind == "group":
        node = _Node(f"<msqrt><mrow>{waiting.pop(0).inner}</mrow></msqrt>", "atom")
    while node.kind == "atom" and waiting and waiting[0].kind == "group" and waiting[0].text == "[":
        above = waiting.pop(0).html
        if [after.text for after in waiting[:2]] == ["^", "T"]:
            above = f"<mrow>{above}<mi>T</mi></mrow>"
            del waiting[:2]
        node = _Node(f"<msup>{node.html}{above}</msup>", "atom")
    return node


def _is_operand(node: _Node) -> bool:
    return node.kind in ("atom", "group") or node.text == "sqrt"


def _bare(node: _Node) -> str:
    """What a fraction shows: a group without its parentheses."""
    return f"<mrow>{node.inner}</mrow>" if node.kind == "group" and node.text == "(" else f"<mrow>{node.html}</mrow>"


def _prose(nodes: list[_Node]) -> list[_Node]:
    """The same with single letters, numbers and punctuation between words taken for prose."""
    solid = [i for i, node in enumerate(nodes) if node.kind != "space"]
    end, prose = _Node("", "word"), list(nodes)
    between = [end, *(nodes[i] for i in solid), end]
    for i, before, node, after in zip(solid, between, between[1:], between[2:], strict=False):
        follows_word = before.kind == "word" or (node.text == "a" and before.text in {*",;:"})
        if follows_word and after.kind == "word" and node.text in {"a", "I", *",;:.'-"} and len(solid) > 1:
            prose[i] = _Node(escape(node.text), "word", text=node.text)
    return prose
