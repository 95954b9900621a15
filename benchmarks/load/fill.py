"""Prepare benchmarks.load: write a trial's files, and copy a real run many times."""

from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection
from sqlalchemy import create_engine
from sqlalchemy import text

from benchmarks.load.worker import EPOCH
from study.config import recipe
from study.data.prepare import Data
from study.data.split import Split
from study.training import artifacts

SIZES = (3750, 936, 1170)  # images of chest: train, val, test

TABLES = ("runs", "params", "tags", "metrics", "latest_metrics")
# Of each copy its own id and fingerprint, all else as it was
CHANGES = {
    ("runs", "run_uuid"): "md5('run' || g)",
    ("tags", "value"): "CASE key WHEN 'fingerprint' THEN md5(g::text) || md5('b' || g) "
    "ELSE value END",
}


def write_files(folder: Path, epochs: int) -> None:
    """Write the artifacts of a trial of chest, with predictions of 2,106 images."""
    rng, ends = np.random.default_rng(0), np.cumsum(SIZES)
    split = Split(*np.split(np.arange(ends[-1]), ends[:-1]))
    images = tuple(f"train/PNEUMONIA/person{n}_bacteria_{n}.jpeg" for n in range(ends[-1]))
    groups, none = tuple(f"person{n}" for n in range(ends[-1])), ("",) * ends[-1]
    labels = rng.integers(0, 2, ends[-1])
    data = Data("chest", ("NORMAL", "PNEUMONIA"), images, labels, none, groups, "",
                np.empty((0, 0, 0, 3), np.uint8), (), "")  # fmt: skip
    history = [{"epoch": float(n), **EPOCH} for n in range(1, epochs + 1)]
    p = {"val": rng.random(SIZES[1]), "test": rng.random(SIZES[2])}
    both = {name: np.stack([x, 1 - x], 1).astype(np.float32) for name, x in p.items()}
    artifacts.write_artifacts(folder, recipe("chest"), data, split, history, both)


def multiply(address: str, run_id: str, first: int, last: int) -> None:
    """Add copies of a finished run, numbers `first` to `last`."""
    engine = create_engine(address)
    with engine.begin() as connection:
        for table in TABLES:
            _copy(connection, table, run_id, {"first": first, "last": last})
    with engine.connect() as connection:
        alone = connection.execution_options(isolation_level="AUTOCOMMIT")
        for command in ("VACUUM ANALYZE", "CHECKPOINT"):  # as the server does by itself in time
            alone.execute(text(command))
    engine.dispose()


def _copy(connection: Connection, table: str, run_id: str, numbers: dict[str, int]) -> None:
    query = "SELECT column_name FROM information_schema.columns WHERE table_name = :table"
    columns = connection.execute(text(query), {"table": table}).scalars().all()
    values = [_value(table, column) for column in columns]
    copied = (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} FROM {table}, "
        "generate_series(CAST(:first AS int), CAST(:last AS int)) g WHERE run_uuid = :run"
    )
    given: dict[str, Any] = {"run": run_id, **numbers}
    connection.execute(text(copied), given)


def _value(table: str, column: str) -> str:
    if column == "run_uuid":
        return CHANGES["runs", "run_uuid"]
    return CHANGES.get((table, column), column)
