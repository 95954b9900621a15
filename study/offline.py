"""Train the seven variants of a report where there is no MLflow, and bring them there later.

    KERAS_BACKEND=jax python -m study.offline --dataset chest --seeds 3 --out records
    python -m study.sync --from records

The second command is for the machine with MLflow. Repeating the first trains only what is not
finished: the config in training goes on from its last epoch. With --minutes it ends after the epoch
in which they are over. Exit code: 0 if all is finished, 3 if there is more to do, 2 after an error.
"""

import functools
import platform
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from study.cli import add_config_flags
from study.cli import Parser
from study.cli import run_command
from study.config import ConfigError
from study.config import fingerprint
from study.config import StudyError
from study.config import TrialConfig
from study.data import data_digest
from study.operations import Operation
from study.options import Options
from study.options import Pruned
from study.options import TrialFailed
from study.options import Watch
from study.plan import add_seeds_flag
from study.plan import BY_VARIANT
from study.plan import Cell
from study.plan import configs_of
from study.plan import grid_name
from study.plan import planned
from study.plan import shared
from study.plan import title
from study.progress import Progress
from study.record import held
from study.record import is_finished
from study.record import Record
from study.runlog import RunLog
from study.trial import prepared
from study.trial import recorded
from study.variants import VARIANTS

MORE = 3  # exit code
STATE = "state"  # folder of a record in training


@dataclass
class Session:
    """One process at work on the configs of a plan, whose records are in `out`."""

    out: Path
    study: Mapping[str, Any]  # name, title and params of what stands above the runs in MLflow
    configs: Mapping[Cell, TrialConfig]
    keys: Mapping[Cell, str]  # fingerprints
    end: float  # by time.monotonic
    use_cache: bool
    failed: dict[Cell, str] = field(default_factory=dict)

    def run(self) -> bool:
        """Train what is not finished; whether it came to its end before the time was over."""
        for cell in self._open():
            if time.monotonic() > self.end:
                return False
            try:
                self._train(cell)
            except TrialFailed as error:  # one config that fails does not end a study
                self.failed[cell] = str(error)
            except Pruned:
                return False
        return True

    def finished(self) -> int:
        """How many of the records are."""
        return len(self.configs) - len(self._open())

    def _open(self) -> list[Cell]:
        return [c for c in self.configs if not is_finished(Record(self.out / self.keys[c]))]

    def _train(self, cell: Cell) -> None:
        started, config = time.perf_counter(), self.configs[cell]
        folder = self.out / self.keys[cell]
        number = list(self.configs).index(cell) + 1
        progress = Progress(f"[{number}/{len(self.configs)}] ")
        with held(folder):
            progress.say(config.title)
            trial = prepared(config, progress, use_cache=self.use_cache)
            record = self._begun(cell)
            options = Options(watch=Watch("study.offline:over", (self.end,)))
            with tempfile.TemporaryDirectory() as files:
                log = RunLog(record, Path(files), seen=_points(record.operations))
                recorded(trial, log, folder / STATE, started, options)
            record.put(Operation("end", {"status": "FINISHED", "time": _now()}))
            shutil.rmtree(folder / STATE, ignore_errors=True)

    def _begun(self, cell: Cell) -> Record:
        """The record of a config: as it was left, or new if what was trained is lost."""
        record = Record(self.out / self.keys[cell])
        if not (record.folder / STATE).is_dir():
            shutil.rmtree(record.folder, ignore_errors=True)
            config = self.configs[cell]
            body = {
                **{"id": uuid.uuid4().hex, "name": config.title, "dataset": config.dataset},
                **{"fingerprint": self.keys[cell], "machine": platform.node(), "time": _now()},
                "study": dict(self.study),
            }
            record.put(Operation("begin", body))
        return record


def over(end: float, epoch: Mapping[str, float]) -> str | None:  # noqa: ARG001
    """Asked after each epoch; see `study.options.Watch`."""
    return "the time is over" if time.monotonic() > end else None


def _points(operations: Iterable[Operation]) -> frozenset[tuple[str, int]]:
    points = (point for each in operations for point in each.body.get("metrics", ()))
    return frozenset((name, step) for name, _, _, step in points)


def _now() -> int:
    return int(time.time() * 1000)


def _chosen(configs: dict[Cell, TrialConfig], text: str | None) -> dict[Cell, TrialConfig]:
    """The configs of some variants, such as `1,6,7`."""
    if text is None:
        return configs
    known = {str(variant.number) for variant in VARIANTS}
    if not known.issuperset(wanted := text.split(",")):
        raise ConfigError(f"variant={text!r} is unknown: use 1 to {len(VARIANTS)}, such as 1,6,7")
    return {cell: config for cell, config in configs.items() if str(cell.variant) in wanted}


def _minutes(text: str | None) -> float:
    try:
        minutes = float("inf") if text is None else float(text)
    except ValueError:
        minutes = -1.0
    if not minutes > 0:
        raise ConfigError(f"minutes={text!r} is out of range: use a number above 0")
    return minutes


def _session(started: float) -> Session:
    parser = Parser(__doc__ or "", "study.offline")
    add = parser.add_argument
    add("--out", metavar="DIR", required=True, help="a folder for each config, by fingerprint")
    add("--minutes", metavar="M", help="end after the epoch they end in [default: never]")
    add("--variant", metavar="N", dest="variants", help="only these, such as 1,6,7 [default: all]")
    add("--no-cache", action="store_true", help="keep decoded images in memory, not on disk")
    add_seeds_flag(parser)
    add_config_flags(parser, leave_out=BY_VARIANT)
    args = parser.parse_args()
    end = started + 60 * _minutes(args.minutes)
    base, space = planned(args)
    configs, digest = _chosen(configs_of(base, space), args.variants), data_digest(base.dataset)
    above = {
        "name": grid_name(base, digest),
        "title": title(f"{len(VARIANTS)} variants", base),
        "params": shared(base),
    }
    keys = {cell: fingerprint(config, digest) for cell, config in configs.items()}
    return Session(Path(args.out), above, configs, keys, end, not args.no_cache)


def main() -> None:
    """The command."""
    session = _session(time.monotonic())
    say = functools.partial(print, file=sys.stderr)
    came_through = session.run()
    done = f"{session.finished()} of {len(session.configs)} finished in {session.out}"
    if not came_through:
        say(f"{done}; the time is over: the same command goes on from here")
        sys.exit(MORE)
    if session.failed:
        cell, reason = next(iter(session.failed.items()))
        raise StudyError(
            f"{done}, {len(session.failed)} failed, such as {cell}: {reason}\n"
            "Repeat the command to try them again."
        )
    say(f"{done}; bring them to MLflow: python -m study.sync --from {session.out}")


if __name__ == "__main__":
    sys.exit(run_command(main))
