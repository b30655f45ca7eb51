"""What goes wrong on the way to Kaggle, each told as one sentence."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paddy_lightning.errors import UserError

TRIES = 4  # of a request
TIMEOUT = 60  # seconds without an answer
GIGABYTE = 10**9
SETTINGS = "https://www.kaggle.com/settings/api"
KEEP = f"make one at {SETTINGS} and keep it in ~/.kaggle/access_token or in KAGGLE_API_TOKEN"
NO_REASON = "without a reason"


@contextmanager
def explained(competition: str, place: str) -> Iterator[None]:
    """Whatever the block raises, as one sentence."""
    import requests
    from urllib3.exceptions import TimeoutError as LateError

    try:
        yield
    except requests.HTTPError as error:
        raise UserError(_http_sentence(error, competition, place)) from error
    except (requests.Timeout, requests.ConnectionError) as error:
        reason = getattr(error.args[0], "reason", None) if error.args else None
        late = isinstance(error, requests.Timeout) or isinstance(reason, LateError)
        why = f"no answer within {TIMEOUT} seconds" if late else type(error).__name__
        raise UserError(
            f"Kaggle cannot be reached ({why}), {TRIES} times in a row; is there a network?"
        ) from error
    except (
        *(requests.RequestException, ValueError),
        *(AttributeError, LookupError, TypeError),  # JSON of other shapes than the package's
    ) as error:
        said = f"{type(error).__name__} {error}"
        if isinstance(error, UnicodeError) or "header" in said.lower():
            # Its message holds the header, and so the token: neither it nor its traceback.
            raise UserError(
                f"the Kaggle token in {place} has characters that no token has; {KEEP}"
            ) from None
        raise UserError(
            f"Kaggle gave an answer that cannot be understood ({type(error).__name__}); is a"
            " proxy in between?"
        ) from error
    except OSError as error:
        raise UserError(disk_sentence(error)) from error


def disk_sentence(error: OSError) -> str:
    """What a disk refused, and what to do."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}the disk is full; make room and run the same command again"
    return f"{where}{error.strerror or error}"


def _http_sentence(error: Any, competition: str, place: str) -> str:
    response = error.response
    status = response.status_code if response is not None else 0
    page = f"https://www.kaggle.com/c/{competition}"
    match status:
        case 401:
            return wrong_token(place)
        case 403:
            return (
                f"{competition}: Kaggle refuses ({_said(response)}); if you have not accepted the"
                f" rules, do so at {page}/rules, then run the same command again"
            )
        case 404:
            return (
                f"competition={competition}: Kaggle knows no such competition; its name is the last"
                " part of its address, such as paddy-disease-classification"
            )
        case 429:
            return "Kaggle has had too many requests; wait some minutes and try again"
        case _ if status >= 500:
            return (
                f"Kaggle is out of order (HTTP {status}, {TRIES} times in a row); try again later"
            )
    return f"{competition}: Kaggle refuses (HTTP {status}): {_said(response)}"


def _said(response: Any) -> str:
    """What Kaggle says of a refusal, such as that the day's submissions are used up."""
    try:
        return one_line(response.json()["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return NO_REASON


def one_line(text: object) -> str:
    """What Kaggle says, fit to stand in a sentence of ours."""
    return " ".join(str(text).split())[:300].rstrip(".") or NO_REASON


def wrong_token(place: str) -> str:
    """What to say of a token that Kaggle refuses."""
    return f"Kaggle does not take the token in {place}; {KEEP}"


def check_room(folder: Path, need: int, what: str) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        UserError: Says how much is missing.
    """
    free = shutil.disk_usage(folder).free
    if need > free:
        raise UserError(
            f"{folder.absolute()}: {what} needs {need / GIGABYTE:.3g} GB,"
            f" and {free / GIGABYTE:.3g} GB are free; make room and run the same command again"
        )
