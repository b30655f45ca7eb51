"""How Kaggle's client is made patient, and answers that nobody would expect, in this process."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kagglesdk.kaggle_client
import pytest
import requests
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from kaggle_server import TOKEN, Kaggle, serve
from kagglesdk import kaggle_env
from kagglesdk.kaggle_http_client import KaggleHttpClient

from paddy_lightning.errors import UserError
from paddy_lightning.kaggle.api import (
    check_name,
    fetch_archive,
    kaggle_api,
    send,
    submissions_left,
    wait_for_score,
)

NAME = "paddy-disease-classification"


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    """A stand-in that this process takes for Kaggle, with a token that it knows."""
    stand_in = Kaggle()
    server = serve(stand_in)
    address = f"http://localhost:{stand_in.port}"
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, address)
    for name in [name for name in os.environ if name.startswith("KAGGLE")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    yield stand_in
    server.shutdown()
    server.server_close()


def test_only_kaggles_own_sessions_are_changed(kaggle: Kaggle) -> None:
    before = requests.adapters.HTTPAdapter.send
    with kaggle_api(NAME) as api:
        assert requests.adapters.HTTPAdapter.send is before
        others = requests.Session().get_adapter("https://example.org")
        assert others.max_retries.total == 0
        with api.build_kaggle_client().http_client() as http:
            assert http._session.get_adapter("https://example.org").max_retries.total == 3
    assert kagglesdk.kaggle_client.KaggleHttpClient is KaggleHttpClient
    with pytest.raises(UserError), kaggle_api(NAME):
        raise requests.ConnectionError
    assert kagglesdk.kaggle_client.KaggleHttpClient is KaggleHttpClient


def test_what_passes_is_tried_again_and_what_costs_only_after_a_look(
    kaggle: Kaggle, tmp_path: Path
) -> None:
    file = tmp_path / "submission.csv"
    file.write_text("image_id,label\n")
    kaggle.lost = 1
    kaggle.refusals = {
        "ListSubmissions": [(503, ""), (0, "")],
        "upload": [(500, ""), (0, "")],
        "CreateSubmission": [(500, ""), (0, "")],
    }
    with kaggle_api(NAME) as api:
        assert send(api, NAME, file, "first") == 4000
    assert kaggle.calls["CreateSubmission"] == 3 and len(kaggle.submissions) == 1
    assert list(kaggle.uploads.values()) == [file.read_bytes()]
    for path, token, _ in kaggle.seen:
        assert not (path.startswith("/upload") and token), "the store was shown the token"


WORDS = st.sampled_from(
    [
        *("code", "message", "ref", "status", "submissions", "token", "createUrl", "fileName"),
        *("numAllowedNow", "numTotal", "numToday", "publicScore", "errorDescription", "active"),
    ]
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
CALLS = st.sampled_from(
    [
        *("IntrospectToken", "GetSubmissionLimits", "ListSubmissions", "GetSubmission"),
        *("StartSubmissionUpload", "CreateSubmission"),
    ]
)


@given(call=CALLS, body=st.dictionaries(WORDS, JSON, max_size=3) | JSON)
@example(call="ListSubmissions", body={"submissions": [None]})
@example(call="ListSubmissions", body={"submissions": [{"ref": [], "fileName": "submission.csv"}]})
@example(call="GetSubmission", body={"status": "ASTRAY"})
@example(call="GetSubmissionLimits", body={"numAllowedNow": "many"})
@example(call="CreateSubmission", body={"code": "x"})
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
def test_an_odd_answer_is_a_sentence(kaggle: Kaggle, tmp_path: Path, call: str, body: Any) -> None:
    file = tmp_path / "submission.csv"
    file.write_text("image_id,label\n")
    kaggle.submissions.clear()
    kaggle.scores = [{"status": "COMPLETE", "publicScore": "0.9"}]
    kaggle.bodies = {call: json.dumps(body).encode()}
    try:
        with kaggle_api(NAME) as api:
            submissions_left(api, NAME)
            wait_for_score(api, send(api, NAME, file, "first"), 0)
    except UserError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("store", ["file:///etc/passwd", "http://[", "ftp://x/y.zip"])
def test_a_download_that_is_said_to_lie_anywhere_is_a_sentence(
    kaggle: Kaggle, tmp_path: Path, store: str
) -> None:
    kaggle.store = store
    with (
        pytest.raises(UserError, match=r"Kaggle (gave an answer|cannot be)"),
        kaggle_api(NAME) as api,
    ):
        fetch_archive(api, NAME, tmp_path / "data.zip")
    assert not list(tmp_path.glob("*.zip"))


@pytest.mark.parametrize(
    "body", [b"", b"<html>Sign in to the airport</html>", b"\xff\xfe{", b"9" * 9999]
)
def test_what_is_no_json_is_a_sentence(kaggle: Kaggle, body: bytes) -> None:
    kaggle.bodies = {"GetSubmissionLimits": body}
    with (
        pytest.raises(UserError, match="Kaggle gave an answer that cannot be understood"),
        kaggle_api(NAME) as api,
    ):
        submissions_left(api, NAME)


@pytest.mark.parametrize("name", ["paddy-disease-classification", "GiveMeSomeCredit", "3d-x"])
def test_names_that_competitions_have(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "-x", "a/b", "a b", "a\n", "ä", "*", "x" * 300])
def test_names_that_none_has_become_no_path(name: str) -> None:
    with pytest.raises(UserError, match="not a name; it is the last part of the competition's"):
        check_name(name)
