"""Naming intermediates inside any forward pass."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

__all__ = ["Handler", "tap", "tapped"]

Handler = Callable[[str, Tensor], Tensor]
_handler: ContextVar[Handler | None] = ContextVar("handgrad.torchref.tap", default=None)


def tap(name: str, tensor: Tensor) -> Tensor:
    """Name an intermediate of a forward pass, so that a check can compare it and its gradient.

    The code goes on with the result: `Z1 = tap("Z1", W1 @ X + b1)`. Outside a check it is the tensor itself.
    Any shape and dtype.
    """
    handler = _handler.get()
    return tensor if handler is None else handler(name, tensor)


@contextmanager
def tapped(handler: Handler) -> Iterator[None]:
    """While entered, every tap(name, tensor) of this thread or task goes on with handler(name, tensor)."""
    token = _handler.set(handler)
    try:
        yield
    finally:
        _handler.reset(token)
