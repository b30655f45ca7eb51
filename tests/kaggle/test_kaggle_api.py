"""Both ways with Kaggle, as a user types them, against a server that stands in for it."""

import json
import os
import pty
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from desk import CHUNK, NAME, Desk, one_sentence
from kaggle_server import TOKEN
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def test_download(desk: Desk, stripes: Path) -> None:
    result = desk.type("download")
    assert result.returncode == 0, result.stderr
    folder = desk.folder / "data" / NAME
    assert f"data: paddy in {Path('data', NAME)}/train_images, 60 pictures, 3 classes, 8 to" in (
        result.stdout
    )
    for file in stripes.rglob("*.*"):
        assert (folder / file.relative_to(stripes)).read_bytes() == file.read_bytes()
    assert [path.name for path in (desk.folder / "data").iterdir()] == [NAME]
    assert [path.name for path in desk.folder.iterdir()] == ["data"]
    for path, token, _ in desk.kaggle.seen:
        assert not (path.startswith("/store") and token), "the store was shown the token"

    calls = desk.kaggle.calls.copy()
    again = desk.type("download", KAGGLE_API_TOKEN=None)
    assert again.returncode == 0 and again.stdout.startswith("nothing to do: data: paddy in")
    assert desk.kaggle.calls == calls

    survey = desk.type("survey", "data=paddy")
    assert "60 pictures, 3 classes, 8 to predict" in survey.stdout


def test_a_cut_download_goes_on(desk: Desk) -> None:
    desk.kaggle.cuts = [10, CHUNK + 10, 2 * CHUNK]
    result = desk.type("download")
    assert result.returncode == 0 and not result.stderr, result.stderr
    starts = [sought for path, _, sought in desk.kaggle.seen if path.startswith("/store")]
    assert starts == ["", "", f"bytes={CHUNK}-", f"bytes={3 * CHUNK}-"]
    assert (desk.folder / "data" / NAME / "train.csv").is_file()


def test_a_download_that_stays_cut_goes_on_with_the_next_command(desk: Desk) -> None:
    desk.kaggle.cuts = [2 * CHUNK + 10, 0, 0, 0]
    one_sentence(
        desk.type("download"),
        f"{NAME}: the download broke off (ChunkedEncodingError) after 0.0021 of 0.00438 GB;"
        " the same command goes on from there",
    )
    (part,) = (desk.folder / "data").glob(f"{NAME}.zip.*.part")
    assert part.stat().st_size == 2 * CHUNK
    result = desk.type("download")
    assert result.returncode == 0, result.stderr
    assert desk.kaggle.seen[-1][2] == f"bytes={2 * CHUNK}-"
    assert [path.name for path in (desk.folder / "data").iterdir()] == [NAME]


def test_a_competition_that_changed_meanwhile_is_not_glued_together(desk: Desk) -> None:
    whole = desk.kaggle.archive
    desk.kaggle.archive, desk.kaggle.cuts = bytes(len(whole)), [2 * CHUNK, 0, 0, 0]
    assert desk.type("download").returncode == 1
    desk.kaggle.archive = whole
    assert desk.type("download").returncode == 0


FAILURES: dict[str, tuple[dict[str, list[tuple[int, str]]], dict[str, str | None], str]] = {
    "no token": (
        {},
        {"KAGGLE_API_TOKEN": None},
        "Kaggle wants a token, and there is none: make one at https://www.kaggle.com/settings/api"
        " and keep it in ~/.kaggle/access_token or in KAGGLE_API_TOKEN",
    ),
    "wrong token": (
        {},
        {"KAGGLE_API_TOKEN": "KGAT_wrong"},
        "Kaggle does not take the token in KAGGLE_API_TOKEN; make one at https://www.kaggle.com/",
    ),
    "token refused at once": (
        {"IntrospectToken": [(401, "Unauthenticated")] * 9},
        {},
        "Kaggle does not take the token in KAGGLE_API_TOKEN; make one",
    ),
    "wrong key": (
        {},
        {"KAGGLE_API_TOKEN": None, "KAGGLE_USERNAME": "somebody", "KAGGLE_KEY": "wrong"},
        "Kaggle does not take the token in KAGGLE_KEY; make one",
    ),
    "token with a line break": (
        {},
        {"KAGGLE_API_TOKEN": f"{TOKEN}\nx"},
        "the Kaggle token in KAGGLE_API_TOKEN has characters that no token has; make one",
    ),
    "key beyond Latin-1": (
        {},
        {"KAGGLE_API_TOKEN": None, "KAGGLE_USERNAME": "somebody", "KAGGLE_KEY": "…"},
        "the Kaggle token in KAGGLE_KEY has characters that no token has; make one",
    ),
    "rules": (
        {"DownloadDataFiles": [(403, "You must accept this competition's rules")]},
        {},
        f"{NAME}: Kaggle refuses (You must accept this competition's rules); if you have not"
        f" accepted the rules, do so at https://www.kaggle.com/c/{NAME}/rules, then run the same",
    ),
    "unknown competition": (
        {"DownloadDataFiles": [(404, "Not found")]},
        {},
        f"competition={NAME}: Kaggle knows no such competition; its name is the last part",
    ),
    "too many requests": (
        {"DownloadDataFiles": [(429, "Slow down")] * 9},
        {},
        "Kaggle has had too many requests; wait some minutes and try again",
    ),
    "out of order": (
        {"DownloadDataFiles": [(503, "")] * 9},
        {},
        "Kaggle is out of order (HTTP 503, 4 times in a row); try again later",
    ),
    "out of order while signing in": (
        {"IntrospectToken": [(500, "")] * 9},
        {},
        "Kaggle is out of order (HTTP 500, 4 times in a row); try again later",
    ),
    "hangs up": (
        {"DownloadDataFiles": [(0, "")] * 9},
        {},
        "Kaggle cannot be reached (ConnectionError), 4 times in a row; is there a network?",
    ),
    "signed address expired": (
        {"store": [(200, ""), *[(403, "Expired")] * 9]},
        {},
        "the download broke off (HTTPError) after 0.00105 of",
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_download_is_one_sentence(desk: Desk, failure: str) -> None:
    desk.kaggle.refusals, environment, said = FAILURES[failure]
    desk.kaggle.refusals = {call: list(them) for call, them in desk.kaggle.refusals.items()}
    if failure == "signed address expired":
        desk.kaggle.cuts = [CHUNK + 10]
    one_sentence(desk.type("download", **environment), said)
    assert not (desk.folder / "data" / NAME).exists()
    assert max(desk.kaggle.calls.values(), default=0) <= 6


def test_silence_is_not_waited_for_without_end(desk: Desk) -> None:
    desk.kaggle.refusals = {"DownloadDataFiles": [(-1, "")] * 9}
    desk.timeout = 0.2
    result = desk.type("download")
    one_sentence(result, "Kaggle cannot be reached (no answer within 0.2 seconds), 4 times in a")


def test_a_passing_failure_is_waited_out(desk: Desk) -> None:
    desk.kaggle.refusals = {
        "IntrospectToken": [(502, ""), (0, "")],
        "DownloadDataFiles": [(503, ""), (0, ""), (429, "")],
    }
    result = desk.type("download")
    assert result.returncode == 0 and not result.stderr, result.stderr


def test_the_whole_traceback_on_demand_without_the_token(desk: Desk) -> None:
    desk.kaggle.refusals = {"DownloadDataFiles": [(403, "rules")]}
    result = desk.type("download", HYDRA_FULL_ERROR="1", VERBOSE="true")
    assert result.returncode == 1 and "Traceback" in result.stderr
    assert TOKEN not in result.stdout + result.stderr


def test_a_token_may_lie_in_a_file(desk: Desk) -> None:
    home = desk.folder.parent / "home"
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "access_token").write_text(TOKEN + "\n")
    assert desk.type("download", KAGGLE_API_TOKEN=None).returncode == 0
    shutil.rmtree(desk.folder / "data")
    (home / ".kaggle" / "access_token").unlink()
    (home / "config").mkdir(exist_ok=True)
    (home / "config" / "kaggle.json").write_text("not JSON")
    one_sentence(
        desk.type("download", KAGGLE_API_TOKEN=None),
        f"Kaggle does not take the token in {home}/config/kaggle.json; make one",
    )


def test_a_corrupt_zip_is_named(desk: Desk) -> None:
    desk.kaggle.archive = desk.kaggle.archive[:3000] + bytes(9) + desk.kaggle.archive[3009:]
    one_sentence(desk.type("download"), f"data/{NAME}.zip: is a damaged zip file (")
    assert [path.name for path in (desk.folder / "data").iterdir()] == [f"{NAME}.zip"]


def test_a_zip_from_the_browser_needs_no_token(desk: Desk) -> None:
    (desk.folder / "data").mkdir()
    (desk.folder / "data" / f"{NAME}.zip").write_bytes(desk.kaggle.archive)
    assert desk.type("download", KAGGLE_API_TOKEN=None).returncode == 0
    assert not desk.kaggle.calls


def test_other_competitions_of_this_shape(desk: Desk) -> None:
    result = desk.type("download", "competition=cassava")
    assert result.returncode == 0 and "in data/cassava/train_images" in result.stdout
    one_sentence(
        desk.type("download", "competition=../x"), "competition=../x: not a name; it is the"
    )


@pytest.fixture
def small_disk(desk: Desk) -> Iterator[Callable[[int], None]]:
    """Put the user's folder on a disk of so many kilobytes."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("a full disk: only root can mount a small one")

    def mount(kilobytes: int) -> None:
        words = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(desk.folder)]
        if subprocess.run(words, capture_output=True).returncode:
            pytest.skip("a full disk: this machine lets nobody mount one")

    yield mount
    subprocess.run(["umount", str(desk.folder)], check=False, capture_output=True)


@pytest.mark.parametrize(
    ("share", "tells_length", "said"),
    [
        (1.5, True, f"data: downloading and unpacking {NAME} needs "),
        (0.5, False, "the disk is full; make room and run the same command again"),
        (1.4, False, f"data: unpacking {NAME}.zip needs "),
    ],
)
def test_a_full_disk_is_named_and_room_helps(
    desk: Desk,
    small_disk: Callable[[int], None],
    share: float,
    tells_length: bool,
    said: str,
) -> None:
    size = len(desk.kaggle.archive) / 1024
    small_disk(round(share * size))
    desk.kaggle.tells_length = tells_length
    one_sentence(desk.type("download"), said)
    assert not (desk.folder / "data" / NAME).exists()
    subprocess.run(
        ["mount", "-o", f"remount,size={round(9 * size)}k", str(desk.folder)], check=True
    )
    assert desk.type("download").returncode == 0


def test_submit(desk: Desk, run: Path) -> None:
    result = desk.type("submit", f"run={run}", "message=pad, 5 epochs = good", "yes=true")
    assert result.returncode == 0, result.stderr
    assert "submissions left today: 5" in result.stdout and "public score 0.98154" in result.stdout
    (sent,) = desk.kaggle.submissions
    assert (sent["description"], sent["competition"]) == ("pad, 5 epochs = good", NAME)
    assert list(desk.kaggle.uploads.values()) == [(run / "submission.csv").read_bytes()]
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "done" and summary["kaggle_public_score"] == 0.98154
    assert summary["kaggle_submission_id"] == 4000
    assert summary["kaggle_submission_status"] == "complete"
    assert summary["kaggle_submission_message"] == "pad, 5 epochs = good"
    events = EventAccumulator(str(run)).Reload()
    (scalar,) = events.Scalars("kaggle/public_score")
    assert scalar.value == pytest.approx(0.98154)

    again = desk.type("submit", f"run={run}")
    one_sentence(again, "nothing was sent: there is no terminal to ask at; agree with yes=true")
    assert (
        "this very file was sent before: submission 4000, complete, public score 0.98154"
        in again.stdout
    )
    assert len(desk.kaggle.submissions) == 1


@pytest.mark.parametrize(("answer", "sent"), [("y", 1), ("", 0), ("no", 0)])
def test_at_a_terminal_the_user_is_asked(desk: Desk, run: Path, answer: str, sent: int) -> None:
    terminal, far_end = pty.openpty()
    os.write(terminal, f"{answer}\n".encode())
    desk.stdin = far_end
    result = desk.type("submit", f"run={run}", "message=first")
    assert result.returncode == 0, result.stderr
    assert f"send {run}/submission.csv to {NAME} as 'first'? [y/N]" in result.stdout
    assert len(desk.kaggle.submissions) == sent
    os.close(terminal)
    os.close(far_end)


def test_a_dry_run_sends_nothing(desk: Desk, run: Path) -> None:
    before = (run / "summary.json").read_text()
    result = desk.type("submit", f"run={run}", "dry_run=true")
    assert result.returncode == 0, result.stderr
    assert "dry run: nothing was sent; the message would be: run, mobilenetv3_small_050" in (
        result.stdout
    )
    assert not desk.kaggle.submissions and not desk.kaggle.uploads
    assert (run / "summary.json").read_text() == before


def test_a_score_may_come_later(desk: Desk, run: Path) -> None:
    scores, desk.kaggle.scores = desk.kaggle.scores, [{"status": "PENDING"}]
    result = desk.type("submit", f"run={run}", "yes=true", "wait=0.05")
    assert result.returncode == 0, result.stderr
    assert f"or later with: paddy submit run={run}" in result.stdout
    assert json.loads((run / "summary.json").read_text())["kaggle_submission_status"] == "pending"
    desk.kaggle.scores = scores
    desk.kaggle.refusals = {"GetSubmission": [(404, ""), (503, "")]}
    assert "public score 0.98154" in desk.type("submit", f"run={run}").stdout
    assert len(desk.kaggle.submissions) == 1


def test_a_lost_answer_costs_no_second_submission(desk: Desk, run: Path) -> None:
    desk.kaggle.lost = 1
    result = desk.type("submit", f"run={run}", "yes=true")
    assert result.returncode == 0, result.stderr
    assert len(desk.kaggle.submissions) == 1 and "public score 0.98154" in result.stdout


REFUSALS: dict[str, tuple[dict[str, list[tuple[int, str]]], str]] = {
    "rules": (
        {"GetSubmissionLimits": [(403, "")]},
        f"{NAME}: Kaggle refuses (without a reason); if you have not accepted the rules, do so at"
        f" https://www.kaggle.com/c/{NAME}/rules, then run the same command again",
    ),
    "daily limit, told late": (
        {"CreateSubmission": [(400, "Your team has used its daily Submission allowance (5)")]},
        f"{NAME}: Kaggle refuses (HTTP 400): Your team has used its daily Submission allowance (5)",
    ),
    "upload fails": (
        {"upload": [(400, "")] * 9},
        f"{NAME}: the upload failed (HTTP 400), and nothing was sent; try again later",
    ),
    "out of order": (
        {"CreateSubmission": [(500, "")] * 9},
        "Kaggle is out of order (HTTP 500, 4 times in a row); try again later",
    ),
    "no longer waits": (
        {"GetSubmission": [(503, "")] * 9},
        "submission 4000 was sent; its score: Kaggle is out of order (HTTP 503, 4 times in a row)",
    ),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_failed_submission_is_one_sentence(desk: Desk, run: Path, refusal: str) -> None:
    refusals, said = REFUSALS[refusal]
    desk.kaggle.refusals = {call: list(them) for call, them in refusals.items()}
    one_sentence(desk.type("submit", f"run={run}", "yes=true"), said)
    assert len(desk.kaggle.submissions) == (refusal == "no longer waits")


def test_the_days_submissions_are_used_up(desk: Desk, run: Path) -> None:
    desk.kaggle.allowed = 0
    one_sentence(
        desk.type("submit", f"run={run}", "yes=true"),
        f"{NAME}: no submission is left today (0 were sent); try again after midnight UTC, in",
    )
    assert not desk.kaggle.uploads


def test_a_submission_that_kaggle_cannot_score(desk: Desk, run: Path) -> None:
    desk.kaggle.scores = [{"status": "ERROR", "errorDescription": "Evaluation metric raised"}]
    result = desk.type("submit", f"run={run}", "yes=true")
    one_sentence(result, "submission 4000: Kaggle could not score it: Evaluation metric raised (")
    assert json.loads((run / "summary.json").read_text())["kaggle_submission_status"] == "error"


def test_an_ensembles_folder_can_be_submitted(desk: Desk, run: Path) -> None:
    """It is no run: the competition's files are looked for, and it gets a summary of its own."""
    both = desk.folder / "both, a=b"
    both.mkdir()
    for name in ("submission.csv", "predictions.csv"):
        shutil.copy(run / name, both)
    result = desk.type("submit", f"run={both}", "yes=true")
    assert result.returncode == 0, result.stderr
    assert json.loads((both / "summary.json").read_text())["kaggle_public_score"] == 0.98154


def test_a_run_goes_to_the_competition_of_its_data(desk: Desk, run: Path) -> None:
    (desk.folder / "data" / NAME).rename(desk.folder / "data" / "cassava")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(NAME, "cassava"))
    one_sentence(
        desk.type("submit", f"run={run}", f"competition={NAME}", "yes=true"),
        f"competition={NAME}: {run} was trained on {desk.folder}/data/cassava, the files of cassava"
        f"; if they are those of {NAME}, say so with: ln -s {desk.folder}/data/cassava data/{NAME}",
    )
    assert not desk.kaggle.calls
    result = desk.type("submit", f"run={run}", "yes=true")
    assert result.returncode == 0, result.stderr
    assert "fit to be sent to cassava" in result.stdout
    assert [sent["competition"] for sent in desk.kaggle.submissions] == ["cassava"]
    assert json.loads((run / "summary.json").read_text())["kaggle_competition"] == "cassava"


def test_a_run_on_other_pictures_has_nothing_to_submit(desk: Desk, run: Path) -> None:
    config = (run / "config.yaml").read_text().replace("source: paddy", "source: folder")
    (run / "config.yaml").write_text(config.replace(NAME, f"{NAME}/train_images"))
    result = desk.type("submit", f"run={run}", "yes=true")
    one_sentence(result, f"{run}: its data (folder) is not of a Kaggle competition")


def test_what_was_changed_since_is_not_sent(desk: Desk, run: Path) -> None:
    text = (run / "submission.csv").read_text()
    (run / "submission.csv").write_text(text.replace("200003.jpg", "200008.jpg"))
    result = desk.type("submit", f"run={run}", "yes=true")
    one_sentence(result, f"{run}/submission.csv: '200003.jpg' is missing (1 of 8 are)")
    assert not desk.kaggle.calls


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "say which run, with run=RUN_FOLDER"),
        ("run=missing", "missing/submission.csv: not there; paddy predict ckpt=missing writes"),
        ("run=. wait=-1", "wait=-1.0: must be at least 0 seconds"),
        ("run=. competition=A/B", "competition=A/B: not a name"),
    ],
)
def test_what_cannot_be_submitted(desk: Desk, words: str, said: str) -> None:
    one_sentence(desk.type("submit", *words.split()), said)
    assert not desk.kaggle.calls and not list(desk.folder.iterdir())


def test_the_token_is_in_no_file(desk: Desk, stripes: Path) -> None:
    """A whole run, from training to the score, with the token at hand and the package verbose."""
    run = desk.folder / "run"
    config = [f"{key}={value}" for key, value in {
        "data": "paddy", "data.root": stripes, "arch": "mobilenetv3_small_050", "weights": "none",
        "presize": "48x40", "size": "40x32", "epochs": 1, "batch_size": 16, "num_workers": 0,
        "hydra.run.dir": run,
    }.items()]  # fmt: skip
    tokens: dict[str, str | None] = {
        "VERBOSE": "true",
        "KAGGLE_API_TOKEN": TOKEN,
        "KAGGLE_USERNAME": "somebody",
        "KAGGLE_KEY": TOKEN,
    }
    said = ""
    for words in (
        ("train", *config),
        ("predict", f"ckpt={run}"),
        ("submit", f"run={run}", f"competition={NAME}", "yes=true"),
    ):
        result = desk.type(*words, **tokens)
        assert result.returncode == 0, result.stderr
        said += result.stdout + result.stderr
    assert TOKEN not in said
    files = [path for path in desk.folder.rglob("*") if path.is_file()]
    assert {"best.ckpt", "summary.json", "train.log"} <= {path.name for path in files}
    assert any("tfevents" in path.name for path in files)
    for path in files:
        content = path.read_bytes()
        assert TOKEN.encode() not in content, path
        if zipfile.is_zipfile(path):  # a checkpoint
            with zipfile.ZipFile(path) as opened:
                assert not any(TOKEN.encode() in opened.read(name) for name in opened.namelist())
    assert pd.read_csv(run / "submission.csv").shape == (8, 2)
