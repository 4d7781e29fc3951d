"""Every rule of tests/rules notices what breaks it, names the file and the line, and lets the rest pass."""

import pytest

from tests.rules import imports, lesson, sizes, wording
from tests.rules.sources import Violation, of_folders, parsed

SILENT = '"""A module."""\n\n__all__ = []\n'


def tree(files):
    """Sources from their texts by path, without the .py."""
    return [parsed(f"{path}.py", text) for path, text in files.items()]


def lines(violations):
    return sorted({(violation.path, violation.line) for violation in violations})


def test_files_are_read_from_their_folders(tmp_path):
    (tmp_path / "compare" / "report").mkdir(parents=True)
    (tmp_path / "compare" / "report" / "__init__.py").write_text("")
    (tmp_path / "compare" / "report" / "text.py").write_text("x = 1\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.py").write_text("not Python")
    sources = of_folders(tmp_path, "compare")
    assert [(s.path, s.module, s.is_package) for s in sources] == [
        ("compare/report/__init__.py", "handgrad.compare.report", True),
        ("compare/report/text.py", "handgrad.compare.report.text", False),
    ]
    assert str(Violation("a.py", 3, "says no")) == "a.py:3: says no"


# --- imports


@pytest.mark.parametrize(
    ("module", "room"),
    [
        ("handgrad", "handgrad"),
        ("handgrad.pytest_plugin", "handgrad"),
        ("handgrad.manual.network", "manual"),
        ("handgrad.torchref", "torchref"),
        ("handgrad.compare", "ground"),
        ("handgrad.compare.names", "ground"),
        ("handgrad.compare.sandbox", "sandbox"),
        ("handgrad.compare.report", "report"),
        ("handgrad.compare.report.text", "report"),
        ("handgrad.compare.faults.problems.adam", "faults"),
        ("handgrad.compare.attic.things", "attic"),
    ],
)
def test_every_module_lies_in_a_room(module, room):
    assert imports.room_of(module) == room


@pytest.mark.parametrize(
    "line",
    [
        "from handgrad.compare.report.text import shown",
        "from handgrad.compare.report import text",
        "import handgrad.compare.report.text",
        "import handgrad",
        "def f():\n    import handgrad.compare.report.text",
        "if TYPE_CHECKING:\n    from handgrad.compare.report import text",
        "import importlib\nimportlib.import_module('handgrad.compare.report.text')",
    ],
)
def test_an_import_upwards_is_seen(line):
    above = {"compare/report/__init__": "", "compare/report/text": "", "handgrad/__init__": ""}
    below = f"x = 1\n{line}\n"
    assert lines(imports.upward(tree({**above, "compare/verdict/rule": below}))) == [
        ("compare/verdict/rule.py", 2 + line.count("\n"))
    ]
    assert not imports.upward(tree({**above, "handgrad/plugin": below}))


def test_every_room_may_show_the_version():
    files = {"handgrad/__init__": "", "compare/cli/flags": "from handgrad import __version__\n"}
    assert not imports.upward(tree(files))


def test_a_room_that_is_not_listed_and_a_relative_import_are_seen():
    sources = tree({"compare/attic/things": "", "compare/report/text": "x = 1\nfrom . import json\n"})
    assert lines(imports.upward(sources)) == [("compare/attic/things.py", 1), ("compare/report/text.py", 2)]


def test_a_circle_is_seen_within_a_room_and_through_a_function():
    sources = tree(
        {
            "compare/report/a": "from handgrad.compare.report import b\n",
            "compare/report/b": "def f():\n    import handgrad.compare.report.c\n",
            "compare/report/c": "from handgrad.compare.report.a import x\nfrom handgrad.compare.report import d\n",
            "compare/report/d": "import handgrad.compare.names\n",
            "compare/names": "",
        }
    )
    assert lines(imports.circles(sources)) == [
        ("compare/report/a.py", 1),
        ("compare/report/b.py", 2),
        ("compare/report/c.py", 1),
    ]
    assert not imports.circles(sources[1:])


def test_a_package_and_its_file_are_a_circle_if_both_import_each_other():
    sources = tree(
        {
            "compare/report/__init__": "from handgrad.compare.report.text import x\n",
            "compare/report/text": "from handgrad.compare.report import Report\n",
        }
    )
    assert len(imports.circles(sources)) == 2


def test_a_witness_that_shares_something_is_seen():
    sources = tree(
        {
            "manual/a": "import numpy, math\nimport math\nfrom handgrad.manual import b\nimport handgrad.torchref.c\n",
            "manual/b": "def f():\n    import torch\n",
            "torchref/c": "import torch.nn\nimport numpy\nimport handgrad\n",
            "compare/d": "import torch, numpy\n",
        }
    )
    assert lines(imports.not_independent(sources)) == [
        ("manual/a.py", 4),
        ("manual/b.py", 2),
        ("torchref/c.py", 2),
        ("torchref/c.py", 3),
    ]


# --- sizes


def test_a_long_file_and_a_long_function_are_seen():
    assert not sizes.long_files(tree({"compare/a": "x = 1\n" * 400}))
    assert sizes.long_files(tree({"compare/a": "x = 1\n" * 401})) == [
        Violation("compare/a.py", 401, "401 lines; at most 400")
    ]
    method = "class A:\n    def f(self):\n" + "        x = 1\n" * 59
    assert not sizes.long_functions(tree({"compare/a": method}))
    assert lines(sizes.long_functions(tree({"compare/a": method + "        x = 2\n"}))) == [("compare/a.py", 2)]


def test_many_parameters_are_seen_and_excuses_that_nothing_needs():
    sources = tree(
        {"compare/a": "def f(self, a, b, /, c, *d, e, g, h, **i): pass\n\ndef g(a, b, c, d, e, f, g, h, i): pass\n"}
    )
    assert lines(sizes.many_parameters(sources, {})) == [("compare/a.py", 3)]
    assert not sizes.many_parameters(sources, {"compare/a.py::g": "as torch has them"})
    assert len(sizes.many_parameters(sources, {"compare/a.py::g": "", "compare/a.py::f": ""})) == 1


def test_a_crowded_room_is_seen():
    room = {f"compare/report/m{i}": "" for i in range(14)}
    beside = {"compare/report/__init__": "", "compare/report/pages/m": "", "compare/verdict/m": ""}
    assert not sizes.crowded_rooms(tree({**room, **beside}))
    assert len(sizes.crowded_rooms(tree({**room, "compare/report/m15": ""}))) == 1


# --- names and sentences


@pytest.mark.parametrize(
    "code",
    [
        "name[1:]",
        "key.name[1:]",
        "row.key.name[1:]",
        "tensor[1:]",
        'name.startswith("d")',
        'name.startswith(("d", "v"))',
        'name[0] == "d"',
        'name[:1] in ("d", "v")',
        'f.name.endswith("_next")',
        'name.removesuffix("_next")',
        'name.removeprefix("v")',
        'f"d{name}"',
        'f"v{finding.where.name}"',
        'f"{name}_next"',
    ],
)
def test_the_grammar_of_names_is_seen(code):
    text = f"x = 1\nif {code}:\n    pass\n"
    assert lines(wording.grammar_of_names(tree({"compare/checks/a": text}))) == [("compare/checks/a.py", 2)]
    assert not wording.grammar_of_names(
        tree({"compare/names": text, "manual/a": text, "compare/faults/problems/a": text})
    )


@pytest.mark.parametrize(
    "code", ["names[1:]", "values[1:]", 'name.startswith("_")', 'f"d{name} is due"', 'text.endswith(".py")', "name[:3]"]
)
def test_what_is_no_grammar_of_names_passes(code):
    assert not wording.grammar_of_names(tree({"compare/checks/a": f"x = {code}\n"}))


@pytest.mark.parametrize(
    "code",
    [
        "finding.explanation",
        'text.partition("; ")',
        'text.split("; ")',
        'str(note).startswith("Convention")',
        'str(finding.cause).removeprefix("it is ")',
        're.search("torch", str(cause))',
        "PATTERN.search(str(finding.cause))",
        '"torch" in str(note)',
    ],
)
def test_a_sentence_that_is_read_is_seen(code):
    assert lines(wording.parsed_sentences(tree({"compare/report/a": f"y = 1\nx = {code}\n"}))) == [
        ("compare/report/a.py", 2)
    ]


@pytest.mark.parametrize(
    "code", ["str(cause)", 'text.split(",")', "note in notes", 'str(error).partition("\\n")', 're.sub("a", "b", text)']
)
def test_what_reads_no_sentence_passes(code):
    assert not wording.parsed_sentences(tree({"compare/report/a": f"x = {code}\n"}))


@pytest.mark.parametrize(
    "line",
    [
        'monkeypatch.setattr(differences, "BLOCK", 3)',
        'monkeypatch.setattr(differences, "_SMALL_ONES", 3)',
        'monkeypatch.setattr("handgrad.compare.verdict.differences.BLOCK", 3)',
        'mp.setattr(handgrad.compare.verdict.rule, "FEW", 3)',
    ],
)
def test_a_constant_that_a_test_turns_is_seen(line):
    head = "import handgrad.compare.verdict.rule\nfrom handgrad.compare.verdict import differences\n"
    text = f"{head}def test(monkeypatch):\n    {line}\n"
    assert lines(wording.turned_constants(tree({"tests/test_a": text}))) == [("tests/test_a.py", 4)]


@pytest.mark.parametrize(
    "line", ['setattr(os, "ALTSEP", "/")', 'setattr(differences, "largest", 3)', 'setenv("A", "1")']
)
def test_what_else_a_test_sets_passes(line):
    head = "import os\nfrom handgrad.compare.verdict import differences\n"
    text = f"{head}def test(monkeypatch):\n    monkeypatch.{line}\n"
    assert not wording.turned_constants(tree({"tests/test_a": text}))


# --- the lesson


def test_network_maths_is_seen():
    sources = tree(
        {"compare/a": "x = 1\ny = W @ A\ny @= A\nz = np.einsum('ij', A)\n", "compare/verdict/bounds": "y = W @ A\n"}
    )
    assert lines(lesson.network_maths(sources, ("compare/verdict/bounds.py",))) == [
        ("compare/a.py", 2),
        ("compare/a.py", 3),
        ("compare/a.py", 4),
    ]


def test_mistaken_labels_are_seen():
    docstring = '"""Layers.\n\n    F1  Z = W A + b\n    F2  A = g(Z)\n"""\n\n'
    right = tree({"manual/a": f"{docstring}Z = W @ A + b  # (F1) (n_l, n)\nA = g(Z)  # (F2)\n"})
    assert not lesson.mistaken_labels(right, {"F1", "F2"})
    twice = tree({"manual/a": f"{docstring}Z = W @ A + b  # (F1)\nA = g(Z)  # (F1)\nC = 1  # (F2)\n"})
    assert lines(lesson.mistaken_labels(twice, {"F1", "F2"})) == [("manual/a.py", 7), ("manual/a.py", 8)]
    other = tree({"manual/a": f"{docstring}Z = W @ A + b  # (F1)\nB = 1  # (B1)\nC = 2  # (X1)\n"})
    said = {(v.path, v.line, v.what) for v in lesson.mistaken_labels(other, {"F1", "F2", "B1"})}
    assert said == {
        ("manual", 1, "(F2) stands on no line"),
        ("manual/a.py", 8, "(B1) stands 0 times in the module's docstring"),
        ("manual/a.py", 9, "(X1) is no label of manual"),
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("__all__ = []\n", ["has no docstring"]),
        ('"""A module."""\n', ["has no __all__"]),
        ('"""A module."""\n\n__all__ = sorted(x)\n', ["has an __all__ that is no list of texts"]),
        ('"""A module."""\n\n__all__ = ["f"]\n', ["__all__ has f, which is not defined"]),
        ('"""A module."""\n\nT = {"f": 1}\n__all__ = [*T]\n', ["__all__ has f, which is not defined"]),
        ('"""A module."""\n\nT = {"f": 1}\n__all__ = [*T]\nf = 2\n', []),
        ('"""A module."""\n\nT = [1]\n__all__ = [*T]\n', ["has an __all__ that is no list of texts"]),
        (f"{SILENT}\n\ndef f(): pass\n", ["f is public and not in __all__"]),
        (f"{SILENT}\n\nclass A: pass\n", ["A is public and not in __all__"]),
        (f"{SILENT}\n\ndef _f(): pass\n", []),
        ('"""A module."""\n\nif TYPE_CHECKING:\n    from a import f\n\n__all__: list[str] = ["f"]\n', []),
        ('"""A module."""\n\n__all__ = ["a", "B", "C"]\na, B = 1, 2\nC: int = 3\n', []),
    ],
)
def test_a_module_of_a_witness_that_does_not_say_what_it_offers_is_seen(text, says):
    assert [violation.what for violation in lesson.silent_modules(tree({"manual/a": text}))] == says


def test_a_package_may_offer_its_modules():
    sources = tree({"manual/__init__": '"""By hand."""\n\n__all__ = ["a", "b"]\n', "manual/a": SILENT})
    assert [v.what for v in lesson.silent_modules(sources)] == ["__all__ has b, which is not defined"]
