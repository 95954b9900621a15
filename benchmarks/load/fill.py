"""Prepare the data of benchmarks.load: a trial's files, and copies of a run."""

from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection
from sqlalchemy import create_engine
from sqlalchemy import text

from benchmarks.load.worker import EPOCH
from study.config.trial_config import recipe
from study.data.prepare import Data
from study.data.split import Split
from study.training import artifacts

SIZES = (3750, 936, 1170)  # images of chest: train, val, test

TABLES = ("runs", "params", "tags", "metrics", "latest_metrics")
# The columns in which a copy differs from the run: its id and its fingerprint. `g` is its number.
CHANGES = {
    ("runs", "run_uuid"): "md5('run' || g)",
    ("tags", "value"): "CASE key WHEN 'fingerprint' THEN md5(g::text) || md5('b' || g) "
    "ELSE value END",
}


def write_files(folder: Path, epochs: int) -> None:
    """Write the artifacts of a trial of chest, with predictions of 2,106 images."""
    rng = np.random.default_rng(0)
    ends = np.cumsum(SIZES)
    split = Split(*np.split(np.arange(ends[-1]), ends[:-1]))
    images = tuple(f"train/PNEUMONIA/person{n}_bacteria_{n}.jpeg" for n in range(ends[-1]))
    data = Data(
        dataset="chest",
        classes=("NORMAL", "PNEUMONIA"),
        images=images,
        y=rng.integers(0, 2, ends[-1]),
        folders=("",) * ends[-1],
        groups=tuple(f"person{n}" for n in range(ends[-1])),
        source="",
        x=np.empty((0, 0, 0, 3), np.uint8),
        skipped=(),
        digest="",
    )
    history = [{"epoch": float(n), **EPOCH} for n in range(1, epochs + 1)]
    first_class = {"val": rng.random(SIZES[1]), "test": rng.random(SIZES[2])}
    probabilities = {
        part: np.stack([values, 1 - values], 1).astype(np.float32)
        for part, values in first_class.items()
    }
    artifacts.write_artifacts(folder, recipe("chest"), data, split, history, probabilities)


def copy_run(address: str, run_id: str, first: int, last: int) -> None:
    """Add copies of a finished run, numbered `first` to `last`, to MLflow's database."""
    engine = create_engine(address)
    with engine.begin() as connection:
        for table in TABLES:
            _copy_rows(connection, table, run_id, {"first": first, "last": last})
    with engine.connect() as connection:
        autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
        # A server does this by itself after a while.
        for command in ("VACUUM ANALYZE", "CHECKPOINT"):
            autocommit.execute(text(command))
    engine.dispose()


def _copy_rows(connection: Connection, table: str, run_id: str, numbers: dict[str, int]) -> None:
    """Copy a run's rows of one table, once for each number from `first` to `last`."""
    query = "SELECT column_name FROM information_schema.columns WHERE table_name = :table"
    columns = connection.execute(text(query), {"table": table}).scalars().all()
    values = [_make_expression(table, column) for column in columns]
    insertion = (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} FROM {table}, "
        "generate_series(CAST(:first AS int), CAST(:last AS int)) g WHERE run_uuid = :run"
    )
    parameters: dict[str, Any] = {"run": run_id, **numbers}
    connection.execute(text(insertion), parameters)


def _make_expression(table: str, column: str) -> str:
    """Return the SQL expression of a column's value in a copy."""
    if column == "run_uuid":
        return CHANGES["runs", "run_uuid"]
    return CHANGES.get((table, column), column)
