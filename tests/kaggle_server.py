"""A stand-in for Kaggle: a real HTTP server on this machine, for the real ``kaggle`` package.

It keeps to what the package and Kaggle say to each other: calls are POSTs of JSON, a download is
a redirect to a store with ETag and ranges, an upload a PUT to an address given beforehand.
"""

import hashlib
import json
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "KGAT_planted_0123456789abcdef"
STARTUP = """
import time
from kagglesdk import kaggle_env
from paddy_lightning.kaggle import errors as kaggle_errors

kaggle_env._env_to_endpoint[kaggle_env.KaggleEnv.PROD] = "http://localhost:{port}"
kaggle_errors.TIMEOUT = {timeout}
sleep = time.sleep
time.sleep = lambda seconds: sleep(min(seconds, 0.01))
"""  # of a Python that takes this server for Kaggle, and is not patient


@dataclass
class Kaggle:
    """What the server has, and how it misbehaves.

    Attributes:
        archive: The zip of the competition ``paddy-disease-classification``.
        refusals: By the name of a call: answers to give before it works, as (HTTP status, what is
            said); status 0 hangs up, -1 keeps silent for a while.
        bodies: By the name of a call: what it answers in place of what it should.
        cuts: Downloads that break off after so many bytes, one after the other.
        tells_length: Whether a download says how long it is.
        store: Where a download is said to lie; None for where it does.
        allowed: Submissions left today.
        scores: What a submission says when it is looked at, one after the other; the last stays.
        lost: How many answers to CreateSubmission are lost on the way.
        calls: How often each call came.
        seen: Every (path, token, range) that came.
        uploads: The files that were put, by address.
        submissions: What was submitted.
        statuses: What a data set says of itself, one after the other; the last stays.
        data_sets: The files of every version, by the data set's name.
        notebooks: What was saved.
    """

    archive: bytes = b""
    refusals: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    tells_length: bool = True
    store: str | None = None
    allowed: int = 5
    scores: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {"status": "PENDING"},
            {"status": "COMPLETE", "publicScore": "0.98154"},
        ]
    )
    lost: int = 0
    calls: "Counter[str]" = field(default_factory=Counter)
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)
    submissions: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[str] = field(default_factory=lambda: ["BLOBS_RECEIVED", "READY"])
    data_sets: dict[str, list[list[str]]] = field(default_factory=dict)
    notebooks: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0


def serve(kaggle: Kaggle) -> ThreadingHTTPServer:
    """Start the server in a thread of its own; ``shutdown`` and ``server_close`` end it."""
    handler = type("Handler", (_Handler,), {"kaggle": kaggle})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    kaggle.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    kaggle: Kaggle
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Not on the tests' terminal."""

    def do_POST(self) -> None:
        call = self.path.rsplit("/", 1)[-1]
        told = json.loads(self._body() or b"{}")
        if not self._refused(call):
            getattr(self, f"_{re.sub('(?=[A-Z])', '_', call).lower().strip('_')}")(told)

    def do_PUT(self) -> None:
        body = self._body()
        if not self._refused("upload"):
            self.kaggle.uploads[self.path] = body
            self._answer({})

    def do_GET(self) -> None:
        """The store of files, which is not Kaggle and must see no token."""
        if self._refused("store"):
            return
        whole = self.kaggle.archive
        tag = f'"{hashlib.md5(whole).hexdigest()}"'
        wish = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wish[1]) if wish and self.headers.get("If-Range", tag) == tag else 0
        if start and start >= len(whole):
            self._answer({}, 416)
            return
        body = whole[start:]
        self.send_response(206 if start else 200)
        self.send_header("ETag", tag)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "application/zip")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        if self.kaggle.tells_length:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body[: self.kaggle.cuts.pop(0)] if self.kaggle.cuts else body)
        self.close_connection = True

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, value: dict[str, Any], status: int = 200) -> None:
        call = self.path.rsplit("/", 1)[-1]
        body = self.kaggle.bodies.get(call, json.dumps(value).encode())
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refused(self, call: str) -> bool:
        """Note the call, and misbehave if it is time to."""
        kaggle, sent = self.kaggle, self.headers.get("Authorization", "")
        kaggle.calls[call] += 1
        kaggle.seen.append((self.path, sent, self.headers.get("Range", "")))
        status, said = kaggle.refusals[call].pop(0) if kaggle.refusals.get(call) else (200, "")
        if status == 200 and call not in ("store", "upload", "IntrospectToken"):
            status, said = (200, "") if sent == f"Bearer {TOKEN}" else (401, "Unauthenticated")
        if status == -1:
            time.sleep(3)
        if status <= 0:
            self.close_connection = True
        elif status != 200:
            self._answer({"code": status, "message": said}, status)
        return status != 200

    def _introspect_token(self, told: dict[str, Any]) -> None:
        known = told["token"] == TOKEN
        self._answer({"active": known, "username": "somebody" if known else ""})

    def _download_data_files(self, told: dict[str, Any]) -> None:
        self.send_response(302)
        place = f"http://127.0.0.1:{self.kaggle.port}/store/{told['competitionName']}.zip?signed=1"
        self.send_header("Location", self.kaggle.store or place)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _get_submission_limits(self, told: dict[str, Any]) -> None:
        sent = len(self.kaggle.submissions)
        self._answer(
            {"numToday": sent, "numTotal": 7 + sent, "numAllowedNow": self.kaggle.allowed - sent}
        )

    def _list_submissions(self, told: dict[str, Any]) -> None:
        self._answer({"submissions": self.kaggle.submissions, "nextPageToken": ""})

    def _start_submission_upload(self, told: dict[str, Any]) -> None:
        place = f"/upload/{len(self.kaggle.uploads)}/{told['fileName']}"
        self._answer({"token": place, "createUrl": f"http://127.0.0.1:{self.kaggle.port}{place}"})

    def _create_submission(self, told: dict[str, Any]) -> None:
        kaggle = self.kaggle
        number = 4000 + len(kaggle.submissions)
        kaggle.submissions.append(
            {
                "ref": number,
                "competition": told["competitionName"],
                "fileName": told["blobFileTokens"].rsplit("/", 1)[-1],
                "description": told.get("submissionDescription", ""),
                "status": "PENDING",
            }
        )
        if kaggle.lost:
            kaggle.lost -= 1
            self.close_connection = True
            return
        self._answer({"message": "Successfully submitted", "ref": number})

    def _get_submission(self, told: dict[str, Any]) -> None:
        scores = self.kaggle.scores
        self._answer({"ref": told["ref"]} | (scores.pop(0) if len(scores) > 1 else scores[0]))

    def _start_blob_upload(self, told: dict[str, Any]) -> None:
        self._start_submission_upload({"fileName": told["name"]})

    def _create_dataset(self, told: dict[str, Any]) -> None:
        self._new_version(f"{told['ownerSlug']}/{told['slug']}", told)

    def _create_dataset_version(self, told: dict[str, Any]) -> None:
        self._new_version(f"{told['ownerSlug']}/{told['datasetSlug']}", told["body"])

    def _new_version(self, name: str, told: dict[str, Any]) -> None:
        versions = self.kaggle.data_sets.setdefault(name, [])
        versions.append([file["token"] for file in told["files"]])
        self._answer({"ref": name, "url": f"https://www.kaggle.com/datasets/{name}"})

    def _get_dataset_status(self, told: dict[str, Any]) -> None:
        if f"{told['ownerSlug']}/{told['datasetSlug']}" not in self.kaggle.data_sets:
            self._answer({"code": 403, "message": "Permission denied"}, 403)
            return
        statuses = self.kaggle.statuses
        self._answer({"status": statuses.pop(0) if len(statuses) > 1 else statuses[0]})

    def _save_kernel(self, told: dict[str, Any]) -> None:
        self.kaggle.notebooks.append(told)
        address = f"https://www.kaggle.com/code/{told['slug']}"
        self._answer({"ref": told["slug"], "url": address, "versionNumber": 1})
