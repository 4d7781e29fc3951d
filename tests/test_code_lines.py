"""What counts as a line of code, and that nothing is counted twice or left out."""

import pytest

from tests.code_lines import Size, code_lines, data_of, formatted, sizes_of, table

CLASS = '''"""A module.

Two paragraphs.
"""

# a comment
import os  # code, and a comment


class A:
    """A class."""

    text = """not a
    docstring"""

    async def f(self):
        """A method."""
        "a text that is no docstring"
        return (
            os,

            # nothing here
        )
'''


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("\n\n# a comment\n", 0),
        ('"""A docstring."""\n', 0),
        ("x = 1\n", 1),
        ("x = 1; y = 2\n", 1),
        ("x = [\n    1,\n\n    2,  # two\n]\n", 4),
        ('x = """a\n\nb"""\n', 3),
        (CLASS, 9),
    ],
)
def test_a_line_counts_if_code_stands_on_it(text, count):
    assert code_lines(text) == count


def test_packing_lines_closer_makes_no_difference(tmp_path):
    for folder, text in (("compare", "x = 1; y = 2\n"), ("manual", "def f(a): return a\n")):
        (tmp_path / "house" / folder).mkdir(parents=True)
        (tmp_path / "house" / folder / "a.py").write_text(text)
    sizes = sizes_of(formatted(tmp_path / "house", tmp_path / "copy"))
    assert sizes == {"manual": Size(1, 2, 2), "compare": Size(1, 2, 2)}


def test_rooms_and_data_are_listed_apart(tmp_path):
    files = {
        "compare/names.py": "x = 1\n",
        "compare/report/text.py": "x = 1\n\ny = 2\n",
        "compare/report/pages/html.py": "x = 1\n",
        "compare/report/schema.json": "{\n}\n",
        "compare/notes.txt": "\n",
        "tests/test_it.py": "x = 1\n",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    sizes, data = sizes_of(tmp_path), data_of(tmp_path)
    assert sizes == {"compare": Size(1, 1, 1), "compare/report": Size(2, 3, 4)}
    assert data == {"compare/report/schema.json": 2}
    assert [line.split() for line in table(sizes, data).splitlines()] == [
        ["room", "files", "code", "lines"],
        ["compare", "1", "1", "1"],
        ["compare/report", "2", "3", "4"],
        ["total", "3", "4", "5"],
        [],
        ["data", "lines"],
        ["compare/report/schema.json", "2"],
        ["total", "1", "2"],
    ]
