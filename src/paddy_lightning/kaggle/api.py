"""Kaggle through its own package: signed in, patient, and each failure as one sentence.

``import kaggle`` signs in at once, prints, and may end the process; so it happens in here, late,
with its prints kept back. They could also hold the token, which no line of ours ever shows.
"""

import io
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from paddy_lightning.errors import UserError
from paddy_lightning.kaggle.errors import (
    KEEP,
    TRIES,
    check_room,
    explained,
    one_line,
    wrong_token,
)

POLL = (5.0, 60.0)  # seconds between two looks for a score: at first, and at most


@contextmanager
def kaggle_api(competition: str) -> Iterator[Any]:
    """Kaggle's ``KaggleApi``, signed in, for one competition.

    Raises:
        UserError: Whatever goes wrong in signing in or in the block: no token, a wrong one, rules
            not accepted, no such competition, no network, no room.
    """
    place = token_place()
    if place is None:
        raise UserError(f"Kaggle wants a token, and there is none: {KEEP}")
    if find_spec("kaggle") is None:
        raise UserError("Kaggle's own package is not installed: pip install 'kaggle>=2.0.2' six")
    from paddy_lightning.kaggle.session import patient_clients

    with explained(competition, place), redirect_stdout(io.StringIO()):
        with patient_clients(tries=1), suppress(Exception, SystemExit):
            import kaggle  # newer ones swallow what goes wrong in here
        with patient_clients(TRIES):
            try:
                import kaggle

                kaggle.api.authenticate()
            except (SystemExit, ValueError) as error:
                # Of a kaggle.json that is none, older ones say "Error: Missing username".
                if isinstance(error, ValueError) and "Missing" not in str(error):
                    raise
                raise UserError(wrong_token(place)) from None
            # VERBOSE=true in the environment would have every header printed.
            kaggle.api.args = [word for word in kaggle.api.args if word != "--verbose"]
            yield kaggle.api


def token_place() -> str | None:
    """Where a token lies, looked for as the package does; never the token itself."""
    for names in (
        ("KAGGLE_API_TOKEN",),
        ("KAGGLE_USERNAME", "KAGGLE_KEY"),
        ("KAGGLE_API_V1_TOKEN",),
    ):
        if all(os.environ.get(name) for name in names):
            return names[-1]
    home = Path("~/.kaggle").expanduser()
    config = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "kaggle"
    own = os.environ.get("KAGGLE_CONFIG_DIR")
    files = [home / name for name in ("access_token", "access_token.txt", "credentials.json")]
    files += [folder / "kaggle.json" for folder in ([Path(own)] if own else [home, config])]
    return next((str(file) for file in files if file.is_file()), None)


def is_name(text: str) -> bool:
    """Whether a competition could be called so."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}", text) is not None  # GiveMeSomeCredit


def check_name(competition: str) -> None:
    """Refuse what cannot be a competition's name, before it becomes part of a path.

    Raises:
        UserError: Names it.
    """
    if not is_name(competition):
        raise UserError(
            f"competition={competition}: not a name; it is the last part of the competition's"
            " address, such as paddy-disease-classification"
        )


def fetch_archive(api: Any, competition: str, archive: Path) -> None:
    """Download all files of a competition as one zip; what is cut goes on where it stopped.

    Raises:
        UserError: There is no room for it, or it broke off; the next one goes on from there.
    """
    from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFilesRequest

    from paddy_lightning.kaggle.resumable import fetch, have, length, part_of

    request = ApiDownloadDataFilesRequest()
    request.competition_name = competition
    with api.build_kaggle_client() as client:
        response = client.competitions.competition_api_client.download_data_files(request)
        # Pictures hardly shrink in a zip, so that unpacking needs about as much again.
        need = 2 * length(response) - have(part_of(response, archive))
        check_room(archive.parent, need, f"downloading and unpacking {competition}")
        fetch(response, archive, competition)


def submissions_left(api: Any, competition: str) -> int | None:
    """How many may still be sent today; None where Kaggle does not tell (before the first one).

    Raises:
        UserError: None are left.
    """
    from kagglesdk.competitions.types.competition_api_service import ApiGetSubmissionLimitsRequest

    request = ApiGetSubmissionLimitsRequest()
    request.competition_name = competition
    with api.build_kaggle_client() as client:
        limits = client.competitions.competition_api_client.get_submission_limits(request)
    if limits.num_allowed_now == 0 and limits.num_total == 0:
        return None
    if limits.num_allowed_now == 0:
        raise UserError(
            f"{competition}: no submission is left today ({limits.num_today} were sent); try again"
            f" after midnight UTC, in {_hours_to_midnight()} hours"
        )
    return int(limits.num_allowed_now)


def send(api: Any, competition: str, file: Path, message: str) -> int:
    """Upload a submission.

    The parts of the package's ``competition_submit``, whose upload has no limit of time, and which
    would have to be repeated as a whole.

    Returns:
        Its id.

    Raises:
        UserError: Kaggle does not take it.
    """
    from kagglesdk.competitions.types import competition_api_service as types

    def listed() -> set[int]:
        found = api.competition_submissions(competition) or []
        return {s.ref for s in found if (s.file_name, s.description) == (file.name, message)}

    start, request = types.ApiStartSubmissionUploadRequest(), types.ApiCreateSubmissionRequest()
    start.competition_name = request.competition_name = competition
    start.file_name, start.content_length = file.name, file.stat().st_size
    start.last_modified_epoch_seconds = int(file.stat().st_mtime)
    request.submission_description = message
    before = listed()
    with api.build_kaggle_client() as client:
        competitions = client.competitions.competition_api_client
        place = competitions.start_submission_upload(start)
        upload(competition, file, place.create_url)
        request.blob_file_tokens = place.token
        ref, said = _submit(competitions, request, lambda: max(listed() - before, default=0))
    if ref:
        return ref
    raise UserError(f"{competition}: Kaggle did not take the file: {one_line(said)}")


def _submit(competitions: Any, request: Any, arrived: Callable[[], int]) -> tuple[int, str]:
    """Ask until Kaggle answers: the submission's id, 0 if it was not taken, and what was said."""
    import requests

    from paddy_lightning.kaggle.session import PASSING

    for attempt in range(1, TRIES + 1):
        try:
            answer = competitions.create_submission(request)
        except requests.RequestException as error:
            # The answer may have been lost on the way, and the submission be there nevertheless:
            # to send it again would cost one of the day.
            if ref := arrived():
                return ref, ""
            status = error.response.status_code if error.response is not None else None
            if attempt == TRIES or status not in (None, *PASSING):
                raise
        else:
            return int(answer.ref or arrived()), answer.message
        time.sleep(2**attempt)
    raise AssertionError("the last try ends it")


def upload(what: str, file: Path, address: str) -> None:
    """Put a file to a store that is not Kaggle's own, and must see no token.

    Args:
        what: It is for, for the message.
        file: Of any size.
        address: Signed, and good for this file alone.

    Raises:
        UserError: It did not arrive.
    """
    from requests import RequestException, Session

    from paddy_lightning.kaggle.session import be_patient

    try:
        with be_patient(Session(), TRIES) as session, file.open("rb") as body:
            session.put(address, data=body).raise_for_status()
    except RequestException as error:
        response = error.response
        why = f"HTTP {response.status_code}" if response is not None else type(error).__name__
        raise UserError(
            f"{what}: the upload failed ({why}), and nothing was sent; try again later"
        ) from error


def wait_for_score(api: Any, submission: int, seconds: float) -> Any:
    """Look until a submission is scored, or refused, or the time is over.

    Returns:
        Kaggle's ``ApiSubmission`` as last seen; None where it never was.
    """
    import requests
    from kagglesdk.competitions.types.competition_api_service import ApiGetSubmissionRequest

    request = ApiGetSubmissionRequest()
    request.ref = submission

    def look() -> Any:
        # Not the package's get_submission, which tries ten times in each of our tries.
        try:
            with api.build_kaggle_client() as client:
                return client.competitions.competition_api_client.get_submission(request)
        except requests.HTTPError as error:
            if error.response is not None and error.response.status_code == 404:
                return None  # a new one may take a while to appear
            raise

    deadline, pause = time.monotonic() + seconds, POLL[0]
    while True:
        seen = look()
        if seen is not None and seen.status.name != "PENDING":
            return seen
        if time.monotonic() + pause > deadline:
            return seen
        time.sleep(pause)
        pause = min(1.5 * pause, POLL[1])


def _hours_to_midnight() -> int:
    return 24 - datetime.now(UTC).hour
