"""A logged model answers anywhere: to MLflow in Python, and to JPEG files over HTTP."""

import base64
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel
from PIL import Image

from study.data.decode import load_rgb_image
from study.data.prepare import prepare
from tests.support.commands import client_of
from tests.support.commands import wait_until
from tests.support.image_files import draw_noise
from tests.support.image_files import to_bytes
from tests.support.servers import free_port


@pytest.fixture(scope="module")
def model_folder(registered: Path) -> Path:
    (found,) = registered.glob("mlruns/*/models/*/artifacts")
    return found


@pytest.fixture(scope="module")
def model(model_folder: Path) -> PyFuncModel:
    return mlflow.pyfunc.load_model(str(model_folder))


@pytest.fixture(scope="module")
def expected(registered: Path) -> pd.DataFrame:
    """What the run says of its test images."""
    client = client_of(registered)
    (version,) = client.search_model_versions()
    recorded = client.download_artifacts(version.run_id, "predictions.parquet")
    table = pd.read_parquet(recorded).query("split == 'test'").set_index("image")
    return table.drop(columns=["split", "label", "group"]).rename(columns=lambda name: name[2:])


def encoded(image: np.ndarray, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def assert_close(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert list(found) == list(expected)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("form", ["pixels", "file", "base64"])
def test_logged_model_predicts_as_the_run_did(
    model: PyFuncModel, expected: pd.DataFrame, form: str
) -> None:
    assert np.ptp(expected.to_numpy(), axis=0).max() > 0.01  # the images do differ
    data = prepare("demo", 64)  # as drawn; the model takes 32
    row = {image: number for number, image in enumerate(data.images)}
    pixels = [np.asarray(data.x[row[image]]) for image in expected.index]
    files = [encoded(image, "PNG") for image in pixels]
    texts = [base64.b64encode(file).decode() for file in files]
    given = {"pixels": pixels, "file": files, "base64": texts}[form]
    assert_close(model.predict(pd.DataFrame({"image": given})), expected)


FORMATS = (".png", ".tif", ".jpg", ".webp", ".bmp", ".gif")
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "F")


@settings(max_examples=60)
@given(mode=st.sampled_from(MODES), suffix=st.sampled_from(FORMATS), seed=st.integers(0, 9))
def test_logged_model_decodes_what_training_and_the_audit_decode(
    model: PyFuncModel, mode: str, suffix: str, seed: int
) -> None:
    try:
        content = to_bytes(draw_noise(mode, seed), suffix)
    except (OSError, ValueError):  # not every format has every mode
        return
    classifier = model._model_impl  # with the decoder that is in the model's folder
    size = classifier.size
    with tempfile.TemporaryDirectory() as folder:
        for label in ("a", "b"):
            Path(folder, label).mkdir()
            Path(folder, label, f"x{suffix}").write_bytes(content)
        trained = prepare(f"folder:{folder}", size, use_cache=False).x[0]
    assert np.array_equal(classifier.pixels(content), trained)
    assert np.array_equal(classifier.pixels(base64.b64encode(content).decode()), trained)
    audited = load_rgb_image(content).resize((size, size), Image.Resampling.BILINEAR)
    assert np.array_equal(np.asarray(audited), trained)


def test_logged_model_predicts_a_batch_of_pixels(
    model: PyFuncModel, expected: pd.DataFrame
) -> None:
    data = prepare("demo", 32)
    rows = [data.images.index(image) for image in expected.index]
    assert_close(model.predict({"image": data.x[rows]}), expected)


def test_predictions_keep_the_index_of_their_images(model: PyFuncModel) -> None:
    image = np.zeros((5, 9, 3), np.uint8)
    found = model.predict(pd.DataFrame({"image": [image, image]}, index=["a", "b"]))
    assert list(found.index) == ["a", "b"]
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert model.predict(pd.DataFrame({"image": []})).shape == (0, 4)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"broken", "not an image that can be read"),
        (b"", "empty file"),
        ("a", "not base64"),
        ("é", "not base64"),
        (None, "neither"),
        (np.zeros((8, 8), np.uint8), "neither"),
        (np.zeros((0, 8, 3), np.uint8), "neither"),
        ([[[1, 2, 3]], [[1, 2, 3], [4, 5, 6]]], "neither"),
        (np.full((8, 8, 3), 0.5), "whole numbers from 0 to 255"),
        (np.full((8, 8, 3), 256), "whole numbers from 0 to 255"),
    ],
)
def test_input_that_is_no_image_is_refused_by_its_number(
    model: PyFuncModel, image: Any, reason: str
) -> None:
    good = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(MlflowException, match=f"image 2: .*{reason}") as caught:
        model.predict(pd.DataFrame({"image": [good, image]}))
    assert caught.value.get_http_status_code() == 400


def test_logged_model_has_a_signature_and_no_pickle(model: PyFuncModel, model_folder: Path) -> None:
    names = ["eosinophil", "lymphocyte", "monocyte", "neutrophil"]
    assert model.metadata.signature.inputs.input_names() == ["image"]
    assert model.metadata.signature.outputs.input_names() == names
    assert list(model.predict(model.input_example)) == names
    files = {path.relative_to(model_folder).as_posix() for path in model_folder.rglob("*.*")}
    assert {"data/model.keras", "card.md"} <= files
    code = [file for file in files if re.fullmatch(r"code/\w+/serving/classifier\.py", file)]
    assert len(code) == 1
    assert not {Path(file).suffix for file in files} & {".pkl", ".pickle", ".joblib"}
    assert "cloudpickle" not in (model_folder / "requirements.txt").read_text()


@pytest.fixture(scope="module")
def address(registered: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of `mlflow models serve`, in an environment that does not know this checkout."""
    port, folder = free_port(), tmp_path_factory.mktemp("serving")
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["-m", "models:/demo@best", "--port", str(port)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # for uvicorn
    settings = {"MLFLOW_TRACKING_URI": f"sqlite:///{registered}/mlflow.db", "PATH": path}
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env=environment | settings
        )
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health", process))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()  # which it passes on
        process.wait(60)


def answers(url: str, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def ask(address: str, file: bytes) -> Any:
    body = {"dataframe_records": [{"image": base64.b64encode(file).decode()}]}
    request = urllib.request.Request(
        f"{address}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


def test_model_server_classifies_a_jpeg(address: str, model: PyFuncModel) -> None:
    photo = np.asarray(prepare("demo", 64).x[7].repeat(5, 0).repeat(5, 1))  # 320 px: is shrunk
    jpeg = encoded(photo, "JPEG", quality=90)
    (answer,) = ask(address, jpeg)["predictions"]
    wanted = model.predict(pd.DataFrame({"image": [jpeg]})).iloc[0].to_dict()
    assert answer == pytest.approx(wanted, abs=1e-5)
    assert sum(answer.values()) == pytest.approx(1, abs=1e-5)
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(address, b"no JPEG")
    assert caught.value.code == 400
    assert "image 1: not an image that can be read" in caught.value.read().decode()
