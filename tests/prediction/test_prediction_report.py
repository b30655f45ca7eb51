"""What the terminal is told of predictions."""

import numpy as np
import pandas as pd
import pytest

from paddy_lightning.choices import Tta
from paddy_lightning.prediction.report import report_errors, report_top

CLASSES = ["a", "b"]


def told(
    caplog: pytest.LogCaptureFixture,
    labels: str,
    without_tta: str,
    tta: Tta = Tta.off,
    trained: str = "",
    folders: str = "aaaabbbb",
) -> list[str]:
    """Of eight pictures, four of each class; a blank is one that could not be read."""
    files = [f"{folder}/{number}.jpg" for number, folder in enumerate(folders)]
    table = pd.DataFrame({"file": files, "label": [label.strip() for label in labels]})
    plain = pd.Series([label.strip() for label in without_tta])
    known = np.array([mark == "x" for mark in trained.ljust(len(labels))])
    with caplog.at_level("INFO"):
        report_errors(table, plain, tta, CLASSES, known)
    return caplog.messages


def test_the_error_with_and_without_augmentation(caplog: pytest.LogCaptureFixture) -> None:
    lines = told(caplog, "aaaabbba", "aaabbbaa", Tta.mean)
    assert lines == ["error_rate 0.3750", "error_rate with tta=mean 0.1250"]


def test_what_cannot_be_read_is_in_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """The unread ones are neither right, as the first class would be, nor wrong."""
    lines = told(caplog, "  aabbbb", "  aabaaa", Tta.max)
    assert lines[:2] == ["error_rate 0.5000", "error_rate with tta=max 0.0000"]
    assert lines[2] == "  of the 6 that can be read; 2 cannot"
    caplog.clear()
    assert told(caplog, "        ", "        ") == []


def test_pictures_it_trained_on_are_told(caplog: pytest.LogCaptureFixture) -> None:
    lines = told(caplog, "aaabbbba", "aaabbbba", trained="xxx xx")
    assert lines == [
        "error_rate 0.2500",
        "5 of the 8 pictures are, by their paths, among those it trained on; their error is too"
        " good",
        "error_rate 0.6667 of the other 3",
    ]
    caplog.clear()
    lines = told(caplog, "aaaabbbb", "aaaabbbb", trained="xxxxxxxx")
    assert lines[0] == "error_rate 0.0000" and "8 of the 8" in lines[1] and len(lines) == 2
    caplog.clear()
    lines = told(caplog, "aaaabbbb", "aaaabbbb", trained="x", folders="aaaabbbc")
    assert lines == ["1 of the 8 pictures are, by their paths, among those it trained on"]


def test_the_likeliest_of_one_picture(caplog: pytest.LogCaptureFixture) -> None:
    one = pd.DataFrame({"file": ["水\n.jpg"], "label": "b", "a": 0.25, "b": 0.75})
    with caplog.at_level("INFO"):
        report_top(one, CLASSES)
        report_top(one.assign(a=np.nan, b=np.nan), CLASSES)
    assert caplog.messages == [r"水\n.jpg: b 0.7500  a 0.2500"]
