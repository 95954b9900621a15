"""A grid that is disturbed in every way: workers and drivers killed, servers stopped and started.

    python -m tests.support.chaos --seeds 6 --seconds-between-kills 6

Prints what was done and what came of it. Two drivers work on one grid, each with two workers or as
many as --workers says. Each killed driver is started again, as an init system would. Real
PostgreSQL, real MLflow server.
"""

import argparse
import contextlib
import dataclasses
import os
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import psutil
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from deploy.native import build_environment
from deploy.native import run_mlflow
from deploy.native import write_client_settings
from deploy.ports import find_free_ports
from deploy.postgres import run_postgres
from tests.support.commands import finished_of
from tests.support.commands import history_of
from tests.support.commands import runs_of
from tests.support.commands import start_logged
from tests.support.commands import TINY

EPOCHS = 3
FLAGS = (*TINY, "--limit", "40", "--epochs", str(EPOCHS))
DRIVERS = 2
CURVES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
EPOCHS_BETWEEN_KILLS = 2
LIMIT = 3000  # s


@dataclasses.dataclass(frozen=True)
class Trouble:
    """A grid, and what is to be done to it."""

    flags: tuple[str, ...]  # of the grid
    cells: int  # that the grid has
    workers: int  # of each driver
    pause: float  # s between two kills, at least
    kills: int  # after so many, only an outage brings another
    # The server that stops, and for how many seconds, by the share of cells that are finished then
    outages: Mapping[float, tuple[str, float]]


LITTLE_TROUBLE = Trouble(
    ("--sweep", "lr=1e-3,5e-3", "--sweep", "hidden_layers=1,2"),
    cells=4,
    workers=1,
    pause=1.0,
    kills=1,
    outages={0.2: ("MLflow", 10.0), 0.45: ("PostgreSQL", 3.0)},
)
MUCH_TROUBLE = Trouble(
    ("--seeds", "6"),
    cells=42,
    workers=2,
    pause=4.0,
    kills=1000,
    outages={**LITTLE_TROUBLE.outages, 0.7: ("MLflow", 15.0)},
)


class Stack:
    """PostgreSQL and an MLflow server that can be stopped one by one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = find_free_ports()
        self.settings = write_client_settings(folder, self.ports)
        self._environment = build_environment(self.settings, self.ports)
        self._running = {"PostgreSQL": contextlib.ExitStack(), "MLflow": contextlib.ExitStack()}

    def start(self, name: str) -> None:
        port = self.ports.postgres
        server = (
            run_postgres(self.folder, port, self._environment)
            if name == "PostgreSQL"
            else run_mlflow(self.folder, self.ports, self._environment)
        )
        self._running[name].enter_context(server)

    def stop(self, name: str) -> None:
        self._running[name].close()


@dataclasses.dataclass
class Chaos:
    """The drivers under test, and what is done to them."""

    folder: Path
    stack: Stack
    trouble: Trouble
    chance: Random = dataclasses.field(default_factory=lambda: Random(0))
    drivers: list["subprocess.Popen[bytes]"] = dataclasses.field(default_factory=list)
    done: Counter[str] = dataclasses.field(default_factory=Counter)

    def start_driver(self) -> "subprocess.Popen[bytes]":
        flags = (*FLAGS, *self.trouble.flags, "--workers", str(self.trouble.workers))
        settings = self.stack.settings | {
            "STUDY_CACHE": str(self.folder / "cache"),
            "STUDY_HEARTBEAT": "2",
            "STUDY_PATIENCE": "2",
            "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "60",
        }
        with (self.folder / "drivers.log").open("ab") as log:
            return start_logged("study.grid", *flags, cwd=self.folder, log=log, **settings)

    def kill(self) -> None:
        """End a random worker, or now and then a random driver, as a power cut would."""
        driver = self.chance.choice(self.drivers)
        children = [p for p in _children(driver.pid) if p.memory_info().rss > 200 * 2**20]
        if children and self.chance.random() < 0.8:
            self.chance.choice(children).kill()
            self.done["workers killed"] += 1
        elif driver.poll() is None:
            driver.kill()
            driver.wait()
            self.done["drivers killed"] += 1

    def restart_killed_drivers(self) -> bool:
        """Start the drivers that were killed again; whether all have ended by themselves."""
        for i, driver in enumerate(self.drivers):
            if driver.poll() not in (None, 0):
                self.drivers[i] = self.start_driver()
        return all(driver.poll() == 0 for driver in self.drivers)

    def run(self) -> None:
        """Disturb until all is done."""
        client = client_of(self.stack)
        self.drivers = [self.start_driver() for _ in range(DRIVERS)]
        cells = self.trouble.cells
        outages = dict(self.trouble.outages)
        kills = self.trouble.kills + len(outages)
        end, finished, epochs = time.monotonic() + LIMIT, 0, 0
        while not self.restart_killed_drivers():
            assert time.monotonic() < end, (self.folder / "drivers.log").read_text()[-3000:]
            time.sleep(self.trouble.pause)
            with contextlib.suppress(Exception):  # while a server is away
                finished = len(finished_of(client))
            for share in [share for share in outages if finished >= share * cells]:
                self._outage(*outages.pop(share))
            # on a slow machine all would die before their first epoch, again and again
            ready = self._epochs() >= epochs + EPOCHS_BETWEEN_KILLS and finished < cells - 1
            if ready and self.done.total() < kills - len(outages):
                self.kill()
                epochs = self._epochs()
        assert not outages

    def _epochs(self) -> int:
        """How many were trained, by all drivers."""
        return (self.folder / "drivers.log").read_bytes().count(b"val_loss")

    def _outage(self, name: str, seconds: float) -> None:
        self.stack.stop(name)
        self.kill()
        time.sleep(seconds)
        self.stack.start(name)
        self.done[f"{name} restarted"] += 1


def _children(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return list(psutil.Process(pid).children())
    return []


def client_of(stack: Stack) -> MlflowClient:
    """Logged in, which MLflow takes from the environment alone."""
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        os.environ[name] = stack.settings[name]
    return MlflowClient(tracking_uri=stack.settings["MLFLOW_TRACKING_URI"])


def count_outcomes(runs: list[Run], client: MlflowClient, cells: int) -> dict[str, int]:
    """What came of it: all but the first two shall be 0."""
    finished = [run for run in runs if run.data.tags.get("finished") == "true"]
    times = Counter(run.data.tags["fingerprint"] for run in finished)
    wanted = list(range(1, EPOCHS + 1))
    steps = {
        (run.info.run_id, name): [step for step, _ in history_of(client, run, name)]
        for run in finished
        for name in CURVES
    }
    return {
        "finished": len(times),
        "runs": len(runs),
        "lost": cells - len(times),
        "duplicated": sum(count - 1 for count in times.values()),
        "curves with a gap or a double": sum(found != wanted for found in steps.values()),
        "left running": sum(run.info.status == "RUNNING" for run in runs),
    }


def figures_of(runs: list[Run]) -> dict[str, dict[str, float]]:
    """What a table is made of, by fingerprint: all but times."""
    timed = ("seconds", "images_per_second", "system/")
    return {
        run.data.tags["fingerprint"]: {
            name: value
            for name, value in run.data.metrics.items()
            if not any(word in name for word in timed)
        }
        for run in runs
        if run.data.tags.get("finished") == "true"
    }


def run_disturbed_grid(
    folder: Path, trouble: Trouble, say: Callable[[str], Any] = print
) -> tuple[dict[str, int], dict[str, dict[str, float]]]:
    """What came of a disturbed grid, and its figures."""
    stack = Stack(folder)
    stack.start("PostgreSQL")
    stack.start("MLflow")
    chaos = Chaos(folder, stack, trouble)
    try:
        chaos.run()
        client = client_of(stack)
        runs = runs_of(client)
        came = count_outcomes(runs, client, trouble.cells)
        say(", ".join(f"{what} {count}" for what, count in (*chaos.done.items(), *came.items())))
        return came, figures_of(runs)
    finally:
        for driver in chaos.drivers:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
        stack.stop("MLflow")
        stack.stop("PostgreSQL")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--kills", type=int, default=MUCH_TROUBLE.kills, help="at most")
    parser.add_argument("--workers", type=int, default=2, help="of each of two drivers")
    parser.add_argument("--seconds-between-kills", type=float, default=MUCH_TROUBLE.pause)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)  # PostgreSQL's user must enter
        trouble = dataclasses.replace(
            MUCH_TROUBLE,
            flags=("--seeds", str(args.seeds)),
            cells=7 * args.seeds,
            workers=args.workers,
            pause=args.seconds_between_kills,
            kills=args.kills,
        )
        run_disturbed_grid(Path(place), trouble)
