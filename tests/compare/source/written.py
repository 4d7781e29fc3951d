"""Code that a test writes, with its lines known as those of a file would be."""

import linecache
import textwrap
from itertools import count

import numpy as np

NUMBERS = count()


def module(code):
    """The names that code defines, and its lines."""
    text = textwrap.dedent(code).lstrip("\n")
    file = f"written_{next(NUMBERS)}.py"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    names = {"np": np, "__name__": "written"}
    exec(compile(text, file, "exec"), names)
    return names, text.splitlines()


def texts(lines, numbers):
    """The lines of these numbers, stripped."""
    return [lines[number - 1].strip() for number in numbers]
