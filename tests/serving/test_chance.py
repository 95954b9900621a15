"""A model that is no better than chance is not registered."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from study.serving.chance import explain_no_better_than_chance
from tests.support.commands import client_of
from tests.support.commands import run_here
from tests.support.commands import succeed_here
from tests.support.commands import TINY
from tests.support.images import class_folders
from tests.support.training import make_outcome


def log_predictions(client: MlflowClient, folder: Path, val_labels: str) -> str:
    """A run with predictions of validation images of these labels, and of a test image."""
    run_id = str(client.create_run("0").info.run_id)
    file = folder / "predictions.parquet"
    splits = ["val"] * len(val_labels) + ["test"]
    pd.DataFrame({"split": splits, "label": [*val_labels, "c"]}).to_parquet(file)
    client.log_artifact(run_id, str(file))
    return run_id


@pytest.mark.parametrize(("accuracy", "beats"), [(0.76, True), (0.75, False), (0.5, False)])
def test_accuracy_beats_chance_above_the_share_of_the_largest_class(
    client: MlflowClient, tmp_path: Path, accuracy: float, beats: bool
) -> None:
    run_id = log_predictions(client, tmp_path, "aaab")
    reason = explain_no_better_than_chance([make_outcome(accuracy, run_id=run_id)])
    assert (reason == "") is beats
    assert beats or reason == (
        f"validation accuracy {accuracy:.4f} does not beat chance "
        "(0.7500, the share of the largest class)"
    )


def test_accuracies_of_several_runs_are_compared_by_their_mean(
    client: MlflowClient, tmp_path: Path
) -> None:
    run_ids = [log_predictions(client, tmp_path, labels) for labels in ("aaab", "aabb")]
    outcomes = [
        make_outcome(value, run_id=run_id)
        for value, run_id in zip((0.9, 0.3), run_ids, strict=True)
    ]
    assert explain_no_better_than_chance(outcomes).startswith(
        "mean validation accuracy 0.6000 does not beat chance (0.6250"
    )


def test_run_without_predictions_is_not_compared(client: MlflowClient) -> None:
    run_id = str(client.create_run("0").info.run_id)
    assert explain_no_better_than_chance([make_outcome(0.1, run_id=run_id)]) == ""


def test_model_no_better_than_chance_is_registered_by_force_alone(
    empty_database: Path, tmp_path: Path
) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    root = class_folders(tmp_path / "noise", {"a": 40, "b": 10})
    flags = (*TINY, "--dataset", f"folder:{root}", "--epochs", "1", "--lr", "1e-8", "--register")
    refused = run_here("study.train", *flags, cwd=tmp_path)
    assert refused.returncode == 2
    assert "error: no model is registered: validation accuracy " in refused.stderr
    assert "does not beat chance (0.8" in refused.stderr
    client = client_of(tmp_path)
    assert client.search_registered_models() == []
    succeed_here("study.train", *flags, "--force", cwd=tmp_path)
    assert len(client.search_registered_models()) == 1
