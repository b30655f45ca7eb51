"""Kaggle's own client, made patient: a limit to each wait, and failed requests tried again.

The package sets no limit, and repeats none of the requests that are answered with an HTTP error.
Only its own sessions are changed; ``requests`` is as it was for all others.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kagglesdk import kaggle_client
from kagglesdk.kaggle_http_client import KaggleHttpClient
from requests import Session
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from paddy_lightning.kaggle import errors as kaggle_errors

PASSING = frozenset({429, *range(500, 600)})  # HTTP statuses that may be others a little later
# To repeat this one blindly may cost one of the day's submissions.
ONCE = ("competitions.CompetitionApiService", "CreateSubmission")


@contextmanager
def patient_clients(tries: int) -> Iterator[None]:
    """Make the clients that the package builds in the block patient."""

    class Client(KaggleHttpClient):  # type: ignore[misc]
        def _init_session(self) -> None:
            fresh = self._session is None
            super()._init_session()
            if fresh:
                be_patient(self._session, tries)
                self._session.mount(self._get_request_url(*ONCE), _LimitedAdapter())

    kaggle_client.KaggleHttpClient = Client
    try:
        yield
    finally:
        kaggle_client.KaggleHttpClient = KaggleHttpClient


def be_patient(session: Session, tries: int) -> Session:
    """The session, which now waits for a time and tries a request so often."""
    retry = Retry(
        tries - 1,
        backoff_factor=1,  # seconds: 0, then 2, 4, ...
        status_forcelist=PASSING,
        allowed_methods=None,  # all
        raise_on_status=False,  # the last answer says more
        respect_retry_after_header=False,  # which may be hours
    )
    for scheme in ("https://", "http://"):
        session.mount(scheme, _LimitedAdapter(max_retries=retry))
    return session


class _LimitedAdapter(HTTPAdapter):  # type: ignore[misc]
    def send(
        self, request: Any, stream: bool = False, timeout: Any = None, **more: Any
    ) -> Any:  # a Response
        return super().send(request, stream, timeout or kaggle_errors.TIMEOUT, **more)
