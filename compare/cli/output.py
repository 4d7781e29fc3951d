"""Where a command writes: to the terminal or to a file, whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from handgrad.compare.cli.flags import BRIEF, TABLE
from handgrad.compare.errors import InputError

if TYPE_CHECKING:
    from handgrad.compare.report.report import Report


def rendered(reports: Mapping[str, Report], form: str, *, colour: bool = False, extent: str | None = None) -> str:
    """One report, or several by name, in a format; as text in colour, in full or in brief, if asked for."""
    from handgrad.compare.results import ALONE

    alone = reports[ALONE] if [*reports] == [ALONE] else None
    if form == "text":
        from handgrad.compare.report.text import brief, in_full, render, render_all

        one = {BRIEF: brief, TABLE: in_full}.get(extent or "", render)
        return render_all(reports, colour=colour, one=one) if alone is None else one(alone, colour=colour)
    renderer = import_module(f"handgrad.compare.report.{form}")
    return str(renderer.render_all(reports) if alone is None else renderer.render(alone))


def is_coloured() -> bool:
    """Whether standard output takes colours: it is a terminal, and NO_COLOR is not set."""
    return sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def check_output(output: str | None, source: str, form: str = "text") -> None:
    """Refuse a format that needs what is not installed, and an output that cannot be written or that would destroy the
    source, before any work is done.
    """
    if form == "html":
        from handgrad.compare.report.html import ready

        ready()
    if output is None:
        return
    path = Path(output)
    try:
        is_folder = path.is_dir() or output.endswith("/") or not path.parent.is_dir()
        is_source = path.exists() and Path(source).exists() and path.samefile(source)
        refusals = (
            (is_folder, f"{output!r} is a folder or lies in one that does not exist; name a file in an existing one"),
            (is_source, f"{output} is the input file itself and would be overwritten; name another file"),
            (
                path.suffix == ".py",
                f"{output} is the name of a program and would replace it; name a .txt or .json file",
            ),
            (path.is_fifo(), f"{output} is a pipe and would wait for a reader; name a file"),
        )
    except (OSError, ValueError):
        raise InputError(f"--output {output} is no name that a file can have; name another file") from None
    for applies, refusal in refusals:
        if applies:
            raise InputError(f"--output {refusal}")


def emit(text: str, output: str | None) -> None:
    """Print a text, or write it to a file, replacing that."""
    if output is None:
        print(text, end="", flush=True)
        return
    try:
        _replace(Path(output), text.encode("utf-8", "backslashreplace"))
    except (OSError, RuntimeError, ValueError) as error:  # the last two for links that lead round, and for a NUL
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"--output {output} cannot be written ({reason}); name another file") from None


def _replace(path: Path, content: bytes) -> None:
    """Write a whole file or nothing: beside it first, then in its place; devices are written to as they are."""
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    path = path.resolve()
    draft = path.with_name(f".{path.name[:100]}.{os.getpid()}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
