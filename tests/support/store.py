"""Finished runs written to a real SQLite store, as `study/tracking/run_logger.py` writes them."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.entities import Metric
from mlflow.entities import Param
from mlflow.entities import RunTag
from mlflow.tracking import MlflowClient

from pipelines.runs.finished_run import FinishedRun
from study.config.sweep import Sweep
from study.config.sweep import SWEEP_TAG
from study.config.trial_config import TrialConfig
from study.variants import find_variant
from study.variants import resolve_config

PARTIAL = "weights/mobilenet.partial.weights.h5"


def log_run(
    client: MlflowClient,
    experiment_id: str,
    dataset: str = "chest",
    variant: int | None = 1,
    *,
    fields: dict[str, Any] | None = None,
    params: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
    metrics: dict[str, float] | None = None,
    started: int = 1_000,
    status: str = "FINISHED",
) -> str:
    """Log one run and return its id; `params` overrides how a value is spelled."""
    config = resolve_config(dataset, variant, fields or {})
    values = {name: str(value) for name, value in config.as_dict().items()} | (params or {})
    marks = {
        "fingerprint": "|".join(f"{name}={value}" for name, value in config.as_dict().items()),
        "data_digest": "0123456789abcdef",
        "variant": str(find_variant(config) or "none"),
        "weights_kind": "partial" if "partial" in values["weights"] else config.weights,
        "split": config.split,
        "dataset": dataset,
        "finished": "true",
        "sizes": "3738/934/1168",
        "leak": "812/1168",
    } | (tags or {})
    figures = final_metrics(config.seed) | (metrics or {})
    run = client.create_run(experiment_id, start_time=started)
    client.log_batch(
        run.info.run_id,
        [Metric(name, value, started, 0) for name, value in figures.items()],
        [Param(name, value) for name, value in values.items()],
        [RunTag(name, value) for name, value in marks.items() if value],
    )
    client.set_terminated(run.info.run_id, status, end_time=started + 1)
    _log_files(client, run.info.run_id, figures["test_accuracy"])
    return str(run.info.run_id)


def _log_files(client: MlflowClient, run_id: str, accuracy: float) -> None:
    """Of 100 test images of 50 patients; the first ones are the wrong ones. And three epochs."""
    wrong = np.arange(100) < round(100 * (1 - accuracy))
    table = pd.DataFrame(
        {
            "image": [f"image{i}.jpeg" for i in range(100)],
            "split": "test",
            "label": np.where(np.arange(100) % 4, "PNEUMONIA", "NORMAL"),
            "group": [f"patient{i // 2}" for i in range(100)],
        }
    )
    normal = (table["label"] == "NORMAL") ^ wrong
    table["p_NORMAL"], table["p_PNEUMONIA"] = normal * 0.9 + 0.05, ~normal * 0.9 + 0.05
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "predictions.parquet")
        table.to_parquet(file)
        epochs = pd.DataFrame({"epoch": [1, 2, 3], "loss": [1.0, 0.5, 0.3]})
        for name in ("accuracy", "val_loss", "val_accuracy"):
            epochs[name] = 0.9
        epochs.to_csv(Path(folder, "history.csv"), index=False)
        client.log_artifacts(run_id, folder)


def final_metrics(seed: int) -> dict[str, float]:
    return {
        "test_loss": 0.1 + seed / 100,
        "test_accuracy": 0.96 + seed / 100,
        "val_loss": 0.12,
        "val_accuracy": 0.95,
        "train_loss": 0.05,
        "train_accuracy": 0.99,
        "fit_seconds": 1200.5 + seed,
        "total_seconds": 1300.25,
        "images_per_second": 88.0,
        "epochs_run": 4.0,
        "dead_units": 1.0 + seed,
        "hidden_units": 8.0,
        "leak_fraction": 812 / 1168,
        "test_groups": 1000.0 + seed,
    }


def write_chest_study(folder: Path, seeds: int) -> str:
    """The seven variants in a store of their own, of which variant 5 is poor; its URI."""
    uri = f"sqlite:///{folder}/mlflow.db"
    client = MlflowClient(uri)
    place = client.create_experiment("study", artifact_location=str(folder))
    for variant in range(1, 8):
        for seed in range(seeds):
            share = (0.7 if variant == 5 else 0.95) + (seed % 3) / 100
            figures = {"test_accuracy": share}
            log_run(client, place, variant=variant, fields={"seed": seed}, metrics=figures)
    return uri


def log_sweep(
    client: MlflowClient,
    experiment_id: str,
    sweep: Sweep,
    accuracies: dict[tuple[Any, ...], float],
    *,
    dataset: str = "chest",
    seeds: int = 3,
    fields: dict[str, Any] | None = None,
) -> str:
    """Log a sweep's parent run, and a run for each seed of the cells with an accuracy."""
    shared = resolve_config(dataset, None, fields or {}).as_dict()
    names = shared.keys() - {*sweep.fields, "seed", "fold"}
    parent = client.create_run(experiment_id, tags={"study": "sweep", SWEEP_TAG: sweep.to_json()})
    parent_id = str(parent.info.run_id)
    client.log_batch(parent_id, params=[Param(name, str(shared[name])) for name in names])
    for cell, accuracy in accuracies.items():
        for seed in range(seeds):
            values = dict(zip(sweep.fields, cell, strict=True))
            share = accuracy + (seed % 3) / 100
            log_run(
                client,
                experiment_id,
                dataset,
                None,
                fields={**(fields or {}), **values, "seed": seed},
                tags={"mlflow.parentRunId": parent_id},
                metrics={"test_accuracy": share, "val_accuracy": share},
            )
    client.set_terminated(parent_id)
    return parent_id


def make_finished_run(
    config: TrialConfig, name: str, metrics: Mapping[str, float] | None = None, role: str = ""
) -> FinishedRun:
    """A run as it is read from MLflow, without any artifact."""
    return FinishedRun(
        run_id=name,
        artifact_uri="",
        started=0,
        config=config,
        weights_kind="imagenet",
        weights_file="",
        data_digest="d",
        protocol_version="2",
        fingerprint=name,
        sizes="",
        leak="0/100",
        metrics=dict(metrics or {}),
        role=role,
    )
