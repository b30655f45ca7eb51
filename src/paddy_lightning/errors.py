"""The one exception for what the user can mend, and near names to help with it."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake the user can mend: shown as one message, without a traceback."""


class TakenError(UserError):
    """A folder is another run's, or in another process's hands: nothing may be written there."""


class DivergedError(UserError):
    """A training whose numbers are lost; what goes on with it would lose them again."""


def nearest(word: str, known: Iterable[str]) -> str:
    """``"; did you mean ...?"``, or nothing where no known word is near."""
    close = get_close_matches(word, list(known), n=3, cutoff=0.6)
    return f"; did you mean {', '.join(close)}?" if close else ""
