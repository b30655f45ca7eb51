"""A large file from a store, whole or not at all; what was cut goes on where it stopped.

Kaggle's package does so as well, since its version 2.2; that of Colab (2.0) may glue two versions
of a file together, and needs to be told its length.
"""

import hashlib
import sys
import time
from pathlib import Path
from typing import Any

from requests import HTTPError, RequestException, Response, Session
from tqdm import tqdm

from paddy_lightning.atomic import replace
from paddy_lightning.errors import UserError
from paddy_lightning.kaggle.errors import GIGABYTE, TRIES
from paddy_lightning.kaggle.session import be_patient

CHUNK = 2**20  # bytes


def fetch(response: Response, file: Path, what: str) -> None:
    """Write what a response brings, at once or in parts.

    What is there of it lies beside the file meanwhile, under a name of the very version: of
    another, nothing is gone on with.

    Args:
        response: Streamed and not read yet; its address is asked again for what is missing.
        file: Where it goes once it is whole.
        what: It is, for the message.

    Raises:
        UserError: It broke off, again and again; the next call goes on from there.
    """
    part, size = part_of(response, file), length(response)
    for old in file.parent.glob(f"{file.name}*.part"):
        if old != part:
            old.unlink()
    with be_patient(Session(), TRIES) as session, response:
        for attempt in range(1, TRIES + 1):
            try:
                _go_on(session, response, part, size)
                break
            except RequestException as error:
                # The session has waited for what passes: an HTTP error stays.
                if attempt == TRIES or isinstance(error, HTTPError):
                    raise UserError(
                        f"{what}: the download broke off ({type(error).__name__}) after"
                        f" {have(part) / GIGABYTE:.3g} of {size / GIGABYTE:.3g} GB; the same"
                        " command goes on from there"
                    ) from error
            time.sleep(2**attempt)
    replace(part, file)


def part_of(response: Response, file: Path) -> Path:
    """Where the beginning of this version of a file is kept."""
    version = hashlib.sha256(f"{_mark(response)} {length(response)}".encode()).hexdigest()[:8]
    return file.with_name(f"{file.name}.{version}.part")


def length(response: Response) -> int:
    """Bytes in all; 0 where it is not told."""
    return int(response.headers.get("Content-Length", 0))


def have(part: Path) -> int:
    """Bytes that are there."""
    return part.stat().st_size if part.exists() else 0


def _go_on(session: Session, first: Response, part: Path, size: int) -> None:
    """From where the part ends, or from the start where no server can tell that it is the same."""
    mark, start = _mark(first), have(part)
    if start and start == size:
        return
    answer = first
    if start or first.raw.tell():
        sought = {"Range": f"bytes={start}-", "If-Range": mark} if start and mark else {}
        sought["Accept-Encoding"] = "identity"
        answer = session.get(first.url, headers=sought, stream=True)
        answer.raise_for_status()
    gone_on = answer.status_code == 206
    bar: Any = tqdm(
        desc=part.name.rsplit(".", 2)[0],
        total=size or None,
        initial=start if gone_on else 0,
        unit="B",
        unit_scale=True,
        leave=False,
        disable=not sys.stderr.isatty(),
    )
    with answer, bar, part.open("ab" if gone_on else "wb") as opened:
        for chunk in answer.iter_content(CHUNK):
            opened.write(chunk)
            bar.update(len(chunk))


def _mark(response: Response) -> str:
    """What tells one version of a file from another; empty where the server does not."""
    headers = response.headers
    return str(headers.get("ETag") or headers.get("Last-Modified") or "")
