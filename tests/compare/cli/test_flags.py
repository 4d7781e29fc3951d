"""The table of commands and what argparse makes of it."""

from dataclasses import fields

import pytest

from handgrad.compare.cli.flags import COMMANDS, parser
from handgrad.compare.experiment.settings import Settings


def parse(*words):
    return parser(dict.fromkeys(COMMANDS, len), words).parse_args(words)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_its_help_in_80_columns(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        parse(name, "--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: handgrad {name}" in text
    assert max(map(len, text.splitlines())) <= 80


def test_every_field_of_an_experiment_has_a_flag_that_is_absent_unless_given():
    flags = {
        "layers": ("6,5,4,2", (6, 5, 4, 2)),
        "activations": ("relu,tanh, identity", ("relu", "tanh", "identity")),
        "loss": ("squared-error", "squared-error"),
        "initializer": ("notes-he", "notes-he"),
        "distribution": ("uniform", "uniform"),
        "bias_scale": ("0.3", 0.3),
        "optimizer": ("gradient-descent", "gradient-descent"),
        "learning_rate": ("0.25", 0.25),
        "beta": ("0.5", 0.5),
        "beta2": ("0.99", 0.99),
        "epsilon": ("1e-6", 1e-6),
        "l2": ("0.125", 0.125),
        "batch_size": ("full", None),
        "epochs": ("3", 3),
        "steps": ("2", 2),
        "dtype": ("float32", "float32"),
        "seed": ("9", 9),
        "free_running": (None, True),
    }
    assert set(flags) == {item.name for item in fields(Settings)}
    for command in ("check", "audit"):
        assert not set(flags) & vars(parse(command)).keys()
        for name, (text, value) in flags.items():
            words = [f"--{name.replace('_', '-')}", *([] if text is None else [text])]
            assert getattr(parse(command, *words), name) == value


UNUSABLE = {
    "no command": ([], "required"),
    "an unknown flag": (["check", "--rtol", "1e-3"], "unrecognized arguments"),
    "an unknown format": (["check", "--format", "xml"], "invalid choice: 'xml'"),
    "a format that a command lacks": (["diff", "a", "b", "--format", "html"], "invalid choice: 'html'"),
    "widths that are words": (["check", "--layers", "six"], "'six' is no list of whole numbers"),
    "a width left out": (["check", "--layers", "6,,2"], "'6,,2' is no list"),
    "a rate that is a word": (["check", "--learning-rate", "fast"], "'fast' is not a number"),
    "steps that are half": (["check", "--steps", "1.5"], "'1.5' is not a whole number"),
    "a batch size that is a word": (["check", "--batch-size", "all"], "'all' is not a whole number"),
    "a negative seed": (["faults", "--seed", "-1"], "'-1' is not a whole number from 0"),
    "a missing file": (["show"], "required: FILE.json"),
}


@pytest.mark.parametrize(("words", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_argument_errors_are_one_line_with_the_way_to_help(words, message, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(*words)
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert message in error
    assert error.count("\n") == 1
    assert error.rstrip().endswith("--help")
