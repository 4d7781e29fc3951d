"""What grading says of a submission as a whole: why it has no answer, as facts."""

from handgrad.compare.facts.fact import Fact
from handgrad.compare.facts.failures import Raised


class Ended(Fact):
    """Why nothing can be said of a submission, or nothing more."""


class NotOne(Ended, code="not-one", sentence="{name} cannot be graded: {why}"):
    """It has not one file that can be run."""

    name: str
    why: str


class Unread(Ended, code="unread", sentence="its file does not run: {raised}"):
    """Its file raises."""

    raised: Raised


class NotDefined(Ended, code="not-defined", sentence="it defines no function {name}"):
    """Its file runs, and has nothing of the name that is due, or no function."""

    name: str


class TooLong(Ended, code="too-long", sentence="it gave no answer within {seconds} s"):
    """A call of it took too long, or all did."""

    seconds: float


class NoAnswer(Ended, code="no-answer"):
    """Its process ended, or sent what is no answer."""

    status: int = 0

    def __str__(self) -> str:
        if self.status < 0:
            return f"its process was ended by signal {-self.status}, as where it takes too much memory or time"
        return f"its process ended by itself with status {self.status} instead of returning"


class NotJudged(Ended, code="not-judged", sentence="what it returned cannot be judged"):
    """The check itself could not use what it returned; `why` is for the teacher."""

    why: str
