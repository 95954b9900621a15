"""What is read of a run's predictions, and why they may be missing."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.compare.block_builder import build_blocks
from pipelines.compare.cautions import list_cautions
from pipelines.runs.finished_run import FinishedRun
from pipelines.runs.predictions import NOT_FOUND
from pipelines.runs.predictions import OF_ANOTHER
from pipelines.runs.predictions import read_predictions
from pipelines.runs.predictions import UNREADABLE
from tests.pipelines.compare.test_block_verdicts import make_run


def logged(folder: Path, right: int, uri: str = "") -> FinishedRun:
    """A run whose accuracy is a half, whatever its predictions of four images give."""
    table = pd.DataFrame({"image": list("abcd"), "label": "x", "split": "test"})
    table["p_x"] = (np.arange(4) < right).astype(float)
    table["p_y"] = 1 - table["p_x"]
    folder.mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / "predictions.parquet")
    run = make_run(1)
    figures = run.metrics | {"test_accuracy": 0.5}
    return dataclasses.replace(run, artifact_uri=uri or str(folder), metrics=figures)


def test_counts_and_answers_come_of_one_reading(tmp_path: Path) -> None:
    run = logged(tmp_path, right=2)
    found = read_predictions([run], with_answers=True)
    assert found.counts[run.run_id].accuracy == 0.5
    answers = found.answers[run.run_id]
    assert answers.classes == ("x", "y")
    assert answers.labels.tolist() == [0, 0, 0, 0]
    assert answers.probabilities.tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]
    assert found.problems == {}
    assert read_predictions([run]).answers == {}


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_path_is_decoded_as_mlflow_decodes_it(tmp_path: Path, scheme: str) -> None:
    run = logged(tmp_path / "an image", right=2, uri=f"{scheme}{tmp_path}/an%20image")
    assert read_predictions([run]).problems == {}


def test_missing_predictions_are_explained(tmp_path: Path) -> None:
    of_another = logged(tmp_path / "a", right=3)
    unreadable = dataclasses.replace(logged(tmp_path / "b", right=2), run_id="b")
    (tmp_path / "b" / "predictions.parquet").write_text("no parquet")
    not_found = dataclasses.replace(of_another, run_id="c", artifact_uri=str(tmp_path / "c"))
    runs = [of_another, unreadable, not_found, logged(tmp_path / "d", right=2)]
    runs[3] = dataclasses.replace(runs[3], run_id="d")
    found = read_predictions(runs)
    assert list(found.counts) == ["d"]
    assert found.problems == {"1-0": OF_ANOTHER, "b": UNREADABLE, "c": NOT_FOUND}
    text = " ".join(list_cautions(build_blocks(runs, found.counts), found))
    assert (
        "Warning: the predictions of 3 of 4 runs are missing (1 not matching the run's accuracy, "
        "1 unreadable, 1 not found among the artifacts)"
    ) in text
