"""The commands of `handgrad`. Help and argument errors import neither torch nor NumPy."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from handgrad.compare.cli.flags import COMMANDS, DIFFERENT, EQUAL, UNUSABLE, parser
from handgrad.compare.cli.output import check_output, emit, is_coloured, rendered
from handgrad.compare.errors import InputError, did_you_mean, nearest

if TYPE_CHECKING:
    from handgrad.compare.experiment.data import Data
    from handgrad.compare.experiment.run import Experiment
    from handgrad.compare.report.report import Report


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns 0 if all is equal, 1 if something differs, 2 if arguments or input are unusable."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may hold what the terminal cannot show
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except InputError as error:
        return _unusable(str(error))
    except SyntaxError as error:  # in a file of manual/ that was edited
        return _unusable(f"{_located(error)}; mend that line")
    except BrokenPipeError:  # the reader has seen enough, as in `handgrad check | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNUSABLE
    except MemoryError:
        return _unusable("this run does not fit into memory; use narrower --layers or a smaller --batch-size")
    except OSError as error:
        return _unusable(f"the report cannot be written ({error.strerror}); free some space or name another --output")
    except KeyboardInterrupt:
        return 130


def _run(words: list[str]) -> int:
    whole = parser(FUNCTIONS, words)
    if not words:
        whole.print_help()
        return EQUAL
    name = next((word for word in words if not word.startswith("-")), "check")
    if name not in COMMANDS:
        raise InputError(f"{name!r} is no command; {did_you_mean(name, COMMANDS)}")
    arguments = whole.parse_args(words)
    return int(arguments.function(arguments))


def _unusable(message: str) -> int:
    encoding = getattr(sys.stderr, "encoding", None) or "ascii"
    print(f"handgrad: {message}".encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr)
    return UNUSABLE


def _located(error: Exception) -> str:
    """An error with the file and line of the user's that it comes from."""
    from handgrad.compare.sandbox import located

    return str(located(error))


# --- what is checked: a file, or the notes' network


def _check(arguments: argparse.Namespace) -> int:
    """`handgrad check`: the checks of a file, or the notes' network on data, both sides."""
    return _check_network(arguments) if arguments.file is None else _check_file(arguments)


def _check_network(arguments: argparse.Namespace) -> int:
    experiment, data = _fixture(arguments)
    from handgrad.compare.experiment.run import run
    from handgrad.compare.results import ALONE

    with redirect_stdout(sys.stderr):  # what manual/ prints is not the report
        report = run(experiment, data, plots=arguments.format in ("html", "json"))
    return _written({ALONE: report}, arguments)


def _check_file(arguments: argparse.Namespace) -> int:
    settings = _settings_of_file(arguments)
    from handgrad.compare.checks.files import check_file
    from handgrad.compare.results import ALONE

    reports = check_file(arguments.file, arguments.only, settings)
    if len(reports) == 1:
        return _written({ALONE: next(iter(reports.values()))}, arguments)
    status = _written(reports, arguments)
    if arguments.output is not None or arguments.format == "text":
        outcomes = (f"{name} {'OK' if report.ok else 'differs'}" for name, report in reports.items())
        print(f"\n{len(reports)} checks of {arguments.file}: {', '.join(outcomes)}.")
    return status


FOR_FILES = ("steps", "seed", "dtype")  # of the experiment's flags, those that a file's checks take too


def _settings_of_file(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the flags say to the checks of a file; InputError for flags that set up the notes' network."""
    from dataclasses import fields

    from handgrad.compare.experiment.settings import Settings, printed_first

    flags = [*(item.name for item in fields(Settings)), "data"]
    foreign = [name for name in flags if hasattr(arguments, name) and name not in FOR_FILES]
    if foreign:
        raise InputError(
            f"--{foreign[0].replace('_', '-')} sets up the notes' network and says nothing about {arguments.file}; "
            "leave it out, or leave the file out"
        )
    given = ((name, getattr(arguments, name, None)) for name in ("steps", "seed"))
    settings: dict[str, Any] = {name: value for name, value in given if value is not None}
    if hasattr(arguments, "dtype"):
        Settings(dtype=arguments.dtype)  # raises for an unknown one
        settings["precisions"] = printed_first(arguments.dtype)
    check_output(arguments.output, arguments.file, getattr(arguments, "format", "text"))
    return settings


def _fixture(arguments: argparse.Namespace) -> tuple[Experiment, Data]:
    """The notes' network and its data as the flags describe them, the layers fitted to the data unless given."""
    if arguments.only is not None:
        raise InputError(
            f"--only {arguments.only} picks a check of a file; name the file, as in handgrad check FILE.py"
        )
    from dataclasses import fields, replace

    from handgrad.compare.experiment.settings import Settings

    source = getattr(arguments, "data", "breast-cancer")
    given = {item.name: getattr(arguments, item.name) for item in fields(Settings) if hasattr(arguments, item.name)}
    settings = _completed(given)
    Settings(**settings)  # raises before anything slow is imported
    check_output(arguments.output, source, getattr(arguments, "format", "text"))
    try:
        from handgrad.compare.experiment.data import load
        from handgrad.compare.experiment.run import Experiment  # the first import of manual/
    except (SyntaxError, ImportError, NameError, AttributeError, TypeError) as error:
        raise InputError(f"the code in manual/ cannot be imported: {_located(error)}; mend that line") from None
    experiment, data = Experiment(**settings), load(source)
    if "layers" not in given:
        layers = (data.X.shape[0], *experiment.layers[1:-1], data.Y.shape[0])
        experiment = replace(experiment, layers=layers)
    return experiment, data


def _completed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in layers or activations from each other: hidden layers of 16 units, tanh inside and sigmoid at the end."""
    depth = len(given["activations"]) if "activations" in given else len(given.get("layers", (30, 16, 1))) - 1
    layers = (30, *(16,) * (depth - 1), 1)
    activations = ("tanh",) * (depth - 1) + ("sigmoid",)
    return {"layers": layers, "activations": activations, **given}


def _audit(arguments: argparse.Namespace) -> int:
    """`handgrad audit`: what a fixture could not reveal."""
    if arguments.file is not None:
        settings = _settings_of_file(arguments)
        from handgrad.compare.checks.files import audit_file

        text = "\n".join(_hidden(*item) for item in audit_file(arguments.file, arguments.only, settings).items())
    else:
        experiment, data = _fixture(arguments)
        from handgrad.compare.faults.audit import audit, render

        text = render(audit(experiment, data, _progress))
    emit(text, arguments.output)
    return EQUAL


def _hidden(check: str, spots: Iterable[object]) -> str:
    """What a check hides, a line each."""
    lines = "".join(f"  {spot}\n" for spot in spots)
    return f"{check} hides, or makes harder to see:\n{lines}" if lines else f"{check} hides nothing that is known.\n"


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


# --- reports


def _show(arguments: argparse.Namespace) -> int:
    """`handgrad show`: a stored report, in any format."""
    from handgrad.compare.report.stored import load_reports

    reports = load_reports(arguments.file)
    check_output(arguments.output, arguments.file, arguments.format)
    return _written(reports, arguments)


def _diff(arguments: argparse.Namespace) -> int:
    """`handgrad diff`: two stored reports against each other."""
    from handgrad.compare.report.diff import difference, render
    from handgrad.compare.report.stored import load_reports

    files = (arguments.first, arguments.second)
    changes = difference(load_reports(arguments.first), load_reports(arguments.second), files)
    for file in files:
        check_output(arguments.output, file)
    emit(render(changes, arguments.format), arguments.output)
    return EQUAL if changes.equal else DIFFERENT


def _written(reports: Mapping[str, Report], arguments: argparse.Namespace) -> int:
    """Print the reports, or write them to --output and print the two closing lines of each; the exit status."""
    from dataclasses import replace

    from handgrad.compare.report.summary import closing, differing

    if arguments.strict:  # kept with a report, so that `show` exits as the check did
        reports = {
            name: replace(report, environment={**report.environment, "strict": True})
            for name, report in reports.items()
        }
    text = rendered(
        reports,
        arguments.format,
        colour=arguments.output is None and is_coloured(),
        table=arguments.table,
    )
    emit(text, arguments.output)
    if arguments.output is not None:
        print("\n".join(line for report in reports.values() for line in closing(report)), flush=True)
    return DIFFERENT if differing(reports) or not reports else EQUAL


# --- the template, the notes and the catalogue


def _init(arguments: argparse.Namespace) -> int:
    """`handgrad init`: a short runnable file."""
    from handgrad.compare.cli.template import write_template

    write_template(arguments.file, broken=arguments.broken)
    print(f"wrote {arguments.file}; next: handgrad check {arguments.file}")
    return EQUAL


def _notes(arguments: argparse.Namespace) -> int:
    """`handgrad notes`: every statement of the lecture notes, or one of them."""
    check_output(arguments.output, "", arguments.format)
    from handgrad.compare.notes import show
    from handgrad.compare.notes.statements import STATEMENTS

    chosen = [statement for statement in STATEMENTS if arguments.id in (None, statement.id)]
    if not chosen:
        hint = did_you_mean(arguments.id, [statement.id for statement in STATEMENTS])
        raise InputError(f"--id {arguments.id} is no statement of the notes; {hint}")
    if arguments.format == "text":
        text = show.as_table(chosen) if arguments.id is None else show.story(chosen[0])
    else:
        text = {"json": show.as_json, "markdown": show.as_markdown, "html": show.as_page}[arguments.format](chosen)
    emit(text, arguments.output)
    return EQUAL


def _faults(arguments: argparse.Namespace) -> int:
    """`handgrad faults`: the catalogue, or one entry of it."""
    from handgrad.compare.faults.catalogue import catalogue

    entries = catalogue()
    if arguments.name is not None and arguments.name not in entries:
        raise InputError(
            f"{arguments.name!r} is not in the catalogue; {nearest(arguments.name, entries)}handgrad faults lists all"
        )
    check_output(arguments.output, "", arguments.format)
    from handgrad.compare.faults import lesson

    if arguments.name is None:
        whole = {"json": lesson.listed_as_json, "markdown": lesson.listed_as_markdown, "html": lesson.listed_as_page}
        text = whole.get(arguments.format, lesson.listed)()
    else:
        one = {"json": lesson.as_json, "markdown": lesson.as_markdown, "html": lesson.as_page}
        text = one.get(arguments.format, lesson.as_text)(lesson.prepared(entries[arguments.name], arguments.seed))
    emit(text, arguments.output)
    return EQUAL


FUNCTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "check": _check,
    "init": _init,
    "show": _show,
    "notes": _notes,
    "faults": _faults,
    "diff": _diff,
    "audit": _audit,
}
