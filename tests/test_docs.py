"""What the README and docs/ show is what happens: snippets run, outputs are the program's, links lead somewhere."""

import json
import re
import shutil

import pytest

import handgrad.compare
from handgrad.compare.cli.commands import main
from tests.documents import DOCUMENTS, SLOW, blocks, blocks_of, change_of, followed, masked, updated
from tests.repository import ROOT

TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in DOCUMENTS}
README = TEXTS["README.md"]
every_document = pytest.mark.parametrize("document", TEXTS)


@every_document
def test_a_document_shows_what_happens(document, tmp_path):
    if "```c\n" in TEXTS[document] and shutil.which("cc") is None:
        pytest.skip("its example in C needs a C compiler that is called cc")
    for block, now in followed(TEXTS[document], tmp_path):
        line = TEXTS[document][: block.start].count("\n") + 1
        assert masked(block.text) == masked(now), (
            f"{document}:{line}; python -m tests.documents --update writes it anew"
        )


def anchors(text):
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_document
def test_links_lead_somewhere(document):
    folder = (ROOT / document).parent
    prose = re.sub(r"^```.*?^```$", "", TEXTS[document], flags=re.DOTALL | re.MULTILINE)  # f[grid](x) is a launch
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", prose):
        name, _, anchor = target.partition("#")
        file = folder / name if name else ROOT / document
        assert file.is_file(), f"{document} links to {target}"
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), f"{document} links to {target}"


@every_document
def test_files_functions_and_modules_that_are_named_exist(document):
    for name, path in re.findall(r"`(\w+)`\s+\(`([\w/]+\.py)`\)", TEXTS[document]):
        source = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^(def|class) {name}\b", source, flags=re.MULTILINE), f"{name} is not in {path}"
    for path in re.findall(r"`((?:compare|manual|torchref|handgrad|tests|docs)/[\w/.]*)`", TEXTS[document]):
        assert (ROOT / path).exists(), f"{document} names {path}"
    for module in re.findall(r"-m (tests\.[\w.]+)", TEXTS[document]):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), f"{document} names {module}"


def test_every_document_is_linked_from_the_readme():
    linked = set(re.findall(r"^- .*?\]\((docs/[\w-]+\.md)\)", README, flags=re.MULTILINE))
    assert linked == TEXTS.keys() - {"README.md"}


def test_the_readme_is_short():
    assert README.count("\n") <= 150


def test_the_two_commands_and_their_pip_lines_are_what_the_makefile_runs():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    first, pip_lines = blocks("README.md", "sh")[:2]
    assert [line.split()[:2] for line in first.splitlines()] == [["make", "check"], ["make", "test"]]
    recipes = makefile.replace("$(BIN)", ".venv/bin").replace("$(VENV)", ".venv").replace("--quiet ", "")
    recipes = recipes.replace("$(PYTHON)", "python3")
    for line in pip_lines.splitlines():
        assert line in recipes
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_readmes_figures_are_those_of_the_benchmarks():
    (why,) = re.findall(r"## Why not.*?(?=\n## )", README, flags=re.DOTALL)
    figures = re.findall(r"\d[\d.]* %|\d{4}-\d\d-\d\d|\d+(?= planted mistakes)", why)
    assert len(figures) >= 5
    assert all(figure in TEXTS["docs/benchmarks.md"] for figure in figures), figures


def test_the_number_of_known_mistakes_is_right():
    from handgrad.compare.faults.catalogue import catalogue

    for document in ("README.md", "docs/reading-a-report.md"):
        assert re.findall(r"(\d+) known mistakes", TEXTS[document]) == [str(len(catalogue()))]


def test_the_json_that_is_described_is_that_of_the_schema():
    text = TEXTS["docs/stored-reports.md"]
    schema = json.loads((ROOT / "compare" / "report" / "schema.json").read_text(encoding="utf-8"))["$defs"]
    assert {*re.findall(r'"(\w+)"', re.findall(r"`\{\"schema\": \"handgrad.report/\d\",(.*?)\}`", text)[0])} == {
        *schema["report"]["properties"]
    } - {"schema"}
    cells = re.findall(r"^\| ((?:`\w+` ?)+) \| (.*) \|$", text, flags=re.MULTILINE)
    described = {name: {*re.findall(r"`(\w+)`", cell)} for names, cell in cells for name in re.findall(r"\w+", names)}
    assert {*schema["row"]["properties"]} <= described["rows"]
    assert {*schema["finding"]["properties"]} <= described.keys()
    assert {*schema["finding"]["properties"]["where"]["properties"]} == described["where"]
    assert {*schema["report"]["properties"]["environment"]["required"]} <= described["environment"]


def test_the_rooms_are_those_of_the_package():
    def rooms(text):
        return re.findall(r"^    (\w+) +(\S.*)$", text, flags=re.MULTILINE)

    assert rooms(TEXTS["docs/how-it-works.md"]) == rooms(handgrad.compare.__doc__)


EXERCISES = re.findall(
    r"```python\n(# \S+\n.*?)```\n.*?```console\n\$ (handgrad check \S+).*?```\n.*?```diff\n(.*?)```",
    TEXTS["docs/teaching.md"],
    flags=re.DOTALL,
)


def test_there_are_three_exercises():
    assert len(EXERCISES) == 3


@pytest.mark.parametrize(("code", "command", "answer"), EXERCISES, ids=lambda text: text.split()[-1][:20])
def test_an_exercise_marks_its_line_on_the_page_and_passes_with_its_answer(
    code, command, answer, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    words, (_, before, after) = command.split()[1:], change_of(answer)
    assert code.count(before) == 1
    file, page = tmp_path / words[1], tmp_path / "page.html"
    file.write_text(code, encoding="utf-8")
    assert main([*words, "--format", "html", "--output", str(page)]) == 1
    marked = re.findall(r'class="marked wrong">(.*?)\n', page.read_text(encoding="utf-8"))
    assert any(line.rstrip() in map(str.rstrip, before.splitlines()) for line in marked), "the page marks it"
    file.write_text(code.replace(before, after), encoding="utf-8")
    capsys.readouterr()
    assert main(words) == 0, capsys.readouterr().out


def test_what_is_too_slow_to_be_run_is_shown_somewhere():
    assert SLOW <= {line for text in TEXTS.values() for block in blocks_of(text) for line in block.text.splitlines()}


DRAFT = """
```python
# mine.py
from my_derivation import *
```

```console
$ handgrad check mine.py | head -1
an old line
$ handgrad diff a.json b.json
```

```python
print(1 + 1)
```

```text
3
```
"""


def test_an_update_writes_what_is_printed_now(tmp_path):
    text = updated(DRAFT, tmp_path)
    assert "an old line" not in text
    assert "handgrad: a.json" in text
    assert "```text\n2\n```" in text
