"""What others made: names, pictures and files that would break something, or run something."""

import shutil
import struct
import zlib
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from odd_names import ANY_NAME, NAMES
from small import small

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.command_configs import PredictConfig
from paddy_lightning.csv_tables import read_table, write_table
from paddy_lightning.data.augment import kornia_augmentations
from paddy_lightning.data.listing import list_images
from paddy_lightning.data.presize import Presize, open_presized
from paddy_lightning.errors import UserError
from paddy_lightning.insight.compare import compare
from paddy_lightning.insight.comparison_page import write_comparison
from paddy_lightning.insight.interpret import interpret
from paddy_lightning.prediction.predict import predict, run_predict
from paddy_lightning.prediction.submission import check_submission, submission
from paddy_lightning.runs.run_folder import read_config, read_predictions
from paddy_lightning.training.train import train


@given(st.lists(ANY_NAME, min_size=1, unique=True), ANY_NAME)
@example(NAMES, "label\n,")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_comes_back_from_a_table(tmp_path: Path, names: list[str], label: str) -> None:
    table = pd.DataFrame({"file": names, "label": label})
    write_table(tmp_path / "table.csv", table)
    assert read_table(tmp_path / "table.csv").to_dict("list") == table.to_dict("list")


@given(st.lists(ANY_NAME, min_size=1, unique=True))
@example(NAMES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_comes_back_from_a_submission(tmp_path: Path, names: list[str]) -> None:
    sample = pd.DataFrame({"image_id": names[::-1], "label": ""})
    write_table(tmp_path / "sample_submission.csv", sample)
    predictions = pd.DataFrame({"file": names, "label": "blast"})
    write_table(
        tmp_path / "submission.csv", submission(predictions, tmp_path / "sample_submission.csv")
    )
    check_submission(
        tmp_path / "submission.csv", tmp_path / "sample_submission.csv", ["blast", "normal"]
    )
    assert read_table(tmp_path / "submission.csv")["image_id"].tolist() == names[::-1]


def test_hostile_names_survive_a_whole_run(stripes: Path, tmp_path: Path) -> None:
    """Real files, through training and predicting, into the three tables and back."""
    root = tmp_path / "data"
    for label in ("across", "down,\n\"twice'"):
        shutil.copytree(stripes / "train_images" / "across", root / "train_images" / label)
        for number, name in enumerate(NAMES):
            picture = stripes / "train_images" / "down" / f"down{number % 20:02}.jpg"
            shutil.copy(picture, root / "train_images" / label / f"{name}.jpg")
    (root / "test_images").mkdir()
    for name in NAMES:
        shutil.copy(stripes / "test_images" / "200000.jpg", root / "test_images" / f"{name}.jpg")
    ids = [f"{name}.jpg" for name in NAMES]
    write_table(root / "sample_submission.csv", pd.DataFrame({"image_id": ids, "label": ""}))
    run = tmp_path / "run"
    train(small(root, epochs=1, freeze_epochs=0), run)
    run_predict(PredictConfig(str(run)))

    assert set(read_table(run / "predictions.csv")["file"]) == set(ids)
    assert read_table(run / "submission.csv")["image_id"].tolist() == ids
    valid = read_predictions(run / "valid_predictions.csv")
    files = {f"{path.parent.name}/{path.name}" for path in root.glob("train_images/*/*")}
    assert len(valid) > 10 and set(valid["file"]) <= files
    assert set(list_images(root / "train_images")) == files
    classes = list(read_table(run / "predictions.csv"))[3:]
    check_submission(
        run / "submission.csv", root / "sample_submission.csv", [str(name) for name in classes]
    )


def test_classes_of_any_name_end_as_a_run_that_is_done(
    stripes: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
) -> None:
    """In every table, figure and text, without a warning of letters that are missing."""
    names = ["水稻", "سرطان", "🌾", "$^$", "a$\\x$", "caf\udce9", "line\nbreak", "x" * 200]
    for number, name in enumerate(names):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for file in sorted((stripes / "train_images" / "down").iterdir())[: 4 + number % 2]:
            shutil.copy(file, tmp_path / "pictures" / name)
    config = small(stripes, epochs=1, freeze_epochs=0, split="stratified", folds=4, cache="off")
    config.data = DataConfig(Source.folder, str(tmp_path / "pictures"))
    run = tmp_path / "a run|水 $^$"
    assert train(config, run)["status"] == "done"
    assert {path.stem for path in (run / "figures").iterdir()} == {
        *("augmented_batch", "confusion_matrix", "learning_curves", "reliability", "top_losses")
    }
    assert not [text for text in caplog.messages if "could not be drawn" in text]
    assert not [str(warning.message) for warning in recwarn if "lyph" in str(warning.message)]
    assert read_table(run / "classes.csv")["label"].tolist() == sorted(names)
    card = (run / "interpretation.md").read_text()
    assert card.encode() and "\n".join(names[-2:]) not in card
    interpret(run)
    assert set(predict(run, tmp_path / "pictures")["label"]) <= set(names)
    write_comparison(compare([run]), tmp_path)
    assert r"a run\|水 $^$" in (tmp_path / "comparison.md").read_text()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "id,label\n1.jpg,a\n2.jpg,b\n",
            "has the columns id, label; sample.csv has image_id, label",
        ),
        ("image_id,label\n1.jpg,a\n1.jpg,b\n", r"'1\.jpg' is in it twice"),
        ("image_id,label\n1.jpg,a\n", r"'2\.jpg' is missing \(1 of 2 are\)"),
        (
            "image_id,label\n1.jpg,a\n2.jpg,b\n3.jpg,b\n",
            r"'3\.jpg' is not in .*sample\.csv \(1 are",
        ),
        ("image_id,label\n2.jpg,a\n1.jpg,b\n", "its rows are not in the order of"),
        ("image_id,label\n1.jpg,a\n2.jpg,\n", r"'2\.jpg' has no label \(1 have none\)"),
        (
            "image_id,label\n1.jpg,a\n2.jpg,blst\n",
            "'blst' is no class of this run; did you mean bla",
        ),
        ("", "cannot be read as a table"),
    ],
)
def test_a_submission_that_would_be_refused_is_not_sent(
    tmp_path: Path, text: str, why: str
) -> None:
    (tmp_path / "submission.csv").write_text(text)
    (tmp_path / "sample.csv").write_text("image_id,label\n1.jpg,\n2.jpg,\n")
    with pytest.raises(UserError, match=why):
        check_submission(tmp_path / "submission.csv", tmp_path / "sample.csv", ["a", "b", "blast"])


def png(width: int, height: int, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG that says it is so large, with one bit a pixel."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    row = bytes(1 + width // 8)
    pixels = zlib.compressobj(9)
    packed = b"".join(pixels.compress(row) for _ in range(height)) + pixels.flush()
    chunks = [(b"IHDR", header), *more, (b"IDAT", packed), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


@pytest.mark.parametrize("side", [10_000, 20_000])
def test_a_picture_that_unpacks_to_gigabytes_is_refused_by_name(tmp_path: Path, side: int) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png(side, side))
    assert bomb.stat().st_size < 100_000
    with pytest.raises(UserError, match=r"bomb\.png: cannot be read as a picture \(.*bomb"):
        open_presized(bomb, Presize((48, 48)))


def test_a_text_that_unpacks_to_gigabytes_is_refused_by_name(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png(8, 8, (b"zTXt", b"x\0\0" + zlib.compress(bytes(10**8)))))
    with pytest.raises(UserError, match=r"bomb\.png: cannot be read as a picture"):
        open_presized(bomb, Presize((48, 48)))


@pytest.mark.parametrize(
    "name", ["os.system", "__class__", "Tensor", "torch", "ImageSequential", "builtins.eval", ""]
)
def test_an_augmentation_names_no_code(name: str) -> None:
    with pytest.raises(UserError, match="has no augmentation"):
        kornia_augmentations([{name: {}}])


def test_a_config_names_no_code(tmp_path: Path) -> None:
    trace = tmp_path / "was here"
    for text in (
        f"!!python/object/apply:os.system ['touch {trace}']",
        f"arch: !!python/object/apply:os.system ['touch {trace}']",
        yaml.safe_dump({"_target_": "os.system", "command": f"touch '{trace}'"}),
    ):
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(UserError, match="not a config of this version"):
            read_config(tmp_path)
    assert not trace.exists()
