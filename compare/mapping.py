"""What user code returns, as one mapping of names."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np


def as_mapping(returned: Any) -> Any:
    """What was returned as one mapping of names where a tuple has one plain reading, and else as it is.

    The plain ones are mappings, as of gradients and a cache, and one number beside them, which is J; what two of them
    hold under one name must be the same.
    """
    if not isinstance(returned, (tuple, list)) or not any(isinstance(part, Mapping) for part in returned):
        return returned
    whole: dict[Any, Any] = {}
    for part in (part for part in returned if part is not None):
        if not isinstance(part, Mapping) and not _is_number(part):
            return returned
        named = part if isinstance(part, Mapping) else {"J": part}
        if any(name in whole and not _is_same(whole[name], named[name]) for name in named):
            return returned
        whole |= named
    return whole


def _is_number(value: Any) -> bool:
    """Whether it is a number, or an array or tensor of one entry."""
    if isinstance(value, (str, bytes)):
        return False
    shape = getattr(value, "shape", None)
    return isinstance(value, (int, float)) if shape is None else prod(shape) == 1


def _is_same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return np.array_equal(one, other)
    except (TypeError, ValueError, RuntimeError):  # as of tensors that require grad
        return False
