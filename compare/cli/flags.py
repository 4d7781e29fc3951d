"""The command line's flags: reading them imports neither torch nor NumPy."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from handgrad import __version__

if TYPE_CHECKING:
    from dataclasses import Field

__all__ = ["DIFFERENT", "EQUAL", "UNUSABLE", "parser"]

EQUAL, DIFFERENT, UNUSABLE = 0, 1, 2  # what a command exits with


class _Formatter(argparse.HelpFormatter):
    """argparse's own, which imports shutil to learn the width of the terminal; that would delay every command."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    try:
        return int(os.environ.get("COLUMNS", "")) or 80
    except ValueError:
        pass
    try:
        return os.get_terminal_size().columns or 80
    except OSError:  # no terminal
        return 80


class _Parser(argparse.ArgumentParser):
    """Argument errors in one line."""

    def _get_formatter(self) -> argparse.HelpFormatter:
        return _Formatter(self.prog)

    def error(self, message: str) -> NoReturn:
        self.exit(UNUSABLE, f"{self.prog}: {' '.join(message.split())}; see {self.prog} --help\n")


def parser(
    commands: Mapping[str, Callable[[argparse.Namespace], int]], words: Sequence[str]
) -> argparse.ArgumentParser:
    """The parser of the words given; `commands` are the functions that run each.

    The flags of an experiment are added only where a command takes them: looking them up delays every other one.
    """
    whole = _Parser(prog="handgrad", description="Check a backward pass derived by hand in NumPy against PyTorch.")
    whole.add_argument(
        "--version", action="version", version=f"handgrad {__version__}", help="show the version and exit"
    )
    added = whole.add_subparsers(title="commands", required=True, metavar="COMMAND", prog=whole.prog)
    check = added.add_parser(
        "check",
        help="check a file of yours, or the notes' network by hand and in torch.nn, side by side",
        description="Check a file that defines derivation, reference, params and batch (or update, optimizer, params; "
        "or trainer, reference, optimizer, params, batches; or initializer, torch_initializer, shape). Without a file: "
        "train the lecture notes' network by hand and in torch.nn on the same weights and batches, and compare every "
        "intermediate, gradient, velocity and updated weight. Exit 0: all equal, 1: a difference, 2: unusable input.",
    )
    check.set_defaults(command=commands["check"])
    _add_subject(check)
    _add_rendering(check)
    _add_strict(check)
    init = added.add_parser(
        "init",
        help="write a short runnable file to start from",
        description="Write a short derivation with its torch reference, to be changed into yours. "
        "A file that exists is left as it is.",
    )
    init.set_defaults(command=commands["init"])
    init.add_argument("file", metavar="FILE.py", help="the new file")
    init.add_argument("--broken", action="store_true", help="with one mistake, to see what a check says")
    show = added.add_parser(
        "show",
        help="show a report that was stored as JSON, in any format",
        description="Show what handgrad check --format json or pytest --parity-report=FILE.json has stored. "
        "Exit 0: all equal, 1: a difference, 2: no report.",
    )
    show.set_defaults(command=commands["show"])
    show.add_argument("file", metavar="FILE.json", help="a stored report")
    _add_rendering(show)
    _add_strict(show)
    notes = added.add_parser(
        "notes",
        help="show the lecture notes statement by statement: as written, corrected, proved in numbers",
        description="Every statement of the lecture notes: as written, corrected, the verdict (holds, corrected, "
        "convention, supplied) and the evidence, computed by both sides now. With --id the whole story of one.",
    )
    notes.set_defaults(command=commands["notes"])
    notes.add_argument("--id", metavar="ID", help="one statement, such as L2")
    _add_rendering(notes, output="write it to FILE, replacing that")
    faults = added.add_parser(
        "faults",
        help="list known mistakes, or show one: its equation, its code, its numbers and what to learn from it",
        description="The catalogue of known mistakes. With NAME: the equation wrong and right, the difference in code, "
        "what a check says of it in numbers, and the lesson. Always exits 0, unless NAME is unknown (2).",
    )
    faults.set_defaults(command=commands["faults"])
    faults.add_argument("name", nargs="?", metavar="NAME", help="an entry of the catalogue")
    faults.add_argument("--seed", type=_natural, default=0, metavar="N", help="draws the sizes and data (default 0)")
    _add_rendering(faults, output="write it to FILE, replacing that")
    diff = added.add_parser(
        "diff",
        help="compare two reports that were stored as JSON",
        description="Say which tensors changed verdict or rho from one stored run to another, and in what their "
        "environments differ. Exit 0: every tensor has the same verdict and rho, 1: one has not, 2: no report.",
    )
    diff.set_defaults(command=commands["diff"])
    diff.add_argument("first", metavar="A.json", help="a stored report")
    diff.add_argument("second", metavar="B.json", help="another of the same check")
    _add_rendering(diff, FORMATS[:3], "write it to FILE, replacing that")
    audit = added.add_parser(
        "audit",
        help="say which known mistakes a fixture could not reveal",
        description="Without a file: plant every known mistake of the notes' network in a run with these settings, and "
        "list those that it does not reveal, with the smallest change that would. With a file: say what its data, "
        "sizes and records hide. Always exits 0, unless something is unusable (2).",
    )
    audit.set_defaults(command=commands["audit"])
    _add_subject(audit)
    audit.add_argument("--output", metavar="FILE", help="write it to FILE, replacing that")
    for command, name in ((check, "check"), (audit, "audit")):
        if name in words:
            _add_experiment(command)
    return whole


def _add_subject(command: argparse.ArgumentParser) -> None:
    """What is checked or audited: a file, or the notes' network on data."""
    command.add_argument("file", nargs="?", metavar="FILE.py", help="a file of yours; handgrad init FILE.py writes one")
    command.add_argument(
        "--only", metavar="NAME", help="of a file's checks only this one: gradients, updates, training or initializer"
    )
    command.add_argument(
        "--data",
        default=argparse.SUPPRESS,
        metavar="NAME|FILE",
        help="breast-cancer (default), digits, synthetic, or a .npz or .csv file with X and y",
    )


FORMATS = ("text", "json", "markdown", "html")


def _add_rendering(
    command: argparse.ArgumentParser,
    formats: tuple[str, ...] = FORMATS,
    output: str = "write it to FILE, replacing that, and print the outcome only",
) -> None:
    command.add_argument("--format", choices=formats, default="text", help="how to show it (default text)")
    command.add_argument("--output", metavar="FILE", help=output)


def _add_strict(command: argparse.ArgumentParser) -> None:
    command.add_argument("--strict", action="store_true", help="exit 1 also where a right formula loses digits")


def _add_experiment(command: argparse.ArgumentParser) -> None:
    """The flags of an experiment, one per field."""
    from dataclasses import fields

    from handgrad.compare.experiment.settings import Experiment

    group = command.add_argument_group("the experiment (a file takes --steps, --seed and --dtype)")
    for item in fields(Experiment):
        _add_flag(group, item)


def _add_flag(group: argparse._ArgumentGroup, item: Field[Any]) -> None:
    """One flag per field of Experiment; absent unless given, so that the field's default stands in one place."""
    flag = f"--{item.name.replace('_', '-')}"
    text = item.metadata["help"]
    if item.type == "bool":
        group.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=text)
        return
    default = "fitted to the data" if item.name == "layers" else _shown(item.default)
    parse, metavar = _TYPES[str(item.type)]
    group.add_argument(
        flag,
        type=parse,
        metavar=metavar,
        default=argparse.SUPPRESS,
        help=f"{text} (default {default})".replace("%", "%%"),
    )


def _shown(default: Any) -> str:
    if default is None:
        return "as many as the epochs have"
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number; write for example 4") from None


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0; write for example 4")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number; write for example 0.1") from None


def _integer_or_full(text: str) -> int | None:
    return None if text == "full" else _integer(text)


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers; write for example 30,16,1") from None


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


_TYPES: dict[str, tuple[Callable[[str], Any], str]] = {
    "int": (_integer, "N"),
    "int | None": (_integer_or_full, "N"),
    "float": (_number, "X"),
    "str": (str, "NAME"),
    "tuple[int, ...]": (_integers, "N,N,..."),
    "tuple[str, ...]": (_words, "NAME,NAME,..."),
}
