"""The files of a finished trial, for image names that not every file can hold."""

from pathlib import Path

import numpy as np
import pandas as pd

from study.config.trial_config import recipe
from study.data.prepare import Data
from study.data.split import Split
from study.training.artifacts import write_artifacts


def test_names_that_are_no_utf8_or_hold_line_breaks_are_written_escaped(tmp_path: Path) -> None:
    data = Data(
        dataset="folder:/images",
        classes=("a", "b"),
        images=("a/caf\udce9.png", "a/plain.png", "b/two\nlines.png"),
        y=np.array([0, 0, 1]),
        folders=("",) * 3,
        groups=None,
        source="/images",
        x=np.zeros((3, 2, 2, 3), np.uint8),
        skipped=(("b/br\udcfcken.png", "empty file"),),
        digest="0" * 64,
    )
    split = Split(np.array([0]), np.array([1]), np.array([0, 2]))
    epoch = {"epoch": 1.0, "loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5}
    probabilities = {
        "val": np.full((1, 2), 0.5, np.float32),
        "test": np.full((2, 2), 0.5, np.float32),
    }
    write_artifacts(tmp_path, recipe("demo"), data, split, [epoch], probabilities)
    predictions = pd.read_parquet(tmp_path / "predictions.parquet")
    assert list(predictions["image"]) == ["a/plain.png", "a/caf\\xe9.png", "b/two\\nlines.png"]
    skipped = pd.read_csv(tmp_path / "skipped.csv")
    assert skipped.to_dict("records") == [{"image": "b/br\\xfcken.png", "reason": "empty file"}]
