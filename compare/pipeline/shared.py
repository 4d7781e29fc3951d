"""One mistake in several tensors is one finding, which names the others."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.facts.causes import Cause, Unknown
from handgrad.compare.names import is_sibling
from handgrad.compare.results import Finding

_NUMBER_OF_A_NAME = re.compile(r"(?<=[A-Za-z_])\d+")


def as_one(findings: Sequence[Finding], scene: Callable[[str], Scene | None]) -> tuple[Finding, ...]:
    """Findings of one step that are off by one mistake, as the first of them; the cause is the first that is known."""
    leads: list[Finding] = []
    for finding in findings:
        at = next((i for i, lead in enumerate(leads) if _is_one_mistake(lead, finding, scene)), None)
        if at is None:
            leads.append(finding)
            continue
        lead = leads[at]
        cause = finding.cause if isinstance(lead.cause, Unknown) else lead.cause
        leads[at] = replace(lead, cause=cause, together=(*lead.together, finding.where.name))
    return tuple(leads)


def _is_one_mistake(one: Finding, other: Finding, scene: Callable[[str], Scene | None]) -> bool:
    """Whether two findings are off by the same factor, have one cause, or one but for the number in their names."""
    if one.where.step != other.where.step or {one.verdict, other.verdict} != {"FAULT"} or not _are_near(one, other):
        return False
    if isinstance(one.cause, Unknown) and isinstance(other.cause, Unknown):
        return False
    if one.cause == other.cause:
        return True
    if is_sibling(one.where.name, other.where.name) and _pattern(one.cause) == _pattern(other.cause):
        return True
    return any(_is_off_by(a.factor, scene(b.where.name)) for a, b in ((one, other), (other, one)))


def _are_near(one: Finding, other: Finding) -> bool:
    """Whether both are values, or of J and the gradients, or of the update."""
    return one.where.phase == other.where.phase or {one.where.phase, other.where.phase} == {"loss", "backward"}


def _is_off_by(factor: float | None, scene: Scene | None) -> bool:
    """Whether a tensor is off by a factor."""
    return factor is not None and scene is not None and scene.explained_by(factor * scene.reference)


def _pattern(value: Any) -> Any:
    """A cause, its facts without the numbers of tensors' names."""
    if isinstance(value, Cause):
        return type(value), tuple(_pattern(getattr(value, each.name)) for each in fields(value))
    if isinstance(value, tuple):
        return tuple(map(_pattern, value))
    return _NUMBER_OF_A_NAME.sub("", value) if isinstance(value, str) else value
