"""Real data, files and arrays, brought into the notes' orientation: examples are columns."""

from __future__ import annotations

import csv
import re
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from handgrad.compare.errors import InputError, did_you_mean


@dataclass(frozen=True)
class Data:
    """Inputs X (n_x, N) and labels Y (K, N), float64 and read-only, with a sentence on where they come from."""

    X: np.ndarray
    Y: np.ndarray
    description: str


def load(source: Any) -> Data:
    """Data from a name, a .npz or .csv file with X and y, or a pair (X, y) in the orientation data sets come in.

    X is (N, n_x), y is (N,) or (N, K). A .npz file holds arrays named X and y. A .csv file holds numbers, one example
    per line; columns headed y, y1, y2 ... are labels; without a heading the last column is. Raises InputError.
    """
    if isinstance(source, Data):
        return source
    if isinstance(source, (str, Path)):
        name = str(source)
        if name in _NAMED:
            return _NAMED[name]()
        path = Path(source)
        reader = {".npz": _read_npz, ".csv": _read_csv}.get(path.suffix.lower())
        if reader is None:
            raise InputError(
                f"data {name!r} is neither a known name nor a .npz or .csv file; {did_you_mean(name, NAMES)}"
            )
        try:
            usable = path.is_file()
        except (OSError, ValueError):  # a name too long, or with a NUL
            usable = False
        if not usable:
            raise InputError(f"data {name!r} is no file that exists; give the path of a .npz or .csv file")
        return reader(path)
    if isinstance(source, Sequence) and len(source) == 2:
        return _from_rows(source[0], source[1], "arrays")
    raise InputError(
        f"data is of type {type(source).__name__}; hand over a name, a .npz or .csv file, or a pair (X, y)"
    )


def _breast_cancer() -> Data:
    table = _of_sklearn("breast_cancer.csv", headings=1)
    X, y = table[:, :-1], table[:, -1]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    return _from_rows(X, y, "breast-cancer (scikit-learn, 569 x 30, each column standardised)")


def _digits() -> Data:
    table = _of_sklearn("digits.csv.gz", headings=0)
    X, y = table[:, :-1], table[:, -1]
    return _from_rows(
        X / 16, np.eye(10)[y.astype(int)], "digits (scikit-learn, 1797 x 64, scaled to [0, 1], ten one-hot labels)"
    )


def _synthetic() -> Data:
    rng = np.random.default_rng(2026)
    X = rng.standard_normal((569, 30))
    y = (X[:, :5].sum(axis=1) + rng.standard_normal(569) > 0).astype(float)
    return _from_rows(X, y, "synthetic (built in, seeded, 569 x 30, standard normal)")


_NAMED: dict[str, Callable[[], Data]] = {
    "breast-cancer": _breast_cancer,
    "digits": _digits,
    "synthetic": _synthetic,
}
NAMES = tuple(_NAMED)


def _of_sklearn(file: str, headings: int) -> np.ndarray:
    """The numbers of a file that scikit-learn comes with; it is not imported, which takes longer than torch."""
    spec = find_spec("sklearn")
    path = Path(spec.origin).parent / "datasets" / "data" / file if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise InputError(
            "the real data sets need scikit-learn, which is not installed; "
            "run `pip install 'handgrad[data]'` or use the built-in `--data synthetic`"
        )
    return np.loadtxt(path, delimiter=",", skiprows=headings)


DAMAGED = (zipfile.BadZipFile, zlib.error, tokenize.TokenError)


def _read_npz(path: Path) -> Data:
    remedy = "save it with np.savez(file, X=X, y=y)"
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            held = set(archive.files) if isinstance(archive, np.lib.npyio.NpzFile) else set()
            missing = {"X", "y"} - held
            X, y = (None, None) if missing else (archive["X"], archive["y"])
    except (OSError, ValueError, EOFError, MemoryError, RuntimeError, SyntaxError, *DAMAGED) as error:
        raise InputError(f"{path.name} cannot be read as .npz ({_reason(error)}); {remedy}") from None
    if missing:
        held_names = f"it holds {', '.join(sorted(held))}" if held else "it holds no named array"
        raise InputError(f"{path.name} lacks {' and '.join(sorted(missing))}, {held_names}; {remedy}")
    return _from_rows(X, y, path.name)


def _read_csv(path: Path) -> Data:
    header, rows = _cells(path)
    for number, row in rows:
        _check_row(row, len(header or rows[0][1]), f"{path.name} line {number}")
    table = np.array([[float(cell) for cell in row] for _, row in rows])  # (N, columns)
    last_alone = [*(False for _ in rows[0][1][1:]), True]
    is_label = [re.fullmatch(r"y\d*", name) is not None for name in header] if header else last_alone
    if not any(is_label) or all(is_label):
        raise InputError(
            f"{path.name} has the columns {', '.join(header) if header else len(is_label)}; "
            "head the labels y (or y1, y2, ...) and the inputs otherwise"
        )
    columns = np.array(is_label)
    return _from_rows(table[:, ~columns], table[:, columns], path.name)


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The heading of a .csv file, if its first line is one, and the other lines with their numbers."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [(number, row) for number, row in enumerate(csv.reader(file), start=1) if row]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path.name} cannot be read as .csv ({_reason(error)}); save it as comma-separated UTF-8 text"
        ) from None
    if not rows:
        raise InputError(f"{path.name} is empty; it must hold one example per line, so write X and y into it")
    if any(_is_number(cell) for cell in rows[0][1]):
        return [], rows
    if len(rows) == 1:
        raise InputError(f"{path.name} holds a heading and no example; add one line per example")
    return [cell.strip() for cell in rows[0][1]], rows[1:]


def _check_row(row: list[str], width: int, place: str) -> None:
    if len(row) != width:
        raise InputError(f"{place} has {len(row)} cells and the first has {width}; give every line the same")
    for column, cell in enumerate(row, start=1):
        if not _is_number(cell):
            raise InputError(
                f"{place}, column {column} is {cell!r}; every cell must be a number, so replace it or drop that line"
            )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python reads 1_0 as 10


def _reason(error: Exception) -> str:
    """The first line of an error, without the path that some carry or the advice to load unsafely."""
    if "allow_pickle" in str(error):
        return "it is not an archive of plain arrays"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__


def _from_rows(X: Any, y: Any, description: str) -> Data:
    """Check X (N, n_x) and y (N,) or (N, K), and transpose them: the only place where data changes orientation."""
    X, y = _numbers("X", X), _numbers("y", y)
    if X.ndim != 2:
        raise InputError(f"X has shape {X.shape}; it must be (N, n_x), one example per row, so reshape it")
    if y.ndim not in (1, 2):
        raise InputError(f"y has shape {y.shape}; it must be (N,) or (N, K), one example per row, so reshape it")
    if X.size == 0 or y.size == 0:
        raise InputError(f"X has shape {X.shape} and y {y.shape}; both need at least one example and one column")
    if len(X) != len(y):
        raise InputError(
            f"X has {len(X)} rows and y has {len(y)}; both must have one row per example, so cut them to match"
        )
    return Data(_columns("X", X), _columns("y", y if y.ndim == 2 else y[:, np.newaxis]), description)


def _numbers(name: str, value: Any) -> np.ndarray:
    if type(value) is not np.ndarray and np.ma.isMaskedArray(value):  # numpy.ma is imported for others alone
        raise InputError(f"{name} is a masked array, whose mask would be lost; hand over the rows without gaps")
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise TypeError
        return array.astype(np.float64)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{name} is not an array of real numbers; hand over a rectangular array of floats") from None


def _columns(name: str, rows: np.ndarray) -> np.ndarray:
    """Finite numbers with one example per row, as columns."""
    wrong = np.argwhere(~np.isfinite(rows))
    if len(wrong):
        row, column = wrong[0]
        raise InputError(
            f"{name} is {rows[row, column]} at row {row + 1}, column {column + 1}; every number must be finite, "
            "so replace it or drop that row"
        )
    columns = np.ascontiguousarray(rows.T)
    columns.flags.writeable = False
    return columns
