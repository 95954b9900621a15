"""Which workers the flags of a driver name, and which they may not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from study import grid
from study import tpe
from study.common.parser import Parser
from study.workers.flags import add_engine_flags
from study.workers.flags import open_workers
from tests.support.commands import refusal

DRIVERS = pytest.mark.parametrize("main", [grid.main, tpe.main], ids=["grid", "tpe"])
STORAGE = {"STUDY_STORAGE": "postgresql+psycopg2://study@127.0.0.1:1/optuna"}
SERVER = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}


@DRIVERS
@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({}, "STUDY_STORAGE and MLFLOW_TRACKING_URI"),
        (STORAGE, "MLFLOW_TRACKING_URI"),
        (SERVER, "STUDY_STORAGE"),
    ],
)
@pytest.mark.parametrize("flags", [("--workers", "2"), ("--engine", "ray")])
def test_several_workers_without_servers_are_refused(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    main: Callable[[], None],
    settings: dict[str, str],
    missing: str,
    flags: tuple[str, str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["command", *flags])
    error = refusal(main, capsys)
    assert error.startswith(f"error: {' '.join(flags)} needs PostgreSQL and an MLflow server, ")
    assert f": set {missing} (see docs/cluster.md" in error
    assert list(tmp_path.iterdir()) == []


@DRIVERS
@pytest.mark.usefixtures("client")
def test_driver_with_a_bad_heartbeat_setting_exits_with_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, main: Callable[[], None]
) -> None:
    monkeypatch.setenv("STUDY_STORAGE", STORAGE["STUDY_STORAGE"])
    monkeypatch.setenv("STUDY_HEARTBEAT", "soon")
    monkeypatch.setattr("sys.argv", ["command"])
    assert "STUDY_HEARTBEAT='soon' is out of range: use seconds" in refusal(main, capsys)


def test_worker_preloads_training_before_its_first_call() -> None:
    parser = Parser("", "command")
    add_engine_flags(parser)
    with open_workers(parser.parse_args([])) as (worker,):
        assert worker.call("tests.support.launch_tasks:is_imported", "study.training.fit")
