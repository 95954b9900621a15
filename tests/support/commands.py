"""Runs the real commands in an empty folder: in a process of their own, or in this one.

`run` and `succeed` do as a user does, for what a process alone shows: kills, signals, exit codes
of the system, output to a pipe. `run_here` and `succeed_here` are for everything else.
"""

import contextlib
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from typing import IO

import mlflow
import numpy as np
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from study.common.command import run_command
from study.workers.pool import Worker
from tests.support.training import InlineWorker
from tests.support.training import use_worker

ROOT = Path(__file__).resolve().parents[2]
# A trial of a few seconds; its numbers mean nothing
TINY = (
    *("--dataset", "demo", "--image-size", "32", "--alpha", "0.25", "--weights", "none"),
    *("--limit", "80", "--batch-size", "16"),
)
# JAX's programs run for a second here, and to compile them with all passes takes many
JAX = {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_llvm_disable_expensive_passes=true"}


def start(module: str, *flags: str, cwd: Path, **settings: str) -> "subprocess.Popen[str]":
    """Start `python -m module flags` in `cwd`, with no settings but these and STUDY_CACHE."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *flags],
        cwd=cwd,
        env=_environment(settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=restore_ctrl_c,
    )


def start_logged(
    module: str, *flags: str, cwd: Path, log: IO[bytes], **settings: str
) -> "subprocess.Popen[bytes]":
    """The same, with its output in a file, for what runs long."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *flags],
        cwd=cwd,
        env=_environment(settings),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    mine = ("DATA_DIR", "PYTHONPATH")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in mine and not name.startswith(("MLFLOW_", "STUDY_", "PG"))
    }
    cache = {"STUDY_CACHE": os.environ["STUDY_CACHE"]} if "STUDY_CACHE" in os.environ else {}
    return kept | {"PYTHONPATH": str(ROOT)} | cache | dict(settings)


def restore_ctrl_c() -> None:
    """Let a new process be ended by Ctrl-C, even if the tests run in the background of a shell."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finish(
    process: "subprocess.Popen[str]", seconds: float = 400
) -> "subprocess.CompletedProcess[str]":
    """Wait for a started command, for so long at most."""
    try:
        stdout, stderr = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def run(module: str, *flags: str, cwd: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run `python -m module flags` in `cwd` to its end."""
    return finish(start(module, *flags, cwd=cwd, **settings))


def succeed(module: str, *flags: str, cwd: Path, **settings: str) -> str:
    """Run a command that must succeed; what it wrote to stderr."""
    done = run(module, *flags, cwd=cwd, **settings)
    assert done.returncode == 0, done.stderr
    return done.stderr


def run_here(
    module: str, *flags: str, cwd: Path, worker: Worker | None = None, **settings: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command as `run` does, but in this process: a new one takes seconds to import Keras.

    Its trials are trained by `worker`, else in this process, too.
    """
    out = io.StringIO()
    err = io.StringIO()
    # MLflow keeps, for the whole process, the file that a relative address first named
    settings = {"MLFLOW_TRACKING_URI": f"sqlite:///{cwd}/mlflow.db"} | settings
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        # before the settings: forgetting an address takes MLFLOW_TRACKING_URI away, too
        mlflow.set_tracking_uri(None)
        _set_environment(patch, _environment(settings))
        patch.chdir(cwd)
        patch.setattr(sys, "argv", [module, *flags])
        patch.setattr("study.data.warnings._warned", set())
        use_worker(patch, worker or InlineWorker())
        try:
            code: Any = run_command(find_main(module))
        except SystemExit as ended:
            code = ended.code
        mlflow.set_tracking_uri(None)
    return subprocess.CompletedProcess([module, *flags], code, out.getvalue(), err.getvalue())


def _set_environment(patch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> None:
    for name in os.environ.keys() - environment.keys():
        patch.delenv(name)
    for name, value in environment.items():
        patch.setenv(name, value)


def find_main(module: str) -> Callable[[], None]:
    """The function that `python -m module` runs."""
    found = importlib.import_module(module)
    if hasattr(found, "__path__"):  # a package
        found = importlib.import_module(f"{module}.__main__")
    main: Callable[[], None] = found.main
    return main


def succeed_here(module: str, *flags: str, cwd: Path, **settings: str) -> str:
    """Run a command in this process, which must succeed; what it wrote to stderr."""
    done = run_here(module, *flags, cwd=cwd, **settings)
    assert done.returncode == 0, done.stderr
    return done.stderr


def refusal(main: Callable[[], None], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command, run in this process, refuses what it was given."""
    assert run_command(main) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1
    return error


def wait_until(
    condition: Callable[[], bool],
    process: "subprocess.Popen[str] | None" = None,
    *,
    seconds: float = 300,
) -> None:
    """Poll until a condition holds; fail if the process ends before."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not so within {seconds:g} s"
        if process is not None and process.poll() is not None:
            assert condition(), f"it ended first: {process.communicate()[1]}"
        time.sleep(0.02)


def client_of(folder: Path) -> MlflowClient:
    """Of the SQLite file that commands run in `folder` write to when nothing is set."""
    return MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")


def runs_of(client: MlflowClient) -> list[Run]:
    """All active runs, earliest first."""
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(ids, order_by=["attributes.start_time ASC"]))


def finished_of(client: MlflowClient) -> list[Run]:
    """The complete ones of these."""
    return [run for run in runs_of(client) if run.data.tags.get("finished") == "true"]


def count_saved_epochs(cache: Path) -> int:
    """How many epochs the first training state of a cache holds."""
    found = list((cache / "trials").glob("*/state.npz"))
    if not found:
        return 0
    with np.load(found[0]) as saved:
        return len(json.loads(str(saved["history"])))


def history_of(client: MlflowClient, run: Run, name: str) -> list[tuple[int, float]]:
    """The (step, value) points of a metric in the order of writing."""
    return [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
