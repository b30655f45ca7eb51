"""``paddy labels`` on a small sweep, and its page in a real browser, where the machine has one."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small import small

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.command_configs import LabelsConfig
from paddy_lightning.data.table import open_data
from paddy_lightning.errors import UserError
from paddy_lightning.insight.label_issues import COLUMNS
from paddy_lightning.insight.labels_page import run_labels
from paddy_lightning.training.train import train


@pytest.fixture(scope="module")
def pictures(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table: stripes, three of them once more by another label."""
    root = tmp_path_factory.mktemp("labelled")
    shutil.copytree(stripes / "train_images", root, dirs_exist_ok=True)
    files = sorted(file.relative_to(root).as_posix() for file in root.glob("*/*"))
    labels = [file.split("/")[0] for file in files]
    for number in range(3):
        odd = os.fsdecode(b"odd \xff") if number == 0 else f'odd, "{number}" <b>'
        files.append(f"{odd}.jpg")
        labels.append("slanted")
        shutil.copyfile(root / "across" / f"across0{number}.jpg", root / f"{odd}.jpg")
    table = pd.DataFrame({"file": files, "label": labels, "field": range(len(files))})
    table.to_csv(root / "table.csv", index=False, errors="surrogateescape")
    return root


@pytest.fixture(scope="module")
def sweep(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folds")
    data = DataConfig(Source.folder, str(pictures), str(pictures / "table.csv"))
    for fold in range(3):
        config = small(pictures, data=data, fold=fold, folds=3, group="duplicates", epochs=1)
        train(config, folder / str(fold))
    return folder


@pytest.fixture(scope="module")
def labels(sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("found")
    run_labels(LabelsConfig(str(sweep), str(folder)), folder)
    return folder


def told(page: Path) -> dict[str, Any]:
    """What the script of a page is told."""
    text = page.read_text("utf-8").split('type="application/json">')[1]
    return dict(json.loads(text.split("</script>")[0]))


def test_copies_are_in_one_fold_and_the_summary_counts_groups(sweep: Path) -> None:
    for run in sweep.iterdir():
        table = pd.read_csv(run / "pictures.csv", encoding_errors="surrogateescape")
        assert table.groupby("alike")["is_valid"].nunique().max() == 1
        assert (table["alike"].value_counts() > 1).sum() >= 3
        summary = json.loads((run / "summary.json").read_text())
        assert summary["num_groups"] == table["alike"].nunique() <= 60


def test_the_table_has_every_picture_and_can_be_trained_on(labels: Path, pictures: Path) -> None:
    table = pd.read_csv(labels / "labels.csv", encoding_errors="surrogateescape")
    assert list(table) == COLUMNS and len(table) == 63
    assert (table.loc[~table["keep"], "why"].str.len() > 0).all()
    assert table["wrong"].between(0, 1).all()
    first = table.head((~table["keep"]).sum())
    assert first["why"].str.contains("looks like").any()
    data = open_data(DataConfig(Source.folder, str(pictures), str(labels / "labels.csv")))
    assert len(data.train) == 63


def test_the_page_is_one_file_with_pictures_maps_and_the_whole_table(labels: Path) -> None:
    page = (labels / "labels.html").read_text("utf-8")
    assert "http" not in page.replace("http-equiv", "") and "/*" not in page.split("<body>")[1][:99]
    what = told(labels / "labels.html")
    assert what["header"] == ["file", "label", "field"] and len(what["rows"]) == 63
    assert what["classes"] == ["across", "down", "slanted"]
    assert "data.csv=labels_corrected.csv" in what["command"]
    for one in what["suspects"]:
        assert one["photo"].startswith("data:image/jpeg;base64,")
        assert one["seen"].startswith("data:image/jpeg;base64,") and len(one["guesses"]) == 2
        file, label = what["rows"][one["row"]][:2]
        assert what["classes"][one["own"]] == label and one["own"] >= 0
        assert one["like"] is None or one["like"]["photo"]
        assert file.encode("utf-8", "surrogateescape")
    assert sum(one["like"] is not None for one in what["suspects"]) >= 6


def test_without_checkpoints_there_are_no_maps_and_without_pictures_no_page(
    sweep: Path, pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runs = shutil.copytree(sweep, tmp_path / "runs", ignore=shutil.ignore_patterns("*.ckpt"))
    run_labels(LabelsConfig(str(runs), str(tmp_path / "one")), tmp_path)
    assert all(one["seen"] is None for one in told(tmp_path / "one" / "labels.html")["suspects"])
    for run in runs.iterdir():
        config = (run / "config.yaml").read_text()
        (run / "config.yaml").write_text(config.replace(str(pictures), str(tmp_path / "gone")))
    run_labels(LabelsConfig(str(runs), str(tmp_path / "two")), tmp_path)
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["labels.csv"]
    assert any(line.startswith("no page, and no look") for line in caplog.messages)


def test_it_wants_runs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="say which runs"):
        run_labels(LabelsConfig(), tmp_path)


# In a browser.


@pytest.fixture
def opened(driver: Any, labels: Path, tmp_path: Path) -> Any:
    """The page, from the disk and as if for the first time; what is saved goes to ``tmp_path``."""
    allowed = {"behavior": "allow", "downloadPath": str(tmp_path)}
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", allowed)
    driver.get((labels / "labels.html").as_uri())
    driver.execute_script("localStorage.clear()")
    driver.refresh()
    return driver


def press(driver: Any, keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(driver).send_keys(key).perform()


def status(driver: Any) -> str:
    return str(driver.find_element("id", "status").text)


def saved(folder: Path) -> pd.DataFrame:
    """The table that was saved, once it is there."""
    path, deadline = folder / "labels_corrected.csv", time.monotonic() + 20
    while not path.is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    return pd.read_csv(path, dtype=str, encoding_errors="surrogateescape")


@pytest.mark.slow
def test_three_labels_are_mended_by_keys_saved_and_trained_on(
    opened: Any, labels: Path, pictures: Path, tmp_path: Path
) -> None:
    what = told(labels / "labels.html")
    before = {file.relative_to(pictures): file.read_bytes() for file in pictures.rglob("*.*")}
    mend = [one for one in what["suspects"] if one["suggested"] != one["own"]][:3]
    for one in what["suspects"]:
        if one in mend:
            press(opened, "a")
        elif sum(other in mend for other in what["suspects"][: what["suspects"].index(one)]) < 3:
            press(opened, "k")
    press(opened, "du")  # drops one, and takes that back
    assert "3 changed" in status(opened) and "dropped" not in status(opened)
    press(opened, "d")
    assert "1 dropped" in status(opened)
    press(opened, "s")
    table = saved(tmp_path)
    assert "Saved labels_corrected.csv." in status(opened) and len(table) == 62
    assert list(table) == ["file", "label", "field"]
    original = pd.DataFrame(what["rows"], columns=what["header"])
    both = original.merge(table, on=["file", "field"])
    changed = both[both["label_x"] != both["label_y"]]
    assert len(both) == 62
    assert dict(zip(changed["file"], changed["label_y"], strict=True)) == {
        what["rows"][one["row"]][0]: what["classes"][one["suggested"]] for one in mend
    }
    data = DataConfig(Source.folder, str(pictures), str(tmp_path / "labels_corrected.csv"))
    summary = train(small(pictures, data=data, epochs=0), tmp_path / "run")
    assert summary["num_train"] + summary["num_valid"] == 62
    after = {file.relative_to(pictures): file.read_bytes() for file in pictures.rglob("*.*")}
    assert after == before


@pytest.mark.slow
def test_a_card_is_always_seen_and_what_was_decided_is_there_again(opened: Any) -> None:
    rows = len(opened.find_elements("css selector", ".card"))
    script = "return document.activeElement.className"
    assert "card" in opened.execute_script(script)
    press(opened, "kd")
    assert status(opened).startswith(f"2 of {rows} looked at: 1 kept, 1 dropped.")
    top, bottom = opened.execute_script(
        "const box = document.activeElement.getBoundingClientRect();"
        "return [box.top, document.querySelector('header').getBoundingClientRect().bottom]"
    )
    assert top >= bottom - 1
    opened.refresh()
    assert status(opened).startswith(f"2 of {rows} looked at")
    press(opened, "uuu")
    assert status(opened).startswith(f"0 of {rows} looked at.")
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert opened.execute_script(outline) == "solid"
    wide, screen = opened.execute_script("return [document.body.scrollWidth, innerWidth]")
    assert wide <= screen
    if folder := os.environ.get("SCREENSHOTS"):
        opened.save_screenshot(str(Path(folder, f"labels_{screen}.png")))


@pytest.mark.slow
def test_buttons_and_another_label_do_as_keys_do(opened: Any, tmp_path: Path) -> None:
    from selenium.webdriver.support.select import Select

    first, second, *_ = opened.find_elements("css selector", ".card")
    choose = Select(first.find_element("css selector", "select"))
    choose.select_by_visible_text("down")
    assert first.find_element("css selector", ".decided").text == "Now down."
    second.find_element("css selector", ".drop").click()
    assert second.find_element("css selector", ".drop").get_attribute("aria-pressed") == "true"
    for one in opened.find_elements("css selector", "button, select"):
        assert not one.is_displayed() or one.size["height"] >= 44
    opened.find_element("id", "save").click()
    assert len(saved(tmp_path)) == 62
