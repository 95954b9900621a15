"""Measure the comparison table's time and memory, by the number of runs.

    python -m benchmarks.table
    python -m benchmarks.table --runs 1000 10000

Fills an MLflow database (SQLite) with runs like those of a study. Each has the predictions of 1,168
test images of up to 1,040 patients. Then the real `python -m pipelines.export` runs. If the seconds
per run stay the same, time grows linearly.
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

from study.config.fingerprint import fingerprint
from study.config.trial_config import TrialConfig
from study.variants import resolve_config

IMAGES = 1168
PATIENTS = 1040
CURVES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
FIGURES = (
    *("test_loss", "fit_seconds", "total_seconds", "images_per_second", "dead_units"),
    "hidden_units",
)
EPOCHS = 15
TAGS = {
    "finished": "true",
    "sizes": "3738/934/1168",
    "leak": "446/1168",
    "weights_kind": "partial",
    "data_digest": "d",
    "split": "pooled",
    "protocol_version": "2",
}

Rows = dict[str, list[dict[str, object]]]  # by table


def make_configs(count: int) -> list[TrialConfig]:
    """Return `count` configs: the seven variants, with as many seeds as needed."""
    return [resolve_config("chest", 1 + i % 7, {"seed": i // 7}) for i in range(count)]


def fill_database(folder: Path, count: int) -> None:
    """Make a database of `count` finished runs, with the files that the table reads."""
    uri = f"sqlite:///{folder}/mlflow.db"
    experiment = MlflowClient(uri).create_experiment("chest", artifact_location=f"{folder}/files")
    engine = sa.create_engine(uri)
    rng = np.random.default_rng(0)
    tables = sa.MetaData()
    tables.reflect(engine, only=("runs", "params", "tags", "latest_metrics", "metrics"))
    rows: Rows = {name: [] for name in tables.tables}
    for number, config in enumerate(make_configs(count)):
        run_id = uuid.UUID(int=number + 1).hex
        files = folder / "files" / run_id / "artifacts"
        accuracy = write_predictions(files, config.seed, rng)
        add_run(rows, run_id, experiment, config, files, accuracy)
    with engine.begin() as connection:
        for name in ("runs", "params", "tags", "metrics", "latest_metrics"):
            connection.execute(sa.insert(tables.tables[name]), rows[name])
    engine.dispose()


def write_predictions(files: Path, seed: int, rng: np.random.Generator) -> float:
    """Write predictions.parquet of one run, and return its test accuracy."""
    seed_rng = np.random.default_rng(seed)  # all variants of a seed have the same test set
    is_normal = seed_rng.random(IMAGES) < 0.27
    patient = seed_rng.integers(0, PATIENTS, IMAGES)
    is_right = rng.random(IMAGES) < 0.96
    p_normal = np.where(is_normal == is_right, 0.9, 0.1).astype(np.float32)
    table = pd.DataFrame(
        {
            "image": [f"test/{seed}/{i}.jpeg" for i in range(IMAGES)],
            "split": "test",
            "label": np.where(is_normal, "NORMAL", "PNEUMONIA"),
            "group": [f"patient {i}" for i in patient],
            "p_NORMAL": p_normal,
            "p_PNEUMONIA": 1 - p_normal,
        }
    )
    files.mkdir(parents=True)
    table.to_parquet(files / "predictions.parquet", index=False)
    return float(is_right.mean())


def add_run(
    rows: Rows,
    run_id: str,
    experiment: str,
    config: TrialConfig,
    files: Path,
    accuracy: float,
) -> None:
    """Add a run's rows to those of MLflow's tables."""
    rows["runs"].append(
        {
            "run_uuid": run_id,
            "name": run_id,
            "source_type": "LOCAL",
            "status": "FINISHED",
            "user_id": "bench",
            "start_time": 1000,
            "end_time": 2000,
            "lifecycle_stage": "active",
            "artifact_uri": str(files),
            "experiment_id": int(experiment),
        }
    )
    for key, value in config.as_dict().items():
        rows["params"].append({"run_uuid": run_id, "key": key, "value": str(value)})
    for key, value in {**TAGS, "fingerprint": fingerprint(config, "d")}.items():
        rows["tags"].append({"run_uuid": run_id, "key": key, "value": value})
    _add_metrics(rows, run_id, accuracy)


def _add_metrics(rows: Rows, run_id: str, accuracy: float) -> None:
    """Add a run's figures and its curves of `EPOCHS` points."""
    figures = dict.fromkeys((*CURVES, *FIGURES), 0.5)
    figures |= {"test_accuracy": accuracy, "test_groups": 1000.0}
    point = {"run_uuid": run_id, "timestamp": 1000, "is_nan": False}
    for key, value in figures.items():
        rows["latest_metrics"].append({**point, "key": key, "value": value, "step": 0})
        for step in range(EPOCHS if key in CURVES else 1):
            rows["metrics"].append({**point, "key": key, "value": value, "step": step})


def run_export(folder: Path) -> tuple[float, float]:
    """Return the seconds and the peak memory (MiB) of the real command."""
    settings = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    command = [sys.executable, "-m", "pipelines.export", "--dataset", "chest", "--no-upload"]
    command += ["--out", str(folder / "out")]
    start = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, **settings}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit("the command failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, nargs="+", default=[100, 1000])
    for count in parser.parse_args().runs:
        with tempfile.TemporaryDirectory() as name:
            fill_database(Path(name), count)
            seconds, memory = run_export(Path(name))
        milliseconds = 1000 * seconds / count
        print(f"{count:,} runs: {seconds:.1f} s ({milliseconds:.1f} ms per run), {memory:.0f} MiB")


if __name__ == "__main__":
    main()
