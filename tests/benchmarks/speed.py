"""What handgrad costs, row by row beside its targets, side by side with what people use instead.

    python -m tests.benchmarks.speed [--rounds N] [--plot FOLDER] [--only PARTS]

Everything that is compared runs in one process, interleaved round by round, on one thread; a ratio is the median of the
ratios of the rounds. Commands are started as processes of their own beside `python -c pass`. Exit 1 if a target is
missed by more than 10 %.
"""

import argparse
import os
import platform
import secrets
import sys
from datetime import date
from pathlib import Path

import numpy as np
import torch

from tests.benchmarks import speed_curves as curves
from tests.benchmarks.speed_rows import PARTS
from tests.benchmarks.timing import Target, table

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}


def processor() -> str:
    """The processor as Linux names it, or as Python does."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table, and say whether a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31), help="fresh unless given")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=[*PARTS], help="the rows to measure")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="cost against size as SVG")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    targets: list[Target] = []
    for part in arguments.only:
        print(f"measuring {part} ...", file=sys.stderr, flush=True)
        targets += PARTS[part](arguments.rounds, arguments.seed)
    print(table(targets))
    print(
        f"\nMedians over {arguments.rounds} interleaved rounds, one thread; seed {arguments.seed}, {date.today()}, "
        f"{processor()}, torch {torch.__version__}, NumPy {np.__version__}, Python {platform.python_version()}."
    )
    if arguments.plot is not None:
        draw(arguments.plot, arguments.rounds)
    return int(any(target.verdict == "MISSED" for target in targets))


def draw(folder: Path, rounds: int) -> None:
    """The curves."""
    few = max(3, rounds // 5)
    by_parameters = curves.against_parameters(curves.PARAMETERS, few)
    by_steps = curves.against_steps(curves.STEPS, few)
    by_size = curves.against_size([10**k for k in range(1, 8)], few)
    curves.plot(by_parameters, "parameters", "One step", folder / "cost-against-parameters.svg")
    curves.plot(by_steps, "steps", "A whole run of 30-16-1", folder / "cost-against-steps.svg")
    curves.plot(by_size, "numbers", "Comparing two tensors", folder / "comparison-against-size.svg")


if __name__ == "__main__":
    if not os.environ.items() >= ONE_THREAD.items():  # NumPy and torch read it when they are imported
        again = [sys.executable, "-m", "tests.benchmarks.speed", *sys.argv[1:]]
        os.execve(sys.executable, again, os.environ | ONE_THREAD)
    sys.exit(main())
