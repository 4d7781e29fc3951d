"""Two hand-made reports, one that passes and one that fails, and what every format must make of them.

After a wanted change of a format, look at what `python -m tests.compare.report.samples` writes into golden/.
"""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

from handgrad.compare.facts.causes import DerivativeAt, Scaled, WrongDerivative
from handgrad.compare.facts.remarks import BlindSpot, Float64Inside, OwnLossKinks, Persists
from handgrad.compare.names import Key
from handgrad.compare.report.report import Report
from handgrad.compare.results import Code, Details, Excerpt, Finding, Row, Worst
from handgrad.compare.source.suspects import located

GOLDEN = Path(__file__).parent / "golden"
FORMATS = {"text": "txt", "markdown": "md", "json": "json", "html": "html", "github": "github"}

DERIVATION = """def derivation(p, X, Y):
    Z1 = p["W1"] @ X + p["b1"]
    A1 = np.tanh(Z1)
    Z2 = p["W2"] @ A1
    J = ((Z2 - Y) ** 2).sum() / 2
    dZ2 = Z2 - Y
    dA1 = p["W2"].T @ dZ2
    dZ1 = dA1 * (1 - Z1**2)
    return {"Z1": Z1, "A1": A1, "Z2": Z2, "J": J, "dZ2": dZ2, "dA1": dA1, "dZ1": dZ1,
            "dW1": dZ1 @ X.T, "db1": dZ1.sum(axis=1, keepdims=True), "dW2": dZ2 @ A1.T}"""
REFERENCE = """def reference(p, X, Y):
    Z1 = tap("Z1", p["W1"] @ X + p["b1"])
    A1 = tap("A1", Z1.tanh())
    return ((tap("Z2", p["W2"] @ A1) - Y) ** 2).sum() / 2"""
AT = {"Z1": 32, "A1": 33, "Z2": 34, "J": 35, "dZ2": 36, "dA1": 37, "dZ1": 38, "dW1": 40, "db1": 40, "dW2": 40}
IN_TORCH = {"Z1": 61, "A1": 62, "Z2": 63, "J": 63, "dZ2": 63, "dA1": 63, "dZ1": 62, "dW1": 61, "db1": 61, "dW2": 63}
CODE = tuple(
    Code(side, "my_derivation.py", first, text, {name: (line,) for name, line in at.items()})
    for side, first, text, at in (("by hand", 31, DERIVATION, AT), ("torch", 60, REFERENCE, IN_TORCH))
)
READS = {"Z1": ("W1", "X", "b1"), "A1": ("Z1",), "Z2": ("A1", "W2"), "J": ("Y", "Z2")}
SHAPES = {"Z1": (2, 3), "A1": (2, 3), "Z2": (1, 3), "J": (), "dZ2": (1, 3), "dA1": (2, 3), "dZ1": (2, 3),
          "dW1": (2, 4), "db1": (2, 1), "dW2": (1, 2)}  # fmt: skip
PHASES = {"Z1": "forward", "A1": "forward", "Z2": "forward", "J": "loss"}
ENVIRONMENT = {
    "check": "check_gradients: by hand (NumPy 2.4.6) against torch, float64 and float32",
    "dtype": "float64",
    "precisions": ["float64", "float32"],
    "seed": None,
    "python": "3.11.9",
    "numpy": "2.4.6",
    "torch": "2.9.1",
    "blas": "openblas 0.3.31",
    "blas_threads": "one per processor (2)",
    "threads": 2,
    "processor": "x86_64 AVX2",
    "deterministic": False,
    "tf32": False,
}


def _row(name: str) -> Row:
    index = tuple(0 for _ in SHAPES[name])
    return Row(1, PHASES.get(name, "backward"), name, "", SHAPES[name], 1.1e-16, index, 0.25, 0.25, 2e-05, "ladder")


PASSING = located(
    Report(
        tuple(map(_row, SHAPES)),
        notes=(Float64Inside(), OwnLossKinks("W1", ((0, 1), (2, 0)))),
        blind_spots=(BlindSpot("square", "a transposed square matrix", "no parameter is square", "use one", ("W1",)),),
        environment=ENVIRONMENT,
        details=Details(reads=READS, code=CODE),
    )
)
WRONG = {
    "dZ1": Row(1, "backward", "dZ1", "", (2, 3), 1.0892, (0, 2), 1.0782, -0.010957, 2.3e4, "ladder", "FAULT"),
    "dW1": _row("dW1")._replace(max_abs_diff=4.2),
    "db1": _row("db1")._replace(max_abs_diff=4.1),
    "dW2": Row(1, "backward", "dW2", "", (1, 2), 0.5, (0, 1), 1.0, 0.5, 7.5e13, "ladder", "FAULT"),
}
DZ1 = Finding(
    Key(1, "backward", "dZ1"),
    "FAULT",
    DerivativeAt("Z1", "A1"),
    worst=Worst((0, 2), 1.0782, -0.010957, inputs=("dA1", "A1")),
    rho=2.3e4,
    others=(WrongDerivative("dA1", "(1 - Z1^2)"),),
    affects=2,
    circumstances=(Persists("moves"),),
)
DW2 = Finding(
    Key(1, "backward", "dW2"), "FAULT", Scaled(2.0), worst=Worst((0, 1), 1.0, 0.5, inputs=("dZ2", "A1")), rho=7.5e13
)
FAILING = located(
    replace(
        PASSING,
        rows=tuple(WRONG.get(row.name, row) for row in PASSING.rows),
        findings=(DZ1, DW2),
        details=PASSING.details._replace(
            downstream={"dW1": (1,), "db1": (1,)},
            excerpts=(
                Excerpt(
                    1, "dZ1", (0, 0), ((0.1, 0.2, 1.0782), (0.4, 0.5, 0.6)), ((0.1, 0.25, -0.010957), (0.4, 0.5, 0.7))
                ),
            ),
        ),
    )
)
SAMPLES = {"passing": PASSING, "failing": FAILING}


def rendered(name: str, form: str) -> str:
    """A sample in a format."""
    return str(import_module(f"handgrad.compare.report.{form}").render(SAMPLES[name]))


if __name__ == "__main__":
    for name in SAMPLES:
        for form, ending in FORMATS.items():
            (GOLDEN / f"{name}.{ending}").write_text(rendered(name, form), encoding="utf-8")
