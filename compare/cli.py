"""The command line: `handgrad`. Help and argument errors import neither torch nor NumPy."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, fields, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from compare.errors import InputError
from compare.experiment import Experiment, printed_first
from compare.report import ALONE, Report

if TYPE_CHECKING:
    from compare.data import Data

__all__ = ["main"]

EQUAL, DIFFERENT, UNUSABLE = 0, 1, 2


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns 0 if all is equal, 1 if something differs, 2 if arguments or input are unusable."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may hold what the terminal cannot show
    try:
        arguments = _parser().parse_args(argv)
        return int(arguments.command(arguments))
    except InputError as error:
        return _unusable(str(error))
    except BrokenPipeError:  # the reader has seen enough, as in `handgrad check | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNUSABLE
    except MemoryError:
        return _unusable("this run does not fit into memory; use narrower --layers or a smaller --batch-size")
    except OSError as error:
        return _unusable(f"the report cannot be written ({error.strerror}); free some space or name another --output")
    except KeyboardInterrupt:
        return 130


def _unusable(message: str) -> int:
    print(f"handgrad: {message}".encode("ascii", "backslashreplace").decode(), file=sys.stderr)
    return UNUSABLE


def _check(arguments: argparse.Namespace) -> int:
    """`handgrad check`: the checks of a file, or the notes' network on data, both sides."""
    return _check_network(arguments) if arguments.file is None else _check_file(arguments)


FOR_FILES = ("steps", "seed", "dtype")  # of the experiment's flags, those that a file's checks take too


def _settings_of_file(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the flags say to the checks of a file; InputError for flags that set up the notes' network."""
    flags = [*(item.name for item in fields(Experiment)), "data"]
    foreign = [name for name in flags if hasattr(arguments, name) and name not in FOR_FILES]
    if foreign:
        raise InputError(
            f"--{foreign[0].replace('_', '-')} sets up the notes' network and says nothing about {arguments.file}; "
            "leave it out, or leave the file out"
        )
    given = ((name, getattr(arguments, name, None)) for name in ("steps", "seed"))
    settings: dict[str, Any] = {name: value for name, value in given if value is not None}
    if hasattr(arguments, "dtype"):
        Experiment(dtype=arguments.dtype)  # raises for an unknown one
        settings["precisions"] = printed_first(arguments.dtype)
    _check_output(arguments.output, arguments.file)
    return settings


def _check_file(arguments: argparse.Namespace) -> int:
    """The checks that a file defines."""
    settings = _settings_of_file(arguments)
    from compare.files import check_file

    reports = check_file(arguments.file, arguments.only, settings)
    status = _written(reports if len(reports) > 1 else {ALONE: next(iter(reports.values()))}, arguments)
    if len(reports) > 1 and (arguments.output is not None or arguments.format == "text"):
        outcomes = (f"{name} {'OK' if report.ok else 'differs'}" for name, report in reports.items())
        print(f"\n{len(reports)} checks of {arguments.file}: {', '.join(outcomes)}.")
    return status


def _show(arguments: argparse.Namespace) -> int:
    """`handgrad show`: a stored report, in any format."""
    from compare.report.json import load_reports

    reports = load_reports(arguments.file)
    _check_output(arguments.output, arguments.file)
    return _written(reports, arguments)


def _diff(arguments: argparse.Namespace) -> int:
    """`handgrad diff`: two stored reports against each other."""
    from compare.report.diff import difference, render
    from compare.report.json import load_reports

    found = difference(
        load_reports(arguments.first), load_reports(arguments.second), (arguments.first, arguments.second)
    )
    for file in (arguments.first, arguments.second):
        _check_output(arguments.output, file)
    _emit(render(found, arguments.format), arguments.output)
    return EQUAL if found.equal else DIFFERENT


def _init(arguments: argparse.Namespace) -> int:
    """`handgrad init`: a short runnable file."""
    from compare.template import write_template

    write_template(arguments.file, broken=arguments.broken)
    print(f"wrote {arguments.file}; next: handgrad check {arguments.file}")
    return EQUAL


def _audit(arguments: argparse.Namespace) -> int:
    """`handgrad audit`: what a fixture could not reveal."""
    if arguments.file is not None:
        return _audit_file(arguments)
    experiment, data = _fixture(arguments)
    from compare.audit import audit, render

    _emit(render(audit(experiment, data, _progress)), arguments.output)
    return EQUAL


def _audit_file(arguments: argparse.Namespace) -> int:
    """What the checks of a file could not reveal."""
    settings = _settings_of_file(arguments)
    from compare.files import audit_file

    _emit(audit_file(arguments.file, arguments.only, settings), arguments.output)
    return EQUAL


def _progress(entries: tuple[Any, ...]) -> Iterable[Any]:
    """The entries with a bar on a terminal, as they are in a pipe."""
    if not sys.stderr.isatty():
        return entries
    try:
        from tqdm import tqdm
    except ImportError:  # it comes with the extra `report`
        return entries
    bar: Iterable[Any] = tqdm(entries, unit="mistake", leave=False)
    return bar


def _emit(text: str, output: str | None) -> None:
    if output is None:
        print(text, end="", flush=True)
    else:
        _save(text, output)


def _notes(arguments: argparse.Namespace) -> int:
    """`handgrad notes`: every statement of the lecture notes, or one of them."""
    from compare.errors import did_you_mean

    _check_output(arguments.output, "")
    from compare.notes.show import as_json, as_table, story
    from compare.notes.statements import STATEMENTS

    chosen = [statement for statement in STATEMENTS if arguments.id in (None, statement.id)]
    if not chosen:
        hint = did_you_mean(arguments.id, [statement.id for statement in STATEMENTS])
        raise InputError(f"--id {arguments.id} is no statement of the notes; {hint}")
    if arguments.format == "json":
        _emit(as_json(chosen), arguments.output)
    else:
        _emit(as_table(chosen) if arguments.id is None else story(chosen[0]), arguments.output)
    return EQUAL


def _faults(arguments: argparse.Namespace) -> int:
    """`handgrad faults`: the catalogue, or one entry of it."""
    from compare.errors import did_you_mean
    from compare.faults import catalogue

    entries = catalogue()
    if arguments.name is not None and arguments.name not in entries:
        close = did_you_mean(arguments.name, entries).partition("known are")[0]
        raise InputError(f"{arguments.name!r} is not in the catalogue; {close}handgrad faults lists all")
    _check_output(arguments.output, "")
    from compare.faults.lesson import lesson, listed

    _emit(listed() if arguments.name is None else lesson(entries[arguments.name], arguments.seed), arguments.output)
    return EQUAL


def _check_network(arguments: argparse.Namespace) -> int:
    """The notes' network on data, both sides."""
    experiment, data = _fixture(arguments)
    from compare import lockstep

    return _written({ALONE: lockstep.run(experiment, data)}, arguments)


def _fixture(arguments: argparse.Namespace) -> tuple[Experiment, Data]:
    """The notes' network and its data as the flags describe them, the layers fitted to the data unless given."""
    if arguments.only is not None:
        raise InputError(
            f"--only {arguments.only} picks a check of a file; name the file, as in handgrad check FILE.py"
        )
    source = getattr(arguments, "data", "breast-cancer")
    given = {item.name: getattr(arguments, item.name) for item in fields(Experiment) if hasattr(arguments, item.name)}
    experiment = Experiment(**_completed(given))
    _check_output(arguments.output, source)

    try:
        from compare import lockstep  # noqa: F401  # the first import of manual/
        from compare.data import load
    except (SyntaxError, ImportError, NameError, AttributeError, TypeError) as error:
        raise InputError(f"the code in manual/ cannot be imported: {_located(error)}; mend that line") from None

    data = load(source)
    if "layers" not in given:
        layers = (data.X.shape[0], *experiment.layers[1:-1], data.Y.shape[0])
        experiment = replace(experiment, layers=layers)
    return experiment, data


def _completed(given: dict[str, Any]) -> dict[str, Any]:
    """Fill in layers or activations from each other: hidden layers of 16 units, tanh inside and sigmoid at the end."""
    depth = len(given["activations"]) if "activations" in given else len(given.get("layers", (30, 16, 1))) - 1
    layers = (30, *(16,) * (depth - 1), 1)
    activations = ("tanh",) * (depth - 1) + ("sigmoid",)
    return {"layers": layers, "activations": activations, **given}


def _located(error: Exception) -> str:
    """An error on import with the file and line of the user's that it comes from."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__} in {Path(error.filename).name} line {error.lineno}: {error.msg}"
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = f" in {Path(frame.tb_frame.f_code.co_filename).name} line {frame.tb_lineno}" if frame else ""
    return f"{type(error).__name__}{place}: {error}"


def _check_output(output: str | None, data: str) -> None:
    """Refuse an output that cannot be written or that would destroy the input, before any work is done."""
    if output is None:
        return
    path = Path(output)
    try:
        folder = path.is_dir() or output.endswith("/") or not path.parent.is_dir()
        same = path.exists() and Path(data).exists() and path.samefile(data)
        fifo = path.is_fifo()
    except (OSError, ValueError):
        raise InputError(f"--output {output} is no name that a file can have; name another file") from None
    if folder:
        raise InputError(
            f"--output {output!r} is a folder or lies in one that does not exist; name a file in an existing one"
        )
    if same:
        raise InputError(f"--output {output} is the input file itself and would be overwritten; name another file")
    if path.suffix == ".py":
        raise InputError(f"--output {output} is the name of a program and would replace it; name a .txt or .json file")
    if fifo:
        raise InputError(f"--output {output} is a pipe and would wait for a reader; name a file")


def _written(reports: Mapping[str, Report], arguments: argparse.Namespace) -> int:
    """Print the reports, or write them to --output and print the two closing lines of each; the exit status."""
    from compare.report.summary import closing, differing, fails

    if arguments.output is None:
        print(_rendered(reports, arguments.format, _colour()), end="", flush=True)
    else:
        _save(_rendered(reports, arguments.format, colour=False), arguments.output)
        print("\n".join(line for report in reports.values() for line in closing(report)), flush=True)
    failed = any(fails(report, arguments.strict) for report in reports.values())
    return DIFFERENT if failed or differing(reports) or not reports else EQUAL


def _save(text: str, output: str) -> None:
    try:
        _replace(Path(output), text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise InputError(f"--output {output} cannot be written ({error.strerror}); name another file") from None


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


def _rendered(reports: Mapping[str, Report], form: str, colour: bool) -> str:
    """One report, or several by name, in a format."""
    if form == "text":
        from compare.report.text import render, render_all

        return render(reports[ALONE], colour=colour) if [*reports] == [ALONE] else render_all(reports, colour=colour)
    renderer = import_module(f"compare.report.{form}")
    return str(renderer.render(reports[ALONE]) if [*reports] == [ALONE] else renderer.render_all(reports))


def _colour() -> bool:
    return sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")


class _Parser(argparse.ArgumentParser):
    """Argument errors in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(UNUSABLE, f"{self.prog}: {' '.join(message.split())}; see {self.prog} --help\n")


class _Version(argparse.Action):
    """`--version`, looked up only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> NoReturn:
        from importlib.metadata import version

        print(f"handgrad {version('handgrad')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="handgrad", description="Check a backward pass derived by hand in NumPy against PyTorch.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    check = commands.add_parser(
        "check",
        help="check a file of yours, or the notes' network by hand and in torch.nn, side by side",
        description="Check a file that defines derivation, reference, params and batch (or update, optimizer, params; "
        "or trainer, reference, optimizer, params, batches; or initializer, torch_initializer, shape). Without a file: "
        "train the lecture notes' network by hand and in torch.nn on the same weights and batches, and compare every "
        "intermediate, gradient, velocity and updated weight. Exit 0: all equal, 1: a difference, 2: unusable input.",
    )
    check.set_defaults(command=_check)
    _add_subject(check)
    _add_rendering(check)
    _add_strict(check)
    init = commands.add_parser(
        "init",
        help="write a short runnable file to start from",
        description="Write a short derivation with its torch reference, to be changed into yours. "
        "A file that exists is left as it is.",
    )
    init.set_defaults(command=_init)
    init.add_argument("file", metavar="FILE.py", help="the new file")
    init.add_argument("--broken", action="store_true", help="with one mistake, to see what a check says")
    show = commands.add_parser(
        "show",
        help="show a report that was stored as JSON, in any format",
        description="Show what handgrad check --format json or pytest --parity-report=FILE.json has stored. "
        "Exit 0: all equal, 1: a difference, 2: no report.",
    )
    show.set_defaults(command=_show)
    show.add_argument("file", metavar="FILE.json", help="a stored report")
    _add_rendering(show)
    _add_strict(show)
    notes = commands.add_parser(
        "notes",
        help="show the lecture notes statement by statement: as written, corrected, proved in numbers",
        description="Every statement of the lecture notes: as written, corrected, the verdict (holds, corrected, "
        "convention, supplied) and the evidence, computed by both sides now. With --id the whole story of one.",
    )
    notes.set_defaults(command=_notes)
    notes.add_argument("--id", metavar="ID", help="one statement, such as L2")
    notes.add_argument("--format", choices=("text", "json"), default="text", help="how to show it (default text)")
    notes.add_argument("--output", metavar="FILE", help="write it to FILE, replacing that")
    faults = commands.add_parser(
        "faults",
        help="list known mistakes, or show one: its equation, its code, its numbers and what to learn from it",
        description="The catalogue of known mistakes. With NAME: the equation wrong and right, the difference in code, "
        "what a check says of it in numbers, and the lesson. Always exits 0, unless NAME is unknown (2).",
    )
    faults.set_defaults(command=_faults)
    faults.add_argument("name", nargs="?", metavar="NAME", help="an entry of the catalogue")
    faults.add_argument("--seed", type=_natural, default=0, metavar="N", help="draws the sizes and data (default 0)")
    faults.add_argument("--output", metavar="FILE", help="write it to FILE, replacing that")
    diff = commands.add_parser(
        "diff",
        help="compare two reports that were stored as JSON",
        description="Say which tensors changed verdict or rho from one stored run to another, and in what their "
        "environments differ. Exit 0: every tensor has the same verdict and rho, 1: one has not, 2: no report.",
    )
    diff.set_defaults(command=_diff)
    diff.add_argument("first", metavar="A.json", help="a stored report")
    diff.add_argument("second", metavar="B.json", help="another of the same check")
    _add_rendering(diff)
    audit = commands.add_parser(
        "audit",
        help="say which known mistakes a fixture could not reveal",
        description="Without a file: plant every known mistake of the notes' network in a run with these settings, and "
        "list those that it does not reveal, with the smallest change that would. With a file: say what its data, "
        "sizes and records hide. Always exits 0, unless something is unusable (2).",
    )
    audit.set_defaults(command=_audit)
    _add_subject(audit)
    audit.add_argument("--output", metavar="FILE", help="write it to FILE, replacing that")
    for command in (check, audit):
        group = command.add_argument_group("the experiment (a file takes --steps, --seed and --dtype)")
        for item in fields(Experiment):
            _add_flag(group, item)
    return parser


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


def _add_rendering(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--format", choices=("text", "json", "markdown"), default="text", help="how to show it (default text)"
    )
    command.add_argument(
        "--output", metavar="FILE", help="write it to FILE, replacing that, and print the outcome only"
    )


def _add_strict(command: argparse.ArgumentParser) -> None:
    command.add_argument("--strict", action="store_true", help="exit 1 also where a right formula loses digits")


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
    assert default is not MISSING
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
