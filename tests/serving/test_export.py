"""A saved model runs its own code, whatever else is importable where it is loaded."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest

from study.serving import export

IMAGE = np.zeros((8, 8, 3), np.uint8)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """A network of two classes that learns nothing."""
    images = keras.Input((8, 8, 3), dtype="uint8")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(images))
    return keras.Model(images, keras.layers.Dense(2, activation="softmax")(pooled))


@pytest.fixture(autouse=True)
def clean_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the models' packages after each test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules_before = set(sys.modules)
    yield
    for name in set(sys.modules) - modules_before:
        if name.startswith("finetune_study"):
            del sys.modules[name]


def predict(folder: Path) -> pd.DataFrame:
    """Load a model as MLflow does and classify one image."""
    return mlflow.pyfunc.load_model(str(folder)).predict(pd.DataFrame({"image": [IMAGE]}))


@pytest.mark.parametrize("is_imported", [True, False])
def test_save_model_beside_a_package_of_the_name_gives_a_model_that_runs_its_own_code(
    network: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_imported: bool
) -> None:
    for name in ("finetune_study", "serving", "data"):
        (tmp_path / "theirs" / name).mkdir(parents=True)
        (tmp_path / "theirs" / name / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "theirs")
    if is_imported:
        __import__("finetune_study")
    export.save_model(network, ["a", "b"], IMAGE, tmp_path / "model")
    assert list(predict(tmp_path / "model")) == ["a", "b"]


def test_save_model_of_changed_code_gives_a_model_that_runs_beside_an_older_one(
    network: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export.save_model(network, ["a", "b"], IMAGE, tmp_path / "old")
    changed = tmp_path / "study"
    for file in export.CODE:
        (changed / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(export.SOURCE / file, changed / file)
    code = (changed / "serving" / "classifier.py").read_text()
    renamed = code.replace("self.classes = list(classes)", "self.classes = ['c', 'd']")
    assert renamed != code
    (changed / "serving" / "classifier.py").write_text(renamed)
    monkeypatch.setattr(export, "SOURCE", changed)
    export.save_model(network, ["a", "b"], IMAGE, tmp_path / "new")
    assert list(predict(tmp_path / "old")) == ["a", "b"]
    assert list(predict(tmp_path / "new")) == ["c", "d"]
    assert list(predict(tmp_path / "old")) == ["a", "b"]
