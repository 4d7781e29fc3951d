"""The exercises for teachers: each file has one mistake, gives what the page shows, and passes with the answer."""

import re

import pytest

from handgrad.compare.cli.commands import main
from tests.documents import masked
from tests.repository import ROOT

PAGE = (ROOT / "compare" / "TEACHING.md").read_text(encoding="utf-8")
EXERCISES = re.findall(
    r"^## (.*?)\n.*?```python\n# (\S+)\n(.*?)```\n.*?```console\n\$ (.*?)\n(.*?)```\n.*?```diff\n(.*?)```",
    PAGE,
    flags=re.DOTALL | re.MULTILINE,
)


def test_there_are_three():
    assert len(EXERCISES) == 3


@pytest.mark.parametrize(("title", "name", "code", "command", "shown", "answer"), EXERCISES, ids=lambda text: text[:20])
def test_an_exercise_turns_red_as_shown_and_green_with_its_answer(
    title, name, code, command, shown, answer, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / name
    file.write_text(code, encoding="utf-8")
    assert main(command.split()[1:]) == 1
    assert masked(capsys.readouterr().out) == masked(shown)
    lines = answer.splitlines(keepends=True)
    wrong = "".join(line[1:] for line in lines if line[0] in "- ")
    right = "".join(line[1:] for line in lines if line[0] in "+ ")
    assert code.count(wrong) == 1
    assert main([*command.split()[1:], "--format", "html", "--output", str(tmp_path / "page.html")]) == 1
    marked = re.findall(r'class="marked wrong">(.*?)\n', (tmp_path / "page.html").read_text(encoding="utf-8"))
    assert any(line.rstrip() in (text.rstrip() for text in wrong.splitlines()) for line in marked), "the page marks it"
    file.write_text(code.replace(wrong, right), encoding="utf-8")
    capsys.readouterr()
    assert main(command.split()[1:]) == 0
