"""A fixed set of configs, each trained once, whoever works on it: a grid, or fresh seeds.

Optuna is asked for each cell by name. Its GridSampler would hand a cell to two processes that ask
at once, and takes a failed cell for visited.
"""

import dataclasses
import math
import time

import optuna
from mlflow.tracking import MlflowClient
from optuna.distributions import BaseDistribution
from optuna.distributions import IntDistribution
from optuna.trial import create_trial
from optuna.trial import TrialState

from study.common.errors import Failed
from study.common.errors import Lost
from study.common.progress import duration
from study.common.progress import Progress
from study.config import fingerprint
from study.config import TrialConfig
from study.job import Options
from study.job import Outcome
from study.search.claims import Claims
from study.search.grid_plan import Cell
from study.search.grid_plan import configs_of
from study.search.retry import attempt
from study.search.retry import OUTAGE
from study.tracking import connection
from study.tracking import queries
from study.workers.pool import Step
from study.workers.pool import Worker


@dataclasses.dataclass(frozen=True)
class Grid:
    """What is to be trained, and under which name Optuna knows it."""

    name: str
    base: TrialConfig
    space: dict[str, list[int]]  # of `variant`, `seed` and `fold` those that differ
    configs: dict[Cell, TrialConfig]
    keys: dict[Cell, str]  # fingerprints

    def point(self, cell: Cell) -> dict[str, int]:
        """A cell's place in the space."""
        return {name: getattr(cell, name) for name in self.space}

    def ranges(self) -> dict[str, BaseDistribution]:
        """The space as Optuna knows it."""
        # a range may grow in later calls, as with more seeds; a set of categories may not
        return {name: IntDistribution(values[0], values[-1]) for name, values in self.space.items()}


def make_cells(name: str, base: TrialConfig, space: dict[str, list[int]], digest: str) -> Grid:
    """`base`, changed to each point of the search space."""
    configs = configs_of(base, space)
    keys = {cell: fingerprint(config, digest) for cell, config in configs.items()}
    return Grid(name, base, space, configs, keys)


class Session:
    """One process at work on a grid, with as many workers as call `step`."""

    def __init__(self, grid: Grid, claims: Claims, client: MlflowClient, options: Options) -> None:
        self.grid = grid
        self.claims = claims
        self.client = client
        self.options = options
        self.progress = Progress()
        self.finished: dict[Cell, Outcome] = {}
        self.failed: dict[Cell, str] = {}
        self.trained = 0  # by this call
        self.since = time.monotonic()
        for cell in grid.configs:
            if (outcome := self._found(cell)) is not None:
                self.finished[cell] = outcome
        claims.in_turn(self._tell_of_finished)
        known = set(grid.keys.values()) - {grid.keys[cell] for cell in self.finished}
        # finished once, but not in MLflow any more: somebody wants them trained again
        self.gone = {t.number for t in self._complete(known) if not self._is_pending(t)}

    def _found(self, cell: Cell) -> Outcome | None:
        """What MLflow has of a cell that is trained as far as it shall be."""
        key = self.grid.keys[cell]
        if self.options.until:
            return queries.outcome_after(self.client, key, self.options.until)
        run = queries.find_finished(self.client, key)
        return None if run is None else queries.outcome(run)

    def _complete(self, keys: set[str]) -> list[optuna.trial.FrozenTrial]:
        trials = self.claims.trials(TrialState.COMPLETE)
        return [trial for trial in trials if trial.user_attrs["fingerprint"] in keys]

    def _tell_of_finished(self) -> None:
        complete = self.claims.ended()
        for cell, outcome in self.finished.items():
            if (key := self.grid.keys[cell]) not in complete:
                trial = create_trial(
                    value=outcome.val_accuracy,
                    params=self.grid.point(cell),
                    distributions=self.grid.ranges(),
                    user_attrs={"fingerprint": key, "run_id": outcome.run_id},
                )
                self.claims.study.add_trial(trial)

    def _is_pending(self, trial: optuna.trial.FrozenTrial) -> bool:
        """Whether the run is complete, but another machine has yet to deliver its end to MLflow."""
        return queries.is_running(self.client, str(trial.user_attrs.get("run_id")))

    def step(self, worker: Worker) -> Step:
        """Have one open cell trained."""
        try:
            self._learn()
        except connection.TrackingError:
            connection.wait_for_server(OUTAGE)
            return Step.DONE
        chosen = self.claims.in_turn(self._choose)
        if chosen is not None:
            self._train(*chosen, worker)
            return Step.DONE
        if not self._open():
            return Step.END
        if (awaited := self.claims.awaited()) is not None:
            self.progress.say(awaited)
        return Step.WAIT

    def _open(self) -> list[Cell]:
        return [c for c in self.grid.configs if c not in self.finished and c not in self.failed]

    def _learn(self) -> None:
        """Take note of what others have finished."""
        keys = {self.grid.keys[cell]: cell for cell in self._open()}
        for trial in self._complete(set(keys)):
            cell = keys[trial.user_attrs["fingerprint"]]
            outcome = self._found(cell)
            if outcome is not None:
                self.finished[cell] = outcome
            elif trial.number not in self.gone and self._is_pending(trial):
                run_id = str(trial.user_attrs["run_id"])
                self.finished[cell] = Outcome(run_id, trial.value or 0.0, math.nan, math.nan)
            else:  # deleted just now
                self.gone.add(trial.number)

    def _choose(self) -> tuple[Cell, optuna.Trial] | None:
        taken = self.claims.taken()
        done = {t.user_attrs["fingerprint"] for t in self.claims.trials(TrialState.COMPLETE)
                if t.number not in self.gone}  # fmt: skip
        for cell in self._open():
            if (key := self.grid.keys[cell]) not in taken | done:
                point, ranges = self.grid.point(cell), self.grid.ranges()
                return cell, self.claims.ask(point, ranges, key)
        return None

    def _train(self, cell: Cell, trial: optuna.Trial, worker: Worker) -> None:
        number, total = list(self.grid.configs).index(cell) + 1, len(self.grid.configs)
        label = f"{self.options.label}[{number}/{total}] "
        options = dataclasses.replace(self.options, label=label)
        config = self.grid.configs[cell]

        def train() -> Outcome:
            outcome: Outcome = worker.call("study.train:train", config, options)
            return outcome

        try:
            outcome = attempt(self.claims, trial, self.client, train)
        except Lost as error:
            self.progress.say(f"{label}{cell}: {error}; it will be taken up again")
        except Failed as error:
            self.failed[cell] = str(error)
            self.progress.say(f"{label}{cell} failed: {error}")
        else:
            self.claims.complete(trial, outcome.val_accuracy, run_id=outcome.run_id)
            self.finished[cell] = outcome
            self._say_how_long(label)

    def _say_how_long(self, label: str) -> None:
        self.trained += 1
        if left := len(self._open()):
            rest = left * (time.monotonic() - self.since) / self.trained
            self.progress.say(f"{label}done; about {duration(rest)} for the other {left}")
