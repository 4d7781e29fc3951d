"""Torch's dispatch mode without its compiler."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Mode"]


class Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch annotates neither this nor __init__
    """While entered, every operation of torch's goes through __torch_dispatch__ of the class."""

    def __init__(self) -> None:
        """Set up torch's part of it."""
        super().__init__()  # type: ignore[no-untyped-call]

    def __init_subclass__(cls) -> None:
        """Leave the class as it is.

        Torch would wrap its __torch_dispatch__, to keep the compiler off it, and imports all of torch._dynamo for that
        at the first operation: more than a second. Nothing is compiled while a mode is entered.
        """
