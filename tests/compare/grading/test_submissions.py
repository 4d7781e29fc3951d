"""What is a submission: files, folders, notebooks; and what its code looks like without being run."""

from types import FunctionType

import pytest

from handgrad.compare.errors import InputError
from handgrad.compare.grading.submissions import Likeness, submissions
from handgrad.compare.source.pieces import pieces_of
from handgrad.compare.source.reached import keeps_numbers, reached, shortcuts
from tests.compare.grading.course import RIGHT


@pytest.fixture
def folder(tmp_path):
    def of(**files):
        for name, content in files.items():
            path = tmp_path / name.replace("__", "/").replace("_py", ".py").replace("_ipynb", ".ipynb")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path

    return of


def test_a_folder_of_files_is_a_class(folder):
    found = submissions([str(folder(ada_py=RIGHT, ben_py=RIGHT, cleo_py="x = (", notes_txt="no"))], "derivation")
    assert [(one.name, one.main) for one in found] == [("ada", "ada.py"), ("ben", "ben.py"), ("cleo", "cleo.py")]


def test_a_folder_with_one_file_that_defines_it_is_one_submission(folder):
    (one,) = submissions([str(folder(net_py=RIGHT, helpers_py="def relu(z):\n    return z\n"))], "derivation")
    assert (one.main, {*one.files}) == ("net.py", {"net.py", "helpers.py"})


def test_folders_in_a_folder_are_submissions_each(folder):
    path = folder(ada__hw_py=RIGHT, ada__more_py="x = 1\n", ben__hw_py="x = 1\n", cleo_py=RIGHT)
    ada, ben, cleo = submissions([str(path)], "derivation")
    assert (ada.name, ada.main, {*ada.files}) == ("ada", "hw.py", {"hw.py", "more.py"})
    assert ben.wrong is not None
    assert ben.wrong.code == "not-one"
    assert cleo.main == "cleo.py"


def test_two_of_one_name_are_told_apart(folder):
    path = folder(a__hw_py=RIGHT, b__hw_py=RIGHT)
    names = [one.name for one in submissions([str(path / "a" / "hw.py"), str(path / "b" / "hw.py")], "derivation")]
    assert len({*names}) == 2


@pytest.mark.parametrize("path", ["nowhere", "notes.txt"])
def test_what_is_no_submission_is_an_input_error(path, folder):
    with pytest.raises(InputError):
        submissions([str(folder(notes_txt="no") / path)], "derivation")
    with pytest.raises(InputError):
        submissions([str(folder(notes_txt="no"))], "derivation")


def test_links_out_of_a_folder_are_not_followed(folder, tmp_path):
    path = folder(ada__hw_py=RIGHT)
    (tmp_path / "secret.py").write_text("x = 1\n")
    (path / "ada" / "link.py").symlink_to(tmp_path / "secret.py")
    found = {one.name: one for one in submissions([str(path)], "derivation")}
    assert {*found["ada"].files} == {"hw.py"}


def test_a_notebooks_code_cells_are_taken_together(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    imports, body = RIGHT.split("\n", 1)
    cells = [
        nbformat.v4.new_markdown_cell("# Exercise"),
        nbformat.v4.new_code_cell(f"%matplotlib inline\n{imports}\n!pip list"),
        nbformat.v4.new_code_cell("%%bash\nrm -rf nothing"),
        nbformat.v4.new_code_cell(body),
    ]
    file = tmp_path / "ada.ipynb"
    file.write_text(nbformat.writes(nbformat.v4.new_notebook(cells=cells)))
    (one,) = submissions([str(file)], "derivation")
    compile(one.text, "ada", "exec")
    assert "def derivation" in one.text
    assert "rm -rf" not in one.text
    file.write_text("{}")
    (one,) = submissions([str(file)], "derivation")
    assert one.wrong is not None


def likeness(text):
    return type("Thing", (), {"__wrapped__": staticmethod(Likeness(text, "/handed_in/ada.py").of("derivation"))})()


def test_code_is_read_and_not_run():
    text = "import os\nos._exit(7)\n" + RIGHT
    things = reached(likeness(text))
    assert any(isinstance(thing, FunctionType) and thing.__name__ == "derivation" for thing in things)
    assert keeps_numbers(things)


@pytest.mark.parametrize(
    "text",
    [
        RIGHT,
        RIGHT.replace("def derivation", "def mine") + "\nderivation = mine\n",
        "class Net:\n    def __call__(self, params, X):\n        return {}\n\nderivation = Net()\n",
        "@decorated\ndef derivation(params, X):\n    return {}\n",
    ],
)
def test_the_pieces_of_code_are_found(text):
    pieces = [*pieces_of(likeness(text))]
    assert pieces
    assert all(piece.file == "/handed_in/ada.py" for piece in pieces)


@pytest.mark.parametrize(
    "text", ["def derivation(:\n", "x = " + "(" * 5000 + ")" * 5000, "\0", "x = '" + "y" * 2**20 + "'"]
)
def test_code_that_cannot_be_read_is_no_code(text):
    assert [*pieces_of(likeness(text))] == []


def test_autograd_is_seen_without_running_it():
    text = (
        "import torch\n\ndef derivation(params, X):\n    J = torch.tensor(X).sum()\n    J.backward()\n    return {}\n"
    )
    assert [note.by for note in shortcuts(reached(likeness(text)), None)] == ["autograd"]
    text = "from autograd import grad\n\ndef derivation(params, X):\n    return grad(loss)(params)\n"
    assert [note.by for note in shortcuts(reached(likeness(text)), None)] == ["autograd"]
