"""A class's submissions, from the catalogue and the corpus: right, wrong in known equations, in five styles, hostile.

What is wrong by itself in a submission is known from how it was made, and never asked of handgrad: a tensor that is
returned is wrong if a line that was edited leads to it, through what is not returned alone. A line of the forward pass
that leads to a value and to gradients, as the deviation of a layer norm does, is one mistake, and charged to the value.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

import numpy as np

from handgrad.compare.faults.catalogue import catalogue
from tests.compare.grading.course import KEY
from tests.corpus import slips
from tests.corpus.planted import Operation

__all__ = ["EQUATIONS", "Exercise", "HandedIn", "exercises"]

HEAD = "import numpy as np\n\n\n"


@dataclass(frozen=True)
class HandedIn:
    """A submission: its style, its file and text, and the equations that are wrong by themselves."""

    style: str
    file: str
    text: str
    wrong: frozenset[str]


@dataclass(frozen=True)
class Exercise:
    """A key, and what is handed in for it."""

    name: str
    key: str
    handed_in: tuple[HandedIn, ...]


# --- one network in five styles

EQUATIONS = {
    "Z1": ("{W1} @ {X} + {b1}", {"minus": "{W1} @ {X} - {b1}"}),
    "A1": ("np.tanh({Z1})", {"sigmoid": "1 / (1 + np.exp(-{Z1}))"}),
    "Z2": ("{W2} @ {A1} + {b2}", {"of Z1": "{W2} @ {Z1} + {b2}"}),
    "J": ("(({Z2} - {Y}) ** 2).sum() / (2 * n)", {"no half": "(({Z2} - {Y}) ** 2).sum() / n"}),
    "dZ2": ("({Z2} - {Y}) / n", {"sign": "({Y} - {Z2}) / n", "twice": "2 * ({Z2} - {Y}) / n"}),
    "dW2": ("{dZ2} @ {A1}.T", {"of Z1": "{dZ2} @ {Z1}.T", "half": "{dZ2} @ {A1}.T / 2"}),
    "db2": ("{dZ2}.sum(axis=1, keepdims=True)", {"mean": "{dZ2}.mean(axis=1, keepdims=True)", "last": "{dZ2}[:, -1:]"}),
    "dA1": ("{W2}.T @ {dZ2}", {"sign": "-{W2}.T @ {dZ2}"}),
    "dZ1": (
        "{dA1} * (1 - {A1} ** 2)",
        {"A": "{dA1} * (1 - {A1})", "Z": "{dA1} * (1 - {Z1} ** 2)", "none": "{dA1} * 1.0"},
    ),
    "dW1": ("{dZ1} @ {X}.T", {"n": "{dZ1} @ {X}.T / n"}),
    "db1": (
        "{dZ1}.sum(axis=1, keepdims=True)",
        {"mean": "{dZ1}.mean(axis=1, keepdims=True)", "twice": "2 * {dZ1}.sum(axis=1, keepdims=True)"},
    ),
}
"""Each equation of the network, and mistakes in it by name."""

ALTERNATIVES = {
    "dZ1": "{dA1} / np.cosh({Z1}) ** 2",
    "dW1": "np.einsum('in,jn->ij', {dZ1}, {X})",
    "db2": "({dZ2} @ np.ones((n, 1)))",
    "J": "0.5 * np.mean(np.sum(({Z2} - {Y}) ** 2, axis=0))",
    "dA1": "np.tensordot({W2}, {dZ2}, axes=(0, 0))",
    "A1": "2 / (1 + np.exp(-2 * ({Z1}))) - 1",
}
"""The same by other formulas."""

GIVEN = {name: f'params["{name}"]' for name in ("W1", "b1", "W2", "b2")} | {"X": "X", "Y": "Y"}


def functions(formulas: dict[str, str]) -> str:
    """A forward and a backward function with a cache."""
    names = {**GIVEN, **{n: f'c["{n}"]' for n in EQUATIONS}}
    forward = [f"    c[{n!r}] = {formulas[n].format(**names)}\n" for n in ("Z1", "A1", "Z2", "J")]
    backward = [f"    c[{n!r}] = {f.format(**names)}\n" for n, f in formulas.items() if n.startswith("d")]
    return (
        f"{HEAD}def forward(params, X, Y):\n    n, c = X.shape[1], {{}}\n{''.join(forward)}    return c\n\n\n"
        f"def backward(params, X, Y, c):\n    n = X.shape[1]\n{''.join(backward)}    return c\n\n\n"
        "def derivation(params, X, Y):\n    return backward(params, X, Y, forward(params, X, Y))\n"
    )


def objects(formulas: dict[str, str]) -> str:
    """A class that keeps everything in itself."""
    names = {**{n: f"self.{n}" for n in GIVEN}, **{n: f"self.{n}" for n in EQUATIONS}}
    lines = "".join(f"        self.{n} = {f.format(**names)}\n" for n, f in formulas.items())
    kept = ", ".join(f'"{n}"' for n in EQUATIONS)
    return (
        f"{HEAD}class Network:\n    def __init__(self, params, X, Y):\n        self.__dict__.update(params)\n"
        f"        self.X, self.Y = X, Y\n\n    def run(self):\n        n = self.X.shape[1]\n{lines}"
        f"        return {{name: getattr(self, name) for name in ({kept})}}\n\n\n"
        "def derivation(params, X, Y):\n    return Network(params, X, Y).run()\n"
    )


def lists(formulas: dict[str, str]) -> str:
    """Layers in lists, as W[1] and Z[1]."""
    names = {n: f"{n[:-1]}[{n[-1]}]" for n in (*EQUATIONS, "W1", "W2", "b1", "b2") if n != "J"} | {
        "X": "X",
        "Y": "Y",
        "J": "J",
    }
    lists = sorted({n[:-1] for n in names if n[-1].isdigit()})
    start = "".join(f"    {n} = [None] * 3\n" for n in lists)
    taken = "".join(f'    {names[n]} = params["{n}"]\n' for n in ("W1", "b1", "W2", "b2"))
    lines = "".join(f"    {names[n]} = {f.format(**names)}\n" for n, f in formulas.items())
    returned = ", ".join(f'"{n}": {names[n]}' for n in EQUATIONS)
    return f"{HEAD}def derivation(params, X, Y):\n    n = X.shape[1]\n{start}{taken}{lines}    return {{{returned}}}\n"


def examples(formulas: dict[str, str]) -> str:
    """One example at a time; what is summed over examples is added up, so that sums are of one column."""
    names = {**GIVEN, **{n: n for n in EQUATIONS}, "X": "x", "Y": "y"}
    lines = "".join(f"        {n} = {f.format(**names)}\n" for n, f in formulas.items())
    return (
        f"{HEAD}def derivation(params, X, Y):\n    n = X.shape[1]\n    sums, columns = {{}}, {{}}\n"
        f"    for i in range(n):\n        x, y = X[:, i:i + 1], Y[:, i:i + 1]\n{lines}"
        "        for name in ('J', 'dW1', 'db1', 'dW2', 'db2'):\n"
        "            sums[name] = sums.get(name, 0) + locals()[name]\n"
        "        for name in ('Z1', 'A1', 'Z2', 'dZ2', 'dA1', 'dZ1'):\n"
        "            columns.setdefault(name, []).append(locals()[name])\n"
        "    return {**sums, **{name: np.hstack(parts) for name, parts in columns.items()}}\n"
    )


def notebook(formulas: dict[str, str]) -> str:
    """Cells of a notebook."""
    imports, code = HEAD.strip(), functions(formulas).removeprefix(HEAD)
    sources = ["%matplotlib inline\n" + imports, *code.split("\n\n\n")]
    cells = [
        {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": source, "id": f"c{i}"}
        for i, source in enumerate(sources)
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


STYLES = {"functions": functions, "objects": objects, "lists": lists, "examples": examples, "notebook": notebook}
SUMS = ("J", "db2")  # whose other formulas are of a whole batch
OF_BATCHES = {("db2", "mean"), ("db2", "last"), ("db1", "mean")}  # of one column they are right


def _networks(rng: np.random.Generator, count: int) -> Iterator[HandedIn]:
    """So many networks: some right, some by other formulas, the others with one to three mistakes."""
    right = {name: formula for name, (formula, _) in EQUATIONS.items()}
    order = ("Z1", "A1", "Z2", "J", "dZ2", "dW2", "db2", "dA1", "dZ1", "dW1", "db1")
    every = [(name, kind) for name, (_, kinds) in EQUATIONS.items() for kind in kinds]
    for i in range(count):
        style = [*STYLES][i % len(STYLES)]
        formulas, wrong = dict(right), frozenset()
        if i % 8 == 0:
            known = [name for name in ALTERNATIVES if style != "examples" or name not in SUMS]
            chosen = rng.choice(known, 2, replace=False)
            formulas |= {str(name): ALTERNATIVES[str(name)] for name in chosen}
        elif i % 8 != 1:
            possible = [each for each in every if style != "examples" or each not in OF_BATCHES]
            picked = [possible[k] for k in rng.permutation(len(possible))]
            mistakes = dict(picked[: 1 + i % 3])
            formulas |= {name: EQUATIONS[name][1][kind] for name, kind in mistakes.items()}
            wrong = frozenset(mistakes)
        suffix = "ipynb" if style == "notebook" else "py"
        text = STYLES[style]({name: formulas[name] for name in order})
        yield HandedIn(style, f"network-{i:03}.{suffix}", text, wrong)


# --- the catalogue and the corpus

SKIPPED = ("reference", "draw", "optimizer", "torch_initializer")


def _of_catalogue(seed: int) -> Iterator[Exercise]:
    """Every mistake of the catalogue in a derivation whose lines say which tensor it is in."""
    modules: dict[str, list[HandedIn]] = {}
    for name, fault in catalogue().items():
        if fault.is_of_network:
            continue
        source = inspect.getsource(import_module(fault.module))
        if "def derivation(" not in source:
            continue
        wrong_source = source
        for right, wrong in fault.edits:
            wrong_source = wrong_source.replace(right, wrong)
        wrong = wrong_by_itself(_by_hand(source), _by_hand(wrong_source))
        if wrong:
            modules.setdefault(fault.module, [HandedIn("dicts", "right.py", _by_hand(source), frozenset())])
            modules[fault.module].append(HandedIn("dicts", f"{name}.py", _by_hand(wrong_source), wrong))
    for module, handed_in in modules.items():
        key = inspect.getsource(import_module(module))
        key += f"\n\nimport numpy as np\n\ndrawn = draw(np.random.default_rng({seed}))\n"
        key += "params, batch = drawn['params'], drawn['batch']\n"
        yield Exercise(module.rpartition(".")[2], key, tuple(handed_in))


def _by_hand(source: str) -> str:
    """The part of a problem that is written by hand."""
    kept = [n for n in ast.parse(source).body if getattr(n, "name", "") not in SKIPPED]
    lines = ast.unparse(ast.Module([n for n in kept if not isinstance(n, ast.Expr)], []))
    return lines.replace("from handgrad import tap\n", "").replace("import torch\n", "") + "\n"


def _of_corpus(rng: np.random.Generator) -> Iterator[Exercise]:
    """Every slip of the corpus in a derivation whose lines say which tensors it is in."""
    for operation in slips.OPERATIONS:
        handed_in = [HandedIn("dicts", "right.py", HEAD + operation.derivation, frozenset())]
        for i, mistake in enumerate(operation.mistakes):
            text = HEAD + mistake.planted(operation.derivation)
            wrong = wrong_by_itself(HEAD + operation.derivation, text)
            if wrong:
                handed_in.append(HandedIn("dicts", f"slip-{i}.py", text, wrong))
        if len(handed_in) > 1:
            yield Exercise(operation.name, _key_of(operation, rng), tuple(handed_in))


def _key_of(operation: Operation, rng: np.random.Generator) -> str:
    """A key with the operation's reference, from where it stands, and its own derivation."""
    params, batch = operation.draw(rng)
    module, name = operation.reference.__module__, operation.reference.__name__
    values = {n: (a.tolist(), str(a.dtype)) for n, a in params.items()}
    inputs = [(np.asarray(a).tolist(), str(np.asarray(a).dtype)) for a in batch]
    return (
        f"import numpy as np\nfrom {module} import {name} as reference\n\n"
        f"params = {{n: np.array(a, t) for n, (a, t) in {values!r}.items()}}\n"
        f"batch = tuple(np.array(a, t) for a, t in {inputs!r})\n\n\n{operation.derivation}"
    )


def wrong_by_itself(right: str, wrong: str) -> frozenset[str] | None:
    """The returned tensors that an edited line leads to, through what is not returned; None if that is not plain."""
    try:
        known = {ast.unparse(node) for node in _statements(right)}
        statements = _statements(wrong)
    except ValueError:
        return None
    returned = statements[-1].value if isinstance(statements[-1], ast.Return) else None
    if not isinstance(returned, ast.Dict):
        return None
    names = {k.value: v for k, v in zip(returned.keys, returned.values, strict=True) if isinstance(k, ast.Constant)}
    if len(names) != len(returned.keys) or not all(isinstance(v, ast.Name) for v in names.values()):
        return None
    variables = {v.id for v in names.values()}
    edited, reads = set[str](), dict[str, set[str]]()
    for node in statements[:-1]:
        if not isinstance(node, ast.Assign) or len(node.targets) != 1:
            return None
        targets = {n.id for n in ast.walk(node.targets[0]) if isinstance(n, ast.Name)}
        if targets & reads.keys() or any(isinstance(n, ast.Subscript) for n in ast.walk(node.targets[0])):
            return None
        for target in targets:
            reads[target] = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
        edited |= targets if ast.unparse(node) not in known else set()
    if not edited:
        return None

    def behind(variable: str) -> set[str]:
        """The edited variables that lead to one, itself included."""
        others = (behind(v) for v in reads.get(variable, ()) if v not in variables and v != variable)
        return ({variable} & edited).union(*others)

    charged = {name: behind(v.id) for name, v in names.items()}
    forward = set[str]().union(*(found for name, found in charged.items() if not name.startswith("d")))
    return frozenset(name for name, found in charged.items() if found - (forward if name.startswith("d") else set()))


def _statements(source: str) -> list[ast.stmt]:
    """The statements of the derivation, which is straight lines; ValueError where it is not."""
    (function,) = (n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name == "derivation")
    body = [n for n in function.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
    if any(isinstance(n, (ast.For, ast.While, ast.If, ast.With, ast.FunctionDef)) for n in body):
        raise ValueError
    return body


# --- hostile ones

RIGHT = functions({name: formula for name, (formula, _) in EQUATIONS.items()})
HOSTILE = {
    "exits": "import os\nos._exit(0)\n",
    "raises": "raise RuntimeError\n",
    "ends": "import sys\nsys.exit(0)\n",
    "syntax": RIGHT.replace("def derivation(", "def derivation(("),
    "crashes": "import ctypes\nctypes.string_at(0)\n",
    "loops": RIGHT + "\nwhile True:\n    pass\n",
    "floods": RIGHT + "\nwhile True:\n    print('garbage' * 1000)\n",
    "zeros": "def derivation(params, X, Y):\n    return {f'd{n}': 0 * w for n, w in params.items()}\n",
    "memory": RIGHT.replace("    n, c = ", "    big = np.ones(2**31)\n    n, c = "),
    "forges": "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'garbage' * 999)\n    except OSError: pass\n"
    + RIGHT,
    "deep": "def derivation(p, X, Y):\n    a = []\n    for _ in range(9999): a = [a, 1.0]\n    return {'dW1': a}\n",
    "binary": "\0\0\0",
}
HARMLESS = {
    "prints": "print('noise ' * 100000)\n",
    "deletes": "import os, shutil\nshutil.rmtree(os.getcwd(), ignore_errors=True)\n",
    "closes": "import os\nfor fd in range(3): os.close(fd)\n",
    "forks": "import os\ntry:\n    os.fork() or os._exit(0)\nexcept OSError:\n    pass\n",
    "kills": "import os\ntry:\n    os.kill(os.getppid(), 9)\nexcept OSError:\n    pass\n",
}


def _hostile() -> Iterator[HandedIn]:
    everything = frozenset(EQUATIONS)
    yield from (HandedIn("hostile", f"{name}.py", text, everything) for name, text in HOSTILE.items())
    yield from (HandedIn("hostile", f"{name}.py", text + RIGHT, frozenset()) for name, text in HARMLESS.items())


def exercises(count: int, seed: int) -> list[Exercise]:
    """About so many submissions: half of them networks in five styles and hostile ones, half catalogue and corpus."""
    rng = np.random.default_rng(seed)
    networks = (*_networks(rng, count // 2 - len(HOSTILE) - len(HARMLESS)), *_hostile())
    others = [*_of_catalogue(seed), *_of_corpus(rng)]
    wanted = count - len(networks)
    total = sum(len(each.handed_in) for each in others)
    kept = []
    for each in others:
        share = max(2, round(len(each.handed_in) * wanted / total))
        kept.append(Exercise(each.name, each.key, each.handed_in[:share]))
    return [Exercise("network", KEY, networks), *kept]
