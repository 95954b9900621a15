"""The real command `python -m study.predict`: a folder of images in, a CSV file out."""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from numpy.typing import NDArray
from PIL import Image

from study.common.command import run_command
from study.common.progress import Progress
from study.data.prepare import prepare
from study.predict import main
from study.serving.predict_folder import predict
from tests.support.commands import refusal
from tests.support.commands import succeed_here


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three images in two folders, one in another format, and what is none."""
    folder, data = tmp_path / "images", prepare("demo", 64)
    (folder / "sub").mkdir(parents=True)
    for number, name in ((0, "a.png"), (200, "sub/b.JPG"), (400, "sub/c.png")):
        Image.fromarray(data.x[number]).save(folder / name)
    (folder / "broken.png").write_text("no image")
    (folder / "empty.jpg").touch()
    (folder / "notes.txt").write_text("not looked at")
    (folder / ".hidden.png").write_text("not looked at")
    return folder


def test_predict_writes_a_line_per_image_and_names_broken_ones(
    registered: Path, images: Path
) -> None:
    out = images.parent / "out.csv"
    flags = ("--model", "models:/demo@best", str(images), "--out", str(out))
    output = succeed_here("study.predict", *flags, cwd=registered)
    assert "skipped broken.png: not an image that can be read" in output
    assert "skipped empty.jpg: empty file" in output
    assert f"3 images classified, 2 skipped: see {out}" in output
    table = pd.read_csv(out)
    names = ["eosinophil", "lymphocyte", "monocyte", "neutrophil"]
    assert list(table) == ["image", "predicted", *[f"p_{name}" for name in names], "error"]
    broken = table[table["error"].notna()].set_index("image")
    assert broken["error"].to_dict() == {
        "broken.png": "not an image that can be read",
        "empty.jpg": "empty file",
    }
    assert broken.drop(columns="error").isna().all(axis=None)
    table = table[table["error"].isna()]
    assert list(table["image"]) == ["a.png", "sub/b.JPG", "sub/c.png"]
    probabilities = table.filter(like="p_").to_numpy()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert list(table["predicted"]) == [names[i] for i in probabilities.argmax(1)]


def refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *flags: str
) -> str:
    monkeypatch.setattr(sys, "argv", ["study.predict", *flags])
    error = refusal(main, capsys)
    assert not Path("predictions.csv").exists()
    return error


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("models:/nobody@best", "no model models:/nobody@best at sqlite:"),
        ("models:/nobody/1", "no model models:/nobody/1 at sqlite:"),
        ("runs:/nobody/model", "no model runs:/nobody/model at sqlite:"),
        ("no-such-folder", "no model no-such-folder at sqlite:"),
    ],
)
def test_predict_with_an_unknown_model_is_refused(
    images: Path,
    model: str,
    reason: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert reason in refused(capsys, monkeypatch, "--model", model, str(images))


def test_predict_with_a_model_of_another_kind_is_refused(
    client: MlflowClient,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert client is not None
    other = tmp_path / "other"
    other.mkdir()
    (other / "MLmodel").write_text("flavors:\n  sklearn:\n    code: null\n")
    error = refused(capsys, monkeypatch, "--model", str(other), str(images))
    assert "is not a model of this study: --register makes one" in error


def test_predict_with_a_broken_model_is_refused(
    client: MlflowClient,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert client is not None
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model.keras").write_text("no network")
    flavor = "python_function:\n    data: model.keras\n    config: {classes: [a, b]}\n"
    (broken / "MLmodel").write_text(f"flavors:\n  {flavor}")
    error = refused(capsys, monkeypatch, "--model", str(broken), str(images))
    assert f"cannot load model {broken} on this machine: " in error


def test_predict_without_an_image_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ("--model", "models:/demo@best")
    assert "no folder at nowhere" in refused(capsys, monkeypatch, *flags, "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no image in empty: put some there" in refused(capsys, monkeypatch, *flags, "empty")
    assert list(tmp_path.iterdir()) == [tmp_path / "empty"]


def test_predict_checks_first_that_the_file_can_be_written(
    images: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(images.parent)
    for out in ("images", "nowhere/out.csv"):
        flags = ("--model", "models:/demo@best", "--out", out, str(images))
        assert f"cannot write {out}" in refused(capsys, monkeypatch, *flags)


def test_predict_of_broken_images_alone_leaves_no_file(
    registered: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (found,) = registered.glob("mlruns/*/models/*/artifacts")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    monkeypatch.setattr(sys, "argv", ["study.predict", "--model", str(found), "images"])
    assert run_command(main) == 2
    assert "none of the 1 images in images can be read" in capsys.readouterr().err
    assert not (tmp_path / "predictions.csv").exists()


class StubClassifier:
    """A classifier that knows no image, but is made at once."""

    def pixels(self, content: bytes) -> NDArray[np.uint8]:
        return np.frombuffer(content[:3], np.uint8)

    def predict_pixels(self, pixels: NDArray[np.uint8]) -> pd.DataFrame:
        return pd.DataFrame({"a": [0.75] * len(pixels), "b": [0.25] * len(pixels)})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such names")
def test_odd_names_are_escaped_and_left_out_files_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "study.serving.predict_folder._load_classifier", lambda *_: StubClassifier()
    )
    for name in (b"caf\xe9.png", b"two\nlines.jfif", b"scan.dcm", b"exports/curves.png"):
        path = Path(os.fsdecode(b"images/" + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"123")
    os.mkfifo("images/pipe.jpg")
    Path("images/lost.jpg").symlink_to("nowhere.jpg")
    predict("any", Path("images"), Path("out.csv"), Progress())
    names = ["caf\\xe9.png", "lost.jpg", "pipe.jpg", "two\\nlines.jfif"]
    assert list(pd.read_csv("out.csv")["image"]) == names
    output = capsys.readouterr().err
    assert "left out: 1 file (1 .dcm)" in output
    assert "left out: exports, which the study has written" in output
    assert "skipped pipe.jpg: cannot be read: neither a file nor a link to one" in output
    assert "skipped lost.jpg: cannot be read: a link to a file that is not there" in output
    assert "2 images classified, 2 skipped" in output
