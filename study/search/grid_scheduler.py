"""Train each of a fixed set of configs once.

The set is a grid, or one config with fresh seeds. Any number of processes may work on it. Optuna is
asked for each cell by name, because its GridSampler would hand one cell to two processes that ask
at once, and counts a failed cell as visited.
"""

import dataclasses
import math
import time
from collections.abc import Collection

import optuna
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from optuna.trial import create_trial
from optuna.trial import TrialState

from study.common.errors import TrackingError
from study.common.errors import TrackingRefused
from study.common.progress import format_duration
from study.common.progress import Progress
from study.data.prepare import compute_name_digest
from study.job import Options
from study.job import Outcome
from study.search.best_setting import find_best_settings
from study.search.claimed_run import run_claimed
from study.search.claimed_run import wait_for_mlflow
from study.search.claims import Claims
from study.search.grid_plan import Cell
from study.search.grid_plan import Setting
from study.search.grid_space import Grid
from study.search.time_estimate import extrapolate_time
from study.search.trial_states import collect_running_keys
from study.search.trial_states import find_ended_trials
from study.tracking import queries
from study.tracking.end_runs import choose_finished_run
from study.workers.pool import Scheduler
from study.workers.pool import StepResult
from study.workers.pool import Worker

# Fields that a grid's trials share, and by which MLflow finds their runs in one search.
SEARCHED_PARAMS = ("backbone", "split", "image_size", "epochs")


@dataclasses.dataclass(frozen=True)
class ClaimedCell:
    """A cell that this process may train, and its trial in Optuna."""

    cell: Cell
    trial: optuna.Trial
    label: str  # goes before every line of its progress

    def __str__(self) -> str:
        return f"{self.label}{self.cell}"


class GridScheduler(Scheduler[ClaimedCell]):
    """One process at work on a grid, with as many workers as call `step`."""

    def __init__(self, grid: Grid, claims: Claims, client: MlflowClient, options: Options) -> None:
        self.grid = grid
        self.claims = claims
        self.client = client
        self.options = options
        self.name_digest = compute_name_digest(grid.base.dataset)  # of the images at the start
        self.progress = Progress()
        self.finished: dict[Cell, Outcome] = {}
        self.failed: dict[Cell, str] = {}
        self.trained = 0  # by this call
        self.in_training = 0  # on the workers of this call
        self.started_at = time.monotonic()
        self.finished |= self._find_outcomes(grid.configs)
        self._add_finished_trials()
        # Trials that finished once but are no longer in MLflow: somebody deleted their runs to
        # have them trained again.
        remaining_keys = set(grid.keys.values()) - {grid.keys[cell] for cell in self.finished}
        complete_trials = claims.storage.retry_until_available(
            lambda: self._list_complete_trials(remaining_keys)
        )
        self.deleted = {trial.number for trial in complete_trials if not self._is_pending(trial)}

    def _find_outcomes(self, cells: Collection[Cell]) -> dict[Cell, Outcome]:
        """Return MLflow's outcomes of those cells that need no more training."""
        keys = {self.grid.keys[cell] for cell in cells}
        shared_fields = self.grid.plan.shared_fields()
        common_params = {
            name: shared_fields[name] for name in SEARCHED_PARAMS if name in shared_fields
        }
        runs = queries.find_runs_by_fingerprint(self.client, keys, common_params)
        outcomes = {cell: self._choose_outcome(runs[self.grid.keys[cell]]) for cell in cells}
        return {cell: outcome for cell, outcome in outcomes.items() if outcome is not None}

    def _choose_outcome(self, runs: list[Run]) -> Outcome | None:
        """Return the outcome of a cell by its runs, or None if it needs more training."""
        if self.options.pause_after_epoch:
            return queries.find_outcome_after(self.client, runs, self.options.pause_after_epoch)
        run = choose_finished_run(self.client, runs)
        return None if run is None else queries.read_outcome(run)

    def _list_complete_trials(self, keys: set[str]) -> list[optuna.trial.FrozenTrial]:
        trials = self.claims.trials(TrialState.COMPLETE)
        return [trial for trial in trials if trial.user_attrs["fingerprint"] in keys]

    def _add_finished_trials(self) -> None:
        """Add to Optuna what is finished in MLflow alone."""
        retry = self.claims.storage.retry_until_available
        ended_keys = find_ended_trials(retry(self.claims.trials)).keys()
        missing_trials: dict[str, optuna.trial.FrozenTrial] = {}
        for cell, outcome in self.finished.items():
            if (key := self.grid.keys[cell]) not in ended_keys:
                missing_trials[key] = create_trial(
                    value=outcome.val_accuracy,
                    params=self.grid.point(cell),
                    distributions=self.grid.ranges(),
                    user_attrs={"fingerprint": key, "run_id": outcome.run_id},
                )
        self.claims.add_missing(missing_trials)

    def _is_pending(self, trial: optuna.trial.FrozenTrial) -> bool:
        """Return True if MLflow has yet to learn of a complete trial's end.

        Another machine trained it, and has not delivered the end of its run.
        """
        return queries.is_running(self.client, str(trial.user_attrs.get("run_id")))

    def claim_next(self) -> ClaimedCell | StepResult:
        """Claim one of the remaining cells, or return why there is none."""
        try:
            self.claims.storage.retry_until_available(self._refresh_finished)
        except TrackingRefused:
            raise
        except TrackingError:
            wait_for_mlflow()
            return StepResult.DONE
        claimed = self.claims.under_lock(self._claim_first)
        if claimed is not None:
            return claimed
        if not self._list_remaining():
            return StepResult.END
        if (message := self.claims.waiting_message()) is not None:
            self.progress.say(message)
        return StepResult.WAIT

    def _list_remaining(self) -> list[Cell]:
        """Return the cells that have neither finished nor failed."""
        return [
            cell
            for cell in self.grid.configs
            if cell not in self.finished and cell not in self.failed
        ]

    def _refresh_finished(self) -> None:
        """Take note of the cells that others have finished, be it after a failure here."""
        unfinished = [cell for cell in self.grid.configs if cell not in self.finished]
        cells = {self.grid.keys[cell]: cell for cell in unfinished}
        trials = self._list_complete_trials(set(cells))
        ended_cells = {cells[trial.user_attrs["fingerprint"]] for trial in trials}
        self.finished |= self._find_outcomes(ended_cells)
        for trial in trials:
            cell = cells[trial.user_attrs["fingerprint"]]
            if cell in self.finished:
                continue
            if trial.number not in self.deleted and self._is_pending(trial):
                run_id = str(trial.user_attrs["run_id"])
                self.finished[cell] = Outcome(run_id, trial.value or 0.0, math.nan, math.nan)
            else:  # its run was deleted just now
                self.deleted.add(trial.number)
        for cell in unfinished:
            if cell in self.finished:
                self.failed.pop(cell, None)

    def find_best_settings(self) -> list[Setting]:
        """Find the best setting on validation so far, or those that tie for it."""
        accuracies = {cell: outcome.val_accuracy for cell, outcome in self.finished.items()}
        return find_best_settings(accuracies, self.grid.plan.settings)

    def _claim_first(self) -> ClaimedCell | None:
        """Claim the first cell that is neither running nor finished."""
        running_keys = collect_running_keys(self.claims.trials())
        finished_keys = {
            trial.user_attrs["fingerprint"]
            for trial in self.claims.trials(TrialState.COMPLETE)
            if trial.number not in self.deleted
        }
        for cell in self._list_remaining():
            key = self.grid.keys[cell]
            if key not in running_keys and key not in finished_keys:
                trial = self.claims.ask(self.grid.point(cell), self.grid.ranges(), key)
                number = list(self.grid.configs).index(cell) + 1
                label = f"{self.options.label}[{number}/{len(self.grid.configs)}] "
                return ClaimedCell(cell, trial, label)
        return None

    def train(self, task: ClaimedCell, worker: Worker) -> None:
        """Train a cell on a worker, and note its outcome here and in Optuna.

        Raises:
            WorkerLost: the worker or a server went away, and the cell can be claimed again.
            TrialFailed: the training failed.
        """
        planned_key = self.grid.keys[task.cell]
        options = dataclasses.replace(self.options, label=task.label, planned_key=planned_key)
        config = self.grid.configs[task.cell]

        def train_on_worker() -> Outcome:
            outcome: Outcome = worker.call("study.trial.train_config:train_config", config, options)
            return outcome

        self.in_training += 1
        try:
            outcome = run_claimed(
                self.claims, task.trial, self.client, train_on_worker, worker.cancel
            )
        finally:
            self.in_training -= 1
        self.claims.complete(task.trial, outcome.val_accuracy, run_id=outcome.run_id)
        self.finished[task.cell] = outcome
        self._print_time_left(task.label)

    def note_failure(self, task: ClaimedCell, reason: str) -> None:
        """Note that the training of a cell failed."""
        self.failed[task.cell] = reason
        self.progress.say(f"{task} failed: {reason}")

    def _print_time_left(self, label: str) -> None:
        self.trained += 1
        if count := len(self._list_remaining()):
            elapsed = time.monotonic() - self.started_at
            seconds = extrapolate_time(elapsed, self.trained, self.in_training, count)
            self.progress.say(
                f"{label}done; about {format_duration(seconds)} for the other {count}"
            )
