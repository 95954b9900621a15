"""Train the configs that Optuna proposes, and report their results to it.

A config that is finished already is not trained again. Any number of workers and
processes may take part.
"""

import contextlib
import math
import time
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Any

import optuna
from mlflow.tracking import MlflowClient
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial
from optuna.trial import TrialState

from study.common.errors import Pruned
from study.common.errors import StudyError
from study.common.errors import TrialFailed
from study.common.progress import Progress
from study.config.fingerprint import fingerprint
from study.config.trial_config import TrialConfig
from study.job import Options
from study.job import Outcome
from study.search import pruning
from study.search.claimed_run import run_claimed
from study.search.claims import Claims
from study.search.samplers import has_converged
from study.search.search_plan import Bounds
from study.search.search_plan import STAGNATION
from study.search.space import Space
from study.search.trial_states import collect_running_keys
from study.search.trial_states import find_ended_trials
from study.search.trial_states import list_orphaned_trials
from study.workers.pool import Scheduler
from study.workers.pool import StepResult
from study.workers.pool import Worker

MAX_REPEATS = 50  # proposals of known configs in a row before the space counts as exhausted
MAX_FAILURES = 5  # in a row, before the search stops


@dataclass(frozen=True)
class ClaimedTrial:
    """A trial that this process may train."""

    trial: optuna.Trial
    label: str  # goes before every line of its progress

    def __str__(self) -> str:
        return f"{self.label}this config"


@dataclass
class SearchScheduler(Scheduler[ClaimedTrial]):
    """One call of the command, with as many workers as call `step`.

    The study, the space and the metric must not change within it.
    """

    claims: Claims
    space: Space
    metric: str  # val_accuracy, val_balanced_accuracy, val_auc or val_loss
    digest: str  # of the data
    client: MlflowClient
    bounds: Bounds
    pruner: str = "median"
    seeds: int = 1  # of each config, at most
    name_digest: str = ""  # of the images at the start, by which titles name a folder
    options: Options = field(default_factory=Options)
    progress: Progress = field(default_factory=Progress)
    starts: list[dict[str, Any]] = field(default_factory=list)  # points to try first
    started_at: float = field(default_factory=time.monotonic)  # start of the bound in seconds
    trained: int = 0  # by this call, pruned ones included
    repeats: int = 0  # in a row
    failures: int = 0  # in a row
    last_failure: str = ""
    end_reason: str = ""  # why no more trials start

    def key(self, point: dict[str, Any]) -> str:
        """Return the fingerprint of the config at a point, with its first seed."""
        return fingerprint(self.space.config(point), self.digest)

    def _further_keys(self, point: dict[str, Any]) -> list[str]:
        """Return the fingerprints of the config at a point with its other seeds."""
        config = self.space.config(point)
        seeds = range(config.seed + 1, config.seed + self.seeds)
        return [fingerprint(config.replace(seed=seed), self.digest) for seed in seeds]

    def best(self) -> FrozenTrial | None:
        """Return the best finished trial, or None if there is none."""
        ended = find_ended_trials(self.claims.trials()).values()
        complete_trials = [trial for trial in ended if trial.state == TrialState.COMPLETE]
        choose = min if self.metric == "val_loss" else max
        return choose(complete_trials, key=lambda trial: trial.value or 0.0, default=None)

    def claim_next(self) -> ClaimedTrial | StepResult:
        """Claim the next config: an orphaned one, a start, or what the sampler proposes.

        Raises:
            StudyError: too many trials in a row failed.
        """
        if self.failures >= MAX_FAILURES:
            raise StudyError(
                f"{self.failures} trials failed in a row, the last one: {self.last_failure}\n"
                "Remove the cause and repeat the command, or narrow the search with --fix."
            )
        retry = self.claims.storage.retry_until_available
        trials = retry(self.claims.trials)
        ended = find_ended_trials(trials)
        known_keys = ended.keys() | collect_running_keys(trials)
        if reason := self._find_end_reason(len(ended)):
            self.end_reason = reason
            return StepResult.END
        if self._is_full(known_keys):
            self.claims.fail_dead_trials()
            if message := self.claims.waiting_message():
                self.progress.say(message)
            return StepResult.WAIT
        if self._find_known_point(trials, known_keys) is not None:
            return self.claims.under_lock(self._claim_known)
        trial = retry(self.claims.open_trial)
        # Without the lock, because the sampler takes longer than all else.
        retry(lambda: self._sample(trial))
        return self.claims.under_lock(lambda: self._claim_sampled(trial))

    def _is_full(self, known_keys: set[str]) -> bool:
        """Return whether the ended and the claimed configs already number `bounds.trials`."""
        return self.bounds.trials is not None and len(known_keys) >= self.bounds.trials

    def _claim_known(self) -> ClaimedTrial | StepResult:
        """Claim an orphaned config or a start, unless another worker was faster."""
        trials = self.claims.trials()
        ended = find_ended_trials(trials)
        known_keys = ended.keys() | collect_running_keys(trials)
        point = self._find_known_point(trials, known_keys)
        if point is None or self._is_full(known_keys):
            return StepResult.DONE
        # A start is tried once, even if it fails.
        self.starts = [start for start in self.starts if start != point]
        trial = self.claims.ask(point, self.space.free, self.key(point), self._further_keys(point))
        return self._make_claimed(trial, known_keys)

    def _sample(self, trial: optuna.Trial) -> None:
        """Let the sampler choose a trial's config. Fields that it has already stay as they are."""
        with contextlib.suppress(UpdateFinishedTrialError):  # another process thinks it dead
            for name, distribution in self.space.free.items():
                trial._suggest(name, distribution)

    def _claim_sampled(self, trial: optuna.Trial) -> ClaimedTrial | StepResult:
        """Claim the config that the sampler chose, if it is new and there is room for it."""
        trials = self.claims.trials()
        if trials[trial.number].state != TrialState.RUNNING:  # another process thought it dead
            return StepResult.DONE
        others = [other for other in trials if other.number != trial.number]
        ended = find_ended_trials(others)
        known_keys = ended.keys() | collect_running_keys(others)
        if self._is_full(known_keys):
            self.claims.fail(trial, "the search has all its trials")
            return StepResult.DONE
        key = self.key(trial.params)
        if key in known_keys:
            self._close_repeat(trial, key, ended.get(key))
            return StepResult.DONE
        self.claims.claim(trial, key, self._further_keys(trial.params))
        self.repeats = 0
        return self._make_claimed(trial, known_keys)

    def _make_claimed(self, trial: optuna.Trial, known_keys: set[str]) -> ClaimedTrial:
        label = f"[{len(known_keys) + 1}{format_total(self.bounds.trials)}] "
        return ClaimedTrial(trial, label)

    def _find_end_reason(self, ended_count: int) -> str | None:
        """Return why no more trials start, or None if one may."""
        if self.bounds.trials is not None and ended_count >= self.bounds.trials:
            return f"all {self.bounds.trials} trials ended"
        if (
            self.bounds.seconds is not None
            and time.monotonic() - self.started_at >= self.bounds.seconds
        ):
            return "the time is up"
        if self.bounds.until_converged and self.claims.storage.retry_until_available(
            lambda: has_converged(self.claims.study)
        ):
            return f"no improvement in {STAGNATION} trials"
        if self.repeats >= MAX_REPEATS:
            return f"none of {MAX_REPEATS} proposals was new: the space is exhausted"
        return None

    def _find_known_point(
        self, trials: list[FrozenTrial], known_keys: set[str]
    ) -> dict[str, Any] | None:
        """Return the point of an orphaned config, or else the next of the starts, if any."""
        orphaned_points = [dict(trial.params) for trial in list_orphaned_trials(trials)]
        points = orphaned_points + self.starts
        return next((point for point in points if self.key(point) not in known_keys), None)

    def _close_repeat(self, trial: optuna.Trial, key: str, earlier: FrozenTrial | None) -> None:
        """End a trial whose config another trial has finished or is training."""
        self.repeats += 1
        if earlier is None:
            # Without the fingerprint: else the config would no longer count as orphaned if the
            # process that trains it dies.
            self.claims.fail(trial, "the same config is in training")
            return
        trial.set_user_attr("fingerprint", key)
        if earlier.state == TrialState.PRUNED:
            self.claims.prune(trial)
        else:
            run_ids = earlier.user_attrs["run_ids"]
            self.claims.complete(trial, earlier.value or 0.0, run_ids=run_ids)

    def train(self, task: ClaimedTrial, worker: Worker) -> None:
        """Train a config on a worker, and note its outcome in Optuna.

        Raises:
            WorkerLost: the worker or a server went away, and the config can be claimed again.
            TrialFailed: the training failed.
        """
        trial = task.trial
        config = self.space.config(trial.params)
        self.progress.say(f"{task.label}{self.space.describe(config)}")
        try:
            outcomes = run_claimed(
                self.claims,
                trial,
                self.client,
                lambda: self._train_seeds(task, worker),
                worker.cancel,
            )
        except Pruned as error:
            self.claims.prune(trial, pruned=str(error))
            self.progress.say(f"{task.label}  pruned at {error}")
        else:
            self._complete_trial(trial, outcomes)
        self.trained += 1
        self.failures = 0

    def note_failure(self, task: ClaimedTrial, reason: str) -> None:
        """Note that the training of a trial failed."""
        self.last_failure = reason
        self.failures += 1
        self.progress.say(f"{task} failed: {reason}")

    def _complete_trial(self, trial: optuna.Trial, outcomes: list[Outcome]) -> None:
        values = [getattr(outcome, self.metric) for outcome in outcomes]
        run_ids = [outcome.run_id for outcome in outcomes]
        self.claims.complete(trial, sum(values) / len(values), run_ids=run_ids, values=values)

    def _train_seeds(self, task: ClaimedTrial, worker: Worker) -> list[Outcome]:
        """Train a config with one seed after the other, until the pruner ends it."""
        config = self.space.config(task.trial.params)
        watch = pruning.make_watch(task.trial, self.pruner, config.epochs, self.metric)
        options = replace(
            self.options, label=task.label, watch=watch, role="search", hide_test_metrics=True
        )
        outcomes: list[Outcome] = []
        for i in range(self.seeds):
            seed_config: TrialConfig = config.replace(seed=config.seed + i)
            options = replace(options, planned_key=fingerprint(seed_config, self.digest))
            outcome = worker.call("study.trial.train_config:train_config", seed_config, options)
            outcomes.append(outcome)
            if not math.isfinite(getattr(outcome, self.metric)):
                raise TrialFailed(
                    f"run {outcome.run_id} has no {self.metric}: validation lacks a class, or an "
                    "older version trained it"
                )
            # Only epochs of the first seed can be compared with those of other trials.
            options = replace(options, watch=None)
            self._check_seeds([getattr(outcome, self.metric) for outcome in outcomes])
        return outcomes

    def _check_seeds(self, values: list[float]) -> None:
        """Raise Pruned if a config with these values gets no further seed."""
        if len(values) == self.seeds or self.pruner == "none":
            return
        complete_trials = self.claims.storage.retry_until_available(
            lambda: self.claims.trials(TrialState.COMPLETE)
        )
        others = [
            trial.user_attrs["values"]
            for trial in complete_trials
            if len(trial.user_attrs.get("values", ())) == self.seeds
        ]
        reason = pruning.explain_no_further_seed(values, others, minimize=self.metric == "val_loss")
        if reason:
            raise Pruned(reason)


def format_total(total: int | None) -> str:
    """Return a total as `/40`, or an empty text if there is none."""
    return "" if total is None else f"/{total}"
