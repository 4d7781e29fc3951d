"""The file that `handgrad init` writes."""

import pytest

from handgrad.compare.checks.files import check_file
from handgrad.compare.cli.template import write_template
from handgrad.compare.errors import InputError


def test_the_file_passes_and_the_broken_one_fails_by_one_line(tmp_path):
    mine, broken = str(tmp_path / "mine.py"), str(tmp_path / "broken.py")
    write_template(mine)
    write_template(broken, broken=True)
    assert check_file(mine)["gradients"].findings == ()
    (finding,) = check_file(broken)["gradients"].findings
    assert (finding.where.name, finding.cause.code) == ("dZ1", "activation-derivative")
    assert finding.line.text == "dZ1 = dA1 * (1 - Z1**2)"
    lines = [(tmp_path / name).read_text().splitlines() for name in ("mine.py", "broken.py")]
    different = [line.strip() for line in lines[0] if line not in lines[1] and "Run:" not in line]
    assert different == ["dZ1 = dA1 * (1 - A1**2)"]


def test_a_file_that_exists_is_left_as_it_is(tmp_path):
    (tmp_path / "mine.py").write_text("x = 1\n")
    with pytest.raises(InputError, match="exists and is left as it is"):
        write_template(str(tmp_path / "mine.py"))
    assert (tmp_path / "mine.py").read_text() == "x = 1\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [("mine.txt", "end it in .py"), ("no/mine.py", "cannot be written"), ("a\0.py", "cannot be written")],
)
def test_what_is_wrong_with_a_name_is_said(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        write_template(name)


def test_a_link_to_nothing_is_named(tmp_path):
    (tmp_path / "mine.py").symlink_to(tmp_path / "gone.py")
    with pytest.raises(InputError, match="is a link to a file that is not there; remove it or name a new file"):
        write_template(str(tmp_path / "mine.py"))
    assert not (tmp_path / "gone.py").exists()
