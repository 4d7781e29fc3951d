"""The commands of `handgrad`, each with its description as docstring. Help and argument errors import no torch."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from handgrad.compare.cli.flags import BRIEF, DIFFERENT, EQUAL, STOPPED, UNUSABLE, parser
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
    except KeyboardInterrupt as stopped:
        from traceback import extract_tb

        from handgrad.compare.cli.progress import place_of

        print(f"handgrad: stopped{place_of(extract_tb(stopped.__traceback__))}", file=sys.stderr)
        return STOPPED


def _run(words: list[str]) -> int:
    whole = parser(FUNCTIONS, words)
    if not words:
        whole.print_help()
        return EQUAL
    name = next((word for word in words if not word.startswith("-")), "check")
    if name not in FUNCTIONS:
        raise InputError(f"{name!r} is no command; {did_you_mean(name, FUNCTIONS)}")
    return FUNCTIONS[name](whole.parse_args(words))


def _unusable(message: str) -> int:
    print(f"handgrad: {message}", file=sys.stderr)
    return UNUSABLE


def _located(error: Exception) -> str:
    """An error with the file and line of the user's that it comes from."""
    from handgrad.compare.sandbox import located

    return str(located(error))


# --- what is checked: a file, or the notes' network


def _check(arguments: argparse.Namespace) -> int:
    """Check a file that defines derivation, reference, params and batch (or update, optimizer, params; or trainer,
    reference, optimizer, params, batches; or initializer, torch_initializer, shape; or function, reference, inputs).
    With --reference KEY.py all but the first of these comes from KEY.py.
    Without a file: train the lecture notes' network by hand and in torch.nn on the same weights and batches, and
    compare every intermediate, gradient, velocity and updated weight. Exit 0: all equal, 1: a difference, 2: unusable
    input.
    """
    if arguments.file is not None:
        return _check_file(arguments)
    experiment, data = _fixture(arguments)
    from handgrad.compare.cli.progress import shown
    from handgrad.compare.experiment.run import run
    from handgrad.compare.results import ALONE

    with shown(), redirect_stdout(sys.stderr):  # what manual/ prints is not the report
        report = run(experiment, data, plots=arguments.format in ("html", "json"))
    return _written({ALONE: report}, arguments)


def _check_file(arguments: argparse.Namespace) -> int:
    settings = _settings_of_file(arguments)
    from handgrad.compare.checks.files import check_file
    from handgrad.compare.cli.memory import keep_freed_memory
    from handgrad.compare.cli.progress import shown
    from handgrad.compare.results import ALONE

    keep_freed_memory()
    with shown():
        reports = check_file(arguments.file, arguments.only, settings, arguments.reference)
    sides = "" if arguments.show is None else _sides(arguments.show, reports)
    status = _written(reports if len(reports) > 1 else {ALONE: next(iter(reports.values()))}, arguments)
    if len(reports) > 1 and arguments.extent != BRIEF and (arguments.output is not None or arguments.format == "text"):
        outcomes = (f"{name} {'OK' if report.ok else 'differs'}" for name, report in reports.items())
        print(f"\n{len(reports)} checks of {arguments.file}: {', '.join(outcomes)}.")
    print(sides, end="", flush=True)
    return status


def _sides(name: str, reports: Mapping[str, Report]) -> str:
    """Both sides of a tensor in each check that compared it; InputError where none did, but others were compared."""
    from handgrad.compare.report.text import side_by_side

    if not any(report.rows for report in reports.values()):  # what keeps it from being compared is in the report
        return f"\n{name} is not shown: no tensor was compared\n"
    having = [report for report in reports.values() if any(name == other for _, other in report.arrays)]
    having = having or [max(reports.values(), key=lambda report: len(report.arrays))]  # which says what there is
    parts = (side_by_side(name, report.step_of(name), *report.tensor(name)) for report in having)
    return "".join(f"\n{part}" for part in parts)


FOR_FILES = ("steps", "seed", "dtype")  # of the experiment's flags, those that a file's checks take too


def _settings_of_file(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the flags say to the checks of a file; InputError for flags that set up the notes' network."""
    from handgrad.compare.experiment.settings import Settings, printed_first

    given = _given(arguments)
    foreign = [name for name in (*given, "data") if hasattr(arguments, name) and name not in FOR_FILES]
    if foreign:
        flag = f"--{foreign[0].replace('_', '-')} sets up the notes' network"
        raise InputError(f"{flag} and says nothing about {arguments.file}; leave it out, or leave the file out")
    if "dtype" in given:
        Settings(dtype=given["dtype"])  # raises for an unknown one
        given["precisions"] = printed_first(given.pop("dtype"))
    form = getattr(arguments, "format", "text")
    check_output(arguments.output, arguments.file, form)
    if getattr(arguments, "reference", None) is not None:
        check_output(arguments.output, arguments.reference, form)
    if getattr(arguments, "show", None) is not None and arguments.output is None and form != "text":
        raise InputError(f"--show prints text, which is no {form}; write the report to a file with --output")
    return {name: value for name, value in given.items() if value is not None}


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """The fields of an experiment that the flags give."""
    from dataclasses import fields

    from handgrad.compare.experiment.settings import Settings

    return {item.name: getattr(arguments, item.name) for item in fields(Settings) if hasattr(arguments, item.name)}


def _fixture(arguments: argparse.Namespace) -> tuple[Experiment, Data]:
    """The notes' network and its data as the flags describe them, the layers fitted to the data unless given."""
    does_what = {"only": "picks a check", "show": "shows a tensor of a check", "reference": "is the other side"}
    for flag, does in does_what.items():
        if getattr(arguments, flag, None) is not None:
            said = f"--{flag} {getattr(arguments, flag)} {does} of a file"
            raise InputError(f"{said}; name the file, as in handgrad check FILE.py")
    from handgrad.compare.experiment.settings import Settings

    source, given = getattr(arguments, "data", "breast-cancer"), _given(arguments)
    settings = _completed(given)
    Settings(**settings)  # raises before anything slow is imported
    check_output(arguments.output, source, getattr(arguments, "format", "text"))
    try:
        from handgrad.compare.experiment.data import load
        from handgrad.compare.experiment.run import Experiment  # the first import of manual/
    except (SyntaxError, ImportError, NameError, AttributeError, TypeError) as error:
        raise InputError(f"the code in manual/ cannot be imported: {_located(error)}; mend that line") from None
    data = load(source)
    if "layers" not in given:
        settings["layers"] = (data.X.shape[0], *settings["layers"][1:-1], data.Y.shape[0])
    return Experiment(**settings), data


def _completed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in layers or activations from each other: 16 units a hidden layer, tanh inside, what the loss needs last."""
    from handgrad.compare.experiment.settings import Settings
    from handgrad.compare.operations import names, operation

    depth = len(given["activations"]) if "activations" in given else len(given.get("layers", (30, 16, 1))) - 1
    layers = (30, *(16,) * (depth - 1), 1)
    loss = given.get("loss", Settings.loss)
    last = operation("loss", loss).last if loss in names("loss") else ""
    activations = ("tanh",) * (depth - 1) + (last or "sigmoid",)
    return {"layers": layers, "activations": activations, **given}


def _audit(arguments: argparse.Namespace) -> int:
    """Without a file: plant every known mistake of the notes' network in a run with these settings, and list those
    that it does not reveal, with the smallest change that would. With a file: say what its data, sizes and records
    hide. Always exits 0, unless something is unusable (2).
    """
    if arguments.file is not None:
        settings = _settings_of_file(arguments)
        from handgrad.compare.checks.files import audit_file

        text = "\n".join(_hidden(*item) for item in audit_file(arguments.file, arguments.only, settings).items())
    else:
        experiment, data = _fixture(arguments)
        from handgrad.compare.cli.progress import bar
        from handgrad.compare.faults.audit import audit, render

        text = render(audit(experiment, data, lambda entries: bar(entries, len(entries), "mistake")))
    emit(text, arguments.output)
    return EQUAL


def _hidden(check: str, spots: Iterable[object]) -> str:
    """What a check hides, a line each."""
    lines = "".join(f"  {spot}\n" for spot in spots)
    return f"{check} hides, or makes harder to see:\n{lines}" if lines else f"{check} hides nothing that is known.\n"


# --- reports


def _show(arguments: argparse.Namespace) -> int:
    """Show what handgrad check --format json or pytest --parity-report=FILE.json has stored. Exit 0: all equal, 1:
    a difference, 2: no report.
    """
    from handgrad.compare.report.stored import load_reports

    reports = load_reports(arguments.file)
    check_output(arguments.output, arguments.file, arguments.format)
    return _written(reports, arguments)


def _diff(arguments: argparse.Namespace) -> int:
    """Say which tensors changed verdict or rho from one stored run to another, and in what their environments
    differ. Exit 0: every tensor has the same verdict and rho, 1: one has not, 2: no report.
    """
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
    from handgrad.compare.report.summary import closing, differing, strictly

    if arguments.strict:  # kept with a report, so that `show` exits as the check did
        reports = {name: strictly(report) for name, report in reports.items()}
    colour = arguments.output is None and is_coloured()
    emit(rendered(reports, arguments.format, colour=colour, extent=arguments.extent), arguments.output)
    if arguments.output is not None:
        print("\n".join(line for report in reports.values() for line in closing(report)), flush=True)
    return DIFFERENT if differing(reports) or not reports else EQUAL


# --- grading


def _grade(arguments: argparse.Namespace) -> int:
    """Grade what others have derived by hand: KEY.py has all that a check needs besides, such as reference, params and
    batch, and may have points = {"dW1": 2} and costs = {"autograd": 5}. SUBMISSION is a .py or .ipynb file, or a
    folder of them. Each runs in a process of its own; an equation that is right from a submission's own inputs earns
    its points. Exit 0: graded, 2: unusable input.
    """
    for source in (arguments.key, *arguments.submission):
        check_output(arguments.output, source, "html" if arguments.pages else "text")
    from handgrad.compare.cli.progress import bar
    from handgrad.compare.grading.grade import grades
    from handgrad.compare.grading.key import load_key
    from handgrad.compare.grading.outcomes import FORMATS, not_confined
    from handgrad.compare.grading.pages import write_pages
    from handgrad.compare.grading.submissions import submissions
    from handgrad.compare.grading.worker import Limits

    key = load_key(arguments.key)
    found = submissions(arguments.submission, key.due)
    if arguments.format == "gradescope" and len(found) != 1:
        raise InputError(f"Gradescope reads the results of one submission; name one, not {len(found)}")
    limits = Limits(arguments.seconds, int(arguments.memory * 2**30))
    jobs = arguments.jobs or os.cpu_count() or 1
    graded = grades(found, key, limits, jobs, lambda each: bar(each, len(found), "submission"))
    if arguments.pages is not None:
        write_pages(graded, arguments.level, arguments.pages)
    emit(FORMATS[arguments.format](graded, arguments.level), arguments.output)
    if warning := not_confined(graded):
        print(f"handgrad: {warning}", file=sys.stderr)
    return EQUAL


def _exercise(arguments: argparse.Namespace) -> int:
    """Write a known mistake as an exercise to FILE, and its key to FILE_key.py beside it: with the mistake in it, the
    first wrong tensor told or not, or with every gradient left out. NAME is one of those that handgrad faults lists;
    without it the seed draws one. Files that exist are left as they are.
    """
    from handgrad.compare.grading.exercise import exercise, write_exercise

    key = write_exercise(exercise(arguments.name, arguments.seed, arguments.level), arguments.output)
    print(f"wrote {arguments.output} and {key}; next: handgrad grade {key} {arguments.output}")
    return EQUAL


# --- the template, the notes and the catalogue


def _init(arguments: argparse.Namespace) -> int:
    """Write a short derivation with its torch reference, to be changed into yours. A file that exists is left as
    it is.
    """
    from handgrad.compare.cli.template import write_template

    write_template(arguments.file, broken=arguments.broken)
    print(f"wrote {arguments.file}; next: handgrad check {arguments.file}")
    return EQUAL


def _notes(arguments: argparse.Namespace) -> int:
    """Every statement of the lecture notes: in their own words, as read, corrected, the verdict (holds, corrected,
    convention, supplied) and the evidence, computed by both sides now. With --id the whole story of one.
    """
    check_output(arguments.output, "", arguments.format)
    from handgrad.compare.notes.language import language

    spoken = language(arguments.language)
    from handgrad.compare.notes import show
    from handgrad.compare.notes.statements import STATEMENTS

    chosen = [statement for statement in STATEMENTS if arguments.id in (None, statement.id)]
    if not chosen:
        hint = did_you_mean(arguments.id, [statement.id for statement in STATEMENTS])
        raise InputError(f"--id {arguments.id} is no statement of the notes; {hint}")
    if arguments.format == "text":
        text = show.as_table(chosen, spoken) if arguments.id is None else show.story(chosen[0], spoken)
    else:
        render = {"json": show.as_json, "markdown": show.as_markdown, "html": show.as_page}[arguments.format]
        text = render(chosen, spoken)
    emit(text, arguments.output)
    return EQUAL


def _faults(arguments: argparse.Namespace) -> int:
    """The catalogue of known mistakes. With NAME: the equation wrong and right, the difference in code, what a
    check says of it in numbers, and the lesson. Always exits 0, unless NAME is unknown (2).
    """
    from handgrad.compare.faults.catalogue import catalogue

    fault = _entry(arguments, arguments.name, catalogue(), "is not in the catalogue; {}handgrad faults lists all")
    from handgrad.compare.faults import lesson

    form = arguments.format
    text = lesson.LIST[form]() if fault is None else lesson.ONE[form](lesson.prepared(fault, arguments.seed))
    emit(text, arguments.output)
    return EQUAL


def _explain(arguments: argparse.Namespace) -> int:
    """Every cause that a finding may have, in a line each. With CAUSE: what it means, an example of it wrong and
    right with what a check says, and how to tell it from others. Always exits 0, unless CAUSE is unknown (2).
    """
    from handgrad.compare.faults.explanations import explanations

    cause = _entry(arguments, arguments.cause, explanations(), "is no cause; {}handgrad explain lists all")
    from handgrad.compare.faults import explain

    form = arguments.format
    emit(explain.LIST[form]() if cause is None else explain.ONE[form](cause), arguments.output)
    return EQUAL


def _entry(arguments: argparse.Namespace, name: str | None, entries: Mapping[str, Any], unknown: str) -> Any:
    """The entry of a name, None without one, before anything slow is done; InputError for one that is unknown."""
    if name is not None and name not in entries:
        raise InputError(f"{name!r} {unknown.format(nearest(name, entries))}")
    check_output(arguments.output, "", arguments.format)
    return None if name is None else entries[name]


_COMMANDS = (_check, _init, _show, _notes, _faults, _explain, _diff, _audit, _grade, _exercise)
FUNCTIONS: dict[str, Callable[[argparse.Namespace], int]] = {f.__name__.removeprefix("_"): f for f in _COMMANDS}
