"""The rows of the speed benchmark: each function measures some of them side by side and yields its targets."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch

from handgrad.compare.experiment.run import run
from handgrad.compare.verdict.differences import measured
from tests.benchmarks import speed_curves as curves
from tests.benchmarks.networks import Case
from tests.benchmarks.speed_large import LARGE, SMALL, Subject, bare, beyond_records, checked, training
from tests.benchmarks.speed_subjects import (
    assert_close_loop,
    fixture,
    generic,
    gradcheck,
    parameters,
    random_experiments,
    step_by_hand,
    step_in_torch,
    whole_run,
)
from tests.benchmarks.timing import Target, interleaved, ratio, started
from tests.benchmarks.verdict_costs import extra_costs, step_costs

__all__ = ["PARTS"]

assert_close = torch.testing.assert_close
STEP_OF_THE_NOTES = [
    *[(16, 32)] * 4, *[(1, 32)] * 4, (), (1, 16), (1, 1), (16, 30), (16, 1), (16, 30), (16, 30), (16, 1),
]  # fmt: skip


def small_tensors(rounds: int, seed: int) -> Iterator[Target]:
    """One tensor of 1000 numbers, and sixteen of one step of the notes' network, 30-16-1 in batches of 32."""
    rng = np.random.default_rng(seed)
    pairs = [(a := np.asarray(rng.standard_normal(shape)), np.nextafter(a, 0)) for shape in STEP_OF_THE_NOTES]
    one = rng.standard_normal((20, 50))
    pair = one, np.nextafter(one, 0)
    tensors = [tuple(map(torch.tensor, each)) for each in pairs]
    ours, theirs = (list(side) for side in zip(*tensors, strict=True))
    both = tuple(map(torch.from_numpy, pair))
    timed = interleaved(
        {
            "one": lambda: measured(*pair),
            "one, torch": lambda: assert_close(*both),
            "list": lambda: [measured(*each) for each in pairs],
            "each, torch": lambda: [assert_close(*each) for each in tensors],
            "list, torch": lambda: assert_close(ours, theirs),
        },
        rounds,
    )
    yield faster("comparing one tensor of 1000 numbers, against assert_close", 9, timed, "one, torch", "one")
    yield faster("comparing 16 small tensors, against assert_close on each", 25, timed, "each, torch", "list")
    yield faster("comparing 16 small tensors, against assert_close on the lists", 25, timed, "list, torch", "list")


def training_steps(rounds: int, seed: int) -> Iterator[Target]:
    """One step of manual.training beside torch.nn and torch.optim.SGD, float64; with momentum in the details."""
    for layers, n, hidden, limit in (
        ((30, 16, 1), 32, "tanh", 6.0),
        ((784, 128, 64, 1), 128, "relu", 1.4),
        ((784, 512, 512, 10), 256, "relu", 1.05),
        ((1024,) * 9, 256, "relu", 1.0),
    ):
        other = "relu" if hidden == "tanh" else "tanh"
        cases = {
            "": fixture(layers, n, hidden=hidden, optimizer="gradient-descent"),
            other: fixture(layers, n, hidden=other, optimizer="gradient-descent"),
            "momentum": fixture(layers, n, hidden=hidden),
        }
        acts: dict[str, Callable[[], object]] = {}
        for name, case in cases.items():
            acts |= {f"hand{name}": step_by_hand(*case), f"torch{name}": step_in_torch(*case)}
        timed = interleaved(acts, rounds)
        what = "-".join(map(str, layers)) if len(layers) < 9 else "eight layers of 1024"
        more = ", ".join(
            f"with {name} {ratio(timed, f'torch{name}', f'hand{name}'):.3g} x" for name in (other, "momentum")
        )
        title = f"a training step by hand, {what}, {hidden}, batch {n}, against torch.nn and SGD"
        yield faster(title, limit, timed, "torch", "hand", more)


def whole_checks(rounds: int, seed: int) -> Iterator[Target]:
    """A judged step, and check_gradients with all it does, beside gradcheck on the same network.

    The slow mode costs two evaluations a parameter, the fast one a few a tensor, so that it depends on the depth.
    """
    steps = 64
    for layers, least in (((64, 64, 12), 1.3), ((30, 16, 1), 1.3), ((30, 30, 30, 30, 30, 30, 4), 2.0)):
        experiment, source = fixture(layers, 32, steps, batches=2)
        one = experiment, (source[0][:32], source[1][:32])
        acts = {"run": whole_run(experiment, source), "generic": generic(*one), "fast": gradcheck(*one, fast=True)}
        if len(layers) == 3:
            acts["slow"] = gradcheck(*one, fast=False)
        timed = interleaved(acts, max(3, rounds // 2))
        timed["step"] = timed["run"] / steps
        what = f"{len(layers) - 1} layers, {parameters(experiment)} parameters"
        for name, act, slow, fast in (("a judged step", "step", 500, 3), ("check_gradients", "generic", 200, least)):
            if "slow" in acts:
                yield faster(f"{name}, {what}, against gradcheck", slow, timed, "slow", act)
            yield faster(f"{name}, {what}, against gradcheck in fast mode", fast, timed, "fast", act)


def wrong_and_large(rounds: int, seed: int) -> Iterator[Target]:
    """What a check costs where nothing is small or something is wrong: in seconds, runs and MiB."""
    for name, made in SMALL.items():
        yield from _wrong(name, made(), rounds, 1.0)
    for name, made in LARGE.items():
        subject = made()
        acts = {"bare": lambda s=subject: bare(s), "check": lambda s=subject: checked(s, s.derivation)}
        timed = interleaved(acts, max(2, rounds // 5), least=0.0)
        times = f"{shown(timed['check'])} and {shown(timed['bare'])}"
        yield Target(
            f"right, {name}, times two bare runs of each side", 2.5, ratio(timed, "check", "bare"), detail=times
        )
        yield Target(f"right, {name}, peak beyond inputs and records", 500, beyond_records(name), "MiB")
        yield from _wrong(name, subject, max(1, rounds // 15), 4.0)
        hand, torch_side, _ = checked(subject, subject.wrong)
        yield Target(f"wrong, {name}, calls of the derivation", 12, hand, "")
        yield Target(f"wrong, {name}, runs of the reference", 16, torch_side, "")


def _wrong(name: str, subject: Subject, rounds: int, limit: float) -> Iterator[Target]:
    acts = {side: lambda d=d: checked(subject, d) for side, d in (("right", subject.derivation), ("it", subject.wrong))}
    timed = interleaved(acts, rounds, least=0.0)
    *_, (first, *_) = checked(subject, subject.wrong)
    said, extra = f"{first.where.name}: {first.cause.code}", float(median(timed["it"] - timed["right"]))
    yield Target(f"wrong, {name}, with the name, beyond right", limit, extra, "s", detail=said)


def unexplained_training(rounds: int, seed: int) -> Iterator[Target]:
    """check_training of five steps of 784-100-10, whose gradient of W1 nothing explains."""
    check, reference = training()
    check()
    runs = reference.calls
    timed = interleaved({"check": check}, max(2, rounds // 5), least=0.0)
    yield Target("check_training, unexplained, 784-100-10, 5 steps", 0.5, float(median(timed["check"])), "s")
    yield Target("check_training, unexplained, 784-100-10, 5 steps, runs of the reference", 60, runs, "")


def checks_from_the_shell(rounds: int, seed: int) -> Iterator[Target]:
    """`handgrad check` and `handgrad check FILE` beyond `import torch`."""
    with tempfile.TemporaryDirectory() as folder:
        file, root = str(Path(folder) / "mine.py"), Path(__file__).resolve().parents[2]
        environment = os.environ | {"PYTHONPATH": str(root), "PYTHONPYCACHEPREFIX": f"{folder}/compiled"}
        environment["PYTHONDONTWRITEBYTECODE"] = ""  # as when installed
        run_it = "import sys; from handgrad.compare.cli import main; main(sys.argv[1:])"
        subprocess.run([sys.executable, "-c", run_it, "init", file], capture_output=True, check=True, env=environment)
        commands = {"torch": ["-c", "import torch"], "check": ["-c", run_it, "check"]}
        commands["file"] = ["-c", run_it, "check", file]
        timed = started(commands, max(3, rounds // 2), cwd=folder, env=environment)
        for what, name, limit in (("check", "check", 0.4), ("check FILE", "file", 0.3)):
            extra, own = float(median(timed[name] - timed["torch"])), shown(timed["torch"])
            yield Target(f"handgrad {what}, over import torch", limit, extra, "s", detail=f"import torch {own}")


def verdicts(rounds: int, seed: int) -> Iterator[Target]:
    """The verdict's own share, in units of a torch step: see tests.benchmarks.verdict_costs."""
    costs = extra_costs(seed, rounds=max(3, rounds // 2))
    experiment, source = fixture((784, 128, 64, 10), 128)
    wide = step_costs(Case(experiment, *source, 1.0), rounds=max(3, rounds // 3), steps=16)
    of_wide = {"registry": [wide["verdict"] / wide["step"]], "all in": [(wide["full"] - wide["plain"]) / wide["step"]]}
    for what, limit, values in (
        ("the notes' network up to 64 wide", 1.0, costs["registry"]),
        ("784-128-64-10", 2.5, of_wide["registry"]),
        ("a user's reference", 8.0, costs["generic"]),
    ):
        whole = {1.0: costs["all in"], 2.5: of_wide["all in"]}.get(limit)
        detail = f"{min(values):.2g} to {max(values):.2g}" if len(values) > 1 else ""
        if whole is not None:
            detail += f" the second precision and the replay as well: {median(whole):.2g}"
        yield Target(f"extra cost of the verdict, in torch steps, {what}", limit, median(values), detail=detail)


def growth(rounds: int, seed: int) -> Iterator[Target]:
    """How cost and memory grow."""
    by_parameters = curves.against_parameters(curves.PARAMETERS, max(3, rounds // 5))
    by_steps = curves.against_steps(curves.STEPS, max(3, rounds // 5))
    for what, curve, name in (
        ("parameters, 1e3 to 1e7", by_parameters, "a judged step"),
        ("parameters, 1e5 to 1e7, where they outweigh the calls", curves.beyond(by_parameters, 10**5), "a judged step"),
        ("steps, 16 to 1024", by_steps, "a whole run"),
    ):
        detail = f"ms {' '.join(f'{1000 * cost:.3g}' for cost in curve[1][name])}"
        if "a training step in torch" in curve[1]:
            detail += f", torch's own {curves.exponent(curve, 'a training step in torch'):.3g}"
        yield Target(f"exponent of the cost against {what}", 1.05, curves.exponent(curve, name), "", detail=detail)
    yield curves.memory_target()


def many_experiments(rounds: int, seed: int) -> Iterator[Target]:
    """Small random experiments with the full verdict, beside a loop of assert_close without replay."""
    cases = random_experiments(seed, 20)
    timed = interleaved(
        {
            "ours": lambda: [whole_run(*case)() for case in cases],
            "loop": lambda: [assert_close_loop(*case) for case in cases],
        },
        rounds,
        least=0.0,
    )
    rate = f"{len(cases) / median(timed['ours']):.0f}/s"
    yield faster("small random experiments, against nn.Module and assert_close", 2, timed, "loop", "ours", rate)


def start_ups(rounds: int, seed: int) -> Iterator[Target]:
    """Commands that need no torch, beside `python -c pass`, and the pytest plugin's share of pytest's start-up."""
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / "stored.json"
        experiment, source = fixture((30, 16, 1), 32, 4, batches=4)
        stored.write_text(run(experiment, source).to_json())
        (Path(folder) / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
        file = str(stored)
        arguments = {
            "--help": ["--help"],
            "--version": ["--version"],
            "an argument error": ["check", "--nothing"],
            "rendering a stored result": ["show", file],
            "comparing two stored results": ["diff", file, file],
        }
        pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_nothing.py"]
        commands = {
            name: ["-c", f"from handgrad.compare.cli import main; main({given})"] for name, given in arguments.items()
        }
        bare = {"pass": ["-c", "pass"]}
        root = Path(__file__).resolve().parents[2]
        compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": f"{folder}/compiled"}  # as when installed
        environment = os.environ | compiled | {"PYTHONPATH": str(root), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        timed = started({**bare, **commands}, 2 * rounds, cwd=folder, env=environment)
        for name, given in arguments.items():
            extra = 1000 * median(timed[name] - timed["pass"])
            says = imports_torch(given, folder, environment)
            yield Target(f"handgrad, {name}, over python -c pass", 60, np.inf if says else extra, "ms", detail=says)
        tests = started(
            {"with": [*pytest, "-p", "handgrad.pytest_plugin"], "without": pytest},
            2 * rounds,
            cwd=folder,
            env=environment,
        )
        share = 100 * median((tests["with"] - tests["without"]) / tests["with"])
        yield Target("the pytest plugin's share of pytest's start-up", 5, share, "%")


def imports_torch(given: list[str], folder: str, environment: dict[str, str]) -> str:
    """What is said if a command imports torch."""
    code = (
        "import sys\nfrom handgrad.compare.cli import main\n"
        f"try:\n    main({given})\nfinally:\n    sys.exit(7 if 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=folder, env=environment)
    return "it imports torch" if done.returncode == 7 else ""


def faster(what: str, limit: float, timed: dict[str, np.ndarray], slow: str, fast: str, more: str = "") -> Target:
    """How many times faster than the other one it is."""
    times = f"{shown(timed[fast])} and {shown(timed[slow])}"
    return Target(what, limit, ratio(timed, slow, fast), at_least=True, detail=f"{times}{', ' if more else ''}{more}")


def shown(seconds: np.ndarray) -> str:
    """A median time as a person reads it."""
    time = float(median(seconds))
    scale, unit = next((each for each in ((1.0, "s"), (1e3, "ms")) if time * each[0] >= 1), (1e6, "us"))
    return f"{time * scale:.3g} {unit}"


PARTS: dict[str, Callable[[int, int], Iterator[Target]]] = {
    "small": small_tensors,
    "training": training_steps,
    "checks": whole_checks,
    "wrong": wrong_and_large,
    "unexplained": unexplained_training,
    "shell": checks_from_the_shell,
    "verdict": verdicts,
    "growth": growth,
    "experiments": many_experiments,
    "start": start_ups,
}
