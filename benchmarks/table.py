"""Measure the time and memory of the comparison table by the number of runs.

    python -m benchmarks.table
    python -m benchmarks.table --runs 1000 10000

Fills an MLflow database (SQLite) with runs as a study leaves them, with predictions of 1,168 test
images of about 1,040 patients each, then runs the real `python -m pipelines.export`. Growth is
linear where seconds per run stay the same.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import sqlalchemy as sa
from mlflow.tracking import MlflowClient

from study.config import fingerprint
from study.config import TrialConfig
from study.variants import resolve_config

IMAGES = 1168
PATIENTS = 1040
FIGURES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "test_loss", "fit_seconds",
           "total_seconds", "images_per_second", "dead_units", "hidden_units")  # fmt: skip
EPOCHS = 15


def configs(count: int) -> list[TrialConfig]:
    """List `count` configs: the seven variants, with as many seeds as needed."""
    return [resolve_config("chest", 1 + i % 7, {"seed": i // 7}) for i in range(count)]


def fill(folder: Path, count: int) -> None:
    """Make a database of `count` finished runs, with the files that the table reads."""
    uri = f"sqlite:///{folder}/mlflow.db"
    place = MlflowClient(uri).create_experiment("chest", artifact_location=f"{folder}/files")
    engine, rng = sa.create_engine(uri), np.random.default_rng(0)
    tables = sa.MetaData()
    tables.reflect(engine, only=("runs", "params", "tags", "latest_metrics", "metrics"))
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in tables.tables}
    for number, config in enumerate(configs(count)):
        run_id = uuid.UUID(int=number + 1).hex
        files = folder / "files" / run_id / "artifacts"
        accuracy = write_predictions(files, config.seed, rng)
        add_run(rows, run_id, place, config, files, accuracy)
    with engine.begin() as connection:
        for name in ("runs", "params", "tags", "metrics", "latest_metrics"):
            connection.execute(sa.insert(tables.tables[name]), rows[name])
    engine.dispose()


def write_predictions(files: Path, seed: int, rng: np.random.Generator) -> float:
    """Write predictions.parquet of one run, and return its test accuracy."""
    same = np.random.default_rng(seed)  # a seed's test set is that of all its variants
    label, patient = same.random(IMAGES) < 0.27, same.integers(0, PATIENTS, IMAGES)
    right = rng.random(IMAGES) < 0.96
    p = np.where(label == right, 0.9, 0.1).astype(np.float32)
    table = pd.DataFrame(
        {
            "image": [f"test/{seed}/{i}.jpeg" for i in range(IMAGES)],
            "split": "test",
            "label": np.where(label, "NORMAL", "PNEUMONIA"),
            "group": [f"patient {i}" for i in patient],
            "p_NORMAL": p,
            "p_PNEUMONIA": 1 - p,
        }
    )
    files.mkdir(parents=True)
    table.to_parquet(files / "predictions.parquet", index=False)
    return float(right.mean())


def add_run(
    rows: dict[str, list[dict[str, object]]],
    run_id: str,
    place: str,
    config: TrialConfig,
    files: Path,
    accuracy: float,
) -> None:
    """Add a run to MLflow's tables, with ten figures and four curves of 15 epochs."""
    rows["runs"].append(
        {"run_uuid": run_id, "name": run_id, "source_type": "LOCAL", "status": "FINISHED",
         "user_id": "bench", "start_time": 1000, "end_time": 2000, "lifecycle_stage": "active",
         "artifact_uri": str(files), "experiment_id": int(place)}
    )  # fmt: skip
    for key, value in config.as_dict().items():
        rows["params"].append({"run_uuid": run_id, "key": key, "value": str(value)})
    tags = {"fingerprint": fingerprint(config, "d"), "finished": "true", "sizes": "3738/934/1168",
            "leak": "446/1168", "weights_kind": "partial", "data_digest": "d", "split": "pooled",
            "protocol_version": "2"}  # fmt: skip
    rows["tags"] += [{"run_uuid": run_id, "key": k, "value": v} for k, v in tags.items()]
    latest = dict.fromkeys(FIGURES, 0.5) | {"test_accuracy": accuracy, "test_groups": 1000.0}
    point = {"run_uuid": run_id, "timestamp": 1000, "is_nan": False}
    for key, value in latest.items():
        rows["latest_metrics"].append({**point, "key": key, "value": value, "step": 0})
        steps = range(EPOCHS) if key in FIGURES[:4] else range(1)
        rows["metrics"] += [{**point, "key": key, "value": value, "step": s} for s in steps]


def export(folder: Path) -> tuple[float, float]:
    """Return the seconds and the peak memory (MiB) of the real command."""
    settings = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    command = [sys.executable, "-m", "pipelines.export", "--dataset", "chest", "--no-upload",
               "--out", str(folder / "out")]  # fmt: skip
    began = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, **settings}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit("the command failed")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[100, 1000])
    for count in parser.parse_args().runs:
        with tempfile.TemporaryDirectory() as name:
            fill(Path(name), count)
            seconds, memory = export(Path(name))
        print(f"{count:,} runs: {seconds:.1f} s ({1000 * seconds / count:.1f} ms per run), "
              f"{memory:.0f} MiB")  # fmt: skip


if __name__ == "__main__":
    main()
