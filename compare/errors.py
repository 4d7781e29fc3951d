"""The two ways in which a check ends without a pass: unusable input, and a difference."""

from collections.abc import Collection


class InputError(ValueError):
    """What the user handed over cannot be used; the message states the value, the rule and the remedy, in one line."""

    def __init__(self, message: str) -> None:
        """Whatever the message quotes, it stays one line."""
        super().__init__(" ".join(message.split()))


class ParityError(AssertionError):
    """The two sides differ; the message is the report."""


def kind_of(value: object) -> str:
    """What a value is, with its article: an int, a list, an ndarray, a Tensor of torch.int64, None."""
    name = type(value).__name__
    has_vowel = name[0].lower() in "aeio" or name == "ndarray"
    of = f" of {value.dtype}" if name == "Tensor" and hasattr(value, "dtype") else ""
    return "None" if value is None else f"{'an' if has_vowel else 'a'} {name}{of}"


def did_you_mean(name: str, known: Collection[str]) -> str:
    """A remedy for an unknown name: the closest known one if any is close, and the whole list."""
    return f"{nearest(name, known)}known are {', '.join(known)}"


def nearest(name: str, known: Collection[str]) -> str:
    """The question whether the closest known name was meant, with a space behind it; nothing where none is close."""
    close = closest(str(name), known)
    return f"did you mean {close!r}? " if close else ""


def closest(name: str, known: Collection[str]) -> str:
    """The known name that is nearest to one, in whatever case it is written; nothing where none is close."""
    from difflib import get_close_matches  # only where something is unknown: it delays every command

    same = [other for other in known if other.lower() == name.lower()]
    return (same or get_close_matches(name, known, n=1) or [""])[0]
