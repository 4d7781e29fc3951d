from contextlib import suppress

import numpy as np
import pytest

from handgrad.compare.errors import InputError
from handgrad.compare.experiment.data import Data, load


def test_breast_cancer_is_the_real_set_standardised():
    data = load("breast-cancer")
    assert (data.X.shape, data.Y.shape) == ((30, 569), (1, 569))
    np.testing.assert_allclose(data.X.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(data.X.std(axis=1), 1)
    assert data.Y.sum() == 357
    assert "standardised" in data.description


def test_digits_has_ten_one_hot_labels():
    data = load("digits")
    assert (data.X.shape, data.Y.shape) == ((64, 1797), (10, 1797))
    assert (data.Y.sum(axis=0) == 1).all()
    assert (data.X.min(), data.X.max()) == (0, 1)


def test_synthetic_needs_nothing_and_is_the_same_every_time():
    first, second = load("synthetic"), load("synthetic")
    np.testing.assert_array_equal(first.X, second.X)
    assert set(np.unique(first.Y)) == {0, 1}


def test_a_pair_is_transposed_once_copied_and_read_only():
    X, y = np.arange(6).reshape(3, 2), [0, 1, 1]
    data = load((X, y))
    np.testing.assert_array_equal(data.X, [[0, 2, 4], [1, 3, 5]])
    np.testing.assert_array_equal(data.Y, [[0, 1, 1]])
    X[0, 0] = 99
    assert data.X[0, 0] == 0
    assert not data.X.flags.writeable
    assert isinstance(data, Data)


def test_npz(tmp_path):
    np.savez(tmp_path / "d.npz", X=np.ones((4, 2)), y=np.eye(4)[:, :3])
    data = load(tmp_path / "d.npz")
    assert (data.X.shape, data.Y.shape, data.description) == ((2, 4), (3, 4), "d.npz")


@pytest.mark.parametrize(
    ("text", "X", "Y"),
    [
        ("1,2,0\n3,4,1\n", [[1, 3], [2, 4]], [[0, 1]]),
        ("a,y,b\n1,0,2\n3,1,4\n", [[1, 3], [2, 4]], [[0, 1]]),
        ("\ufeffy1,x,y2\r\n1,5,0\r\n\r\n0,6,1\r\n", [[5, 6]], [[1, 0], [0, 1]]),
        ("x,y\n1e3,.5\n", [[1000]], [[0.5]]),
    ],
    ids=["no heading", "heading", "several labels", "numbers"],
)
def test_csv(tmp_path, text, X, Y):
    path = tmp_path / "d.csv"
    path.write_text(text, encoding="utf-8")
    data = load(str(path))
    np.testing.assert_array_equal(data.X, X)
    np.testing.assert_array_equal(data.Y, Y)


BAD_FILES = {
    "empty.csv": (b"", "is empty"),
    "blank.csv": (b"\n\n", "is empty"),
    "gap.csv": (b"1,2,0\n,,\n", "line 2, column 1 is ''"),
    "heading.csv": (b"a,y\n", "no example"),
    "ragged.csv": (b"1,2,0\n1,0\n", "line 2 has 2 cells and the first has 3"),
    "word.csv": (b"a,y\n1,0\ntwo,1\n", "line 3, column 1 is 'two'"),
    "underscore.csv": (b"a,y\n1_0,0\n", "line 2, column 1 is '1_0'"),
    "nan.csv": (b"a,b,y\n1,2,0\n3,nan,1\n", "X is nan at row 2, column 2"),
    "inf.csv": (b"a,b,y\n1,2,0\n3,4,inf\n", "y is inf at row 2, column 1"),
    "nolabel.csv": (b"a,b\n1,0\n", "head the labels y"),
    "onlylabels.csv": (b"y1,y2\n1,0\n", "head the labels y"),
    "onecolumn.csv": (b"1\n0\n", "head the labels y"),
    "latin.csv": (b"\xe9,y\n1,0\n", "cannot be read"),
    "nul.csv": (b"1,\x000\n", "column"),
    "empty.npz": (b"", "cannot be read"),
    "text.npz": (b"hello", "cannot be read"),
    "zip.npz": (b"PK\x03\x04broken", "cannot be read"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_one_sentence(tmp_path, name):
    content, words = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        load(tmp_path / name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_npz_without_both_arrays_or_with_objects_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", X=np.ones((2, 2)), labels=np.ones(2))
    with pytest.raises(InputError, match="lacks y, it holds X, labels"):
        load(tmp_path / "x.npz")
    np.savez(tmp_path / "o.npz", X=np.array([{}, []], dtype=object), y=np.ones(2))
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "o.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_npz_is_refused_or_read(tmp_path, save):
    """Whichever byte of it is turned round: zip, zlib and the header of an array have exceptions of their own."""
    file = tmp_path / "d.npz"
    save(file, X=np.ones((5, 3)), y=np.ones(5))
    whole = file.read_bytes()
    for at in range(len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with suppress(InputError):
            load(file)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("breast-cancr", "did you mean 'breast-cancer'"),
        ("missing.csv", "no file that exists"),
        ("missing.npz", "no file that exists"),
        ("data.parquet", "neither a known name nor"),
        (17, "of type int"),
        ((np.ones((2, 2)),), "of type tuple"),
        ((np.ones(3), np.ones(3)), r"X has shape \(3,\)"),
        ((np.ones((3, 2)), np.ones((3, 1, 1))), "y has shape"),
        ((np.ones((3, 2)), np.ones(4)), "X has 3 rows and y has 4"),
        ((np.ones((0, 2)), np.ones(0)), "at least one example"),
        ((np.ones((2, 0)), np.ones(2)), "at least one example"),
        (([[1, 2], [3]], [0, 1]), "not an array of real numbers"),
        (([["a"]], [0]), "not an array of real numbers"),
        ((np.ones((2, 2)) * 1j, [0, 1]), "not an array of real numbers"),
        (([[1.0, np.inf]], [0]), "X is inf at row 1, column 2"),
    ],
)
def test_unusable_sources_are_refused(source, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words):
        load(source)


def test_the_real_sets_are_those_of_scikit_learn():
    from sklearn import datasets

    X, y = datasets.load_breast_cancer(return_X_y=True)
    assert np.array_equal(load("breast-cancer").X, ((X - X.mean(0)) / X.std(0)).T)
    assert np.array_equal(load("breast-cancer").Y, y[None])
    X, y = datasets.load_digits(return_X_y=True)
    assert np.array_equal(load("digits").X, X.T / 16)
    assert np.array_equal(load("digits").Y, np.eye(10)[y].T)


def test_without_scikit_learn_the_remedy_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(InputError, match=r"pip install 'handgrad\[data\]'.*--data synthetic"):
        load("digits")
    assert load("synthetic").X.shape == (30, 569)
