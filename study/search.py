"""The loop of a search: ask Optuna for a config, have it trained or find it finished, tell."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Any

import optuna
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from optuna.trial import create_trial
from optuna.trial import FrozenTrial
from optuna.trial import TrialState

from study import pruning
from study import tracking
from study.config import ConfigError
from study.config import fingerprint
from study.config import parse_value
from study.config import StudyError
from study.launch import Worker
from study.options import Options
from study.options import Outcome
from study.options import Pruned
from study.progress import Progress
from study.samplers import STAGNATION
from study.space import Space

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
MAX_REPEATS = 50  # proposals in a row of what is finished, before the space counts as exhausted
MAX_FAILURES = 5  # in a row, before the search stops


@dataclass(frozen=True)
class Bounds:
    """When a search ends; whichever comes first."""

    trials: int | None = None  # finished or pruned ones in the study, of all calls
    seconds: float | None = None  # of this call; no trial starts later
    converged: Callable[[optuna.Study], bool] = lambda _: False


@dataclass
class Search:
    """One call of the command. The study, the space and the metric must not change within it."""

    study: optuna.Study
    space: Space
    metric: str  # val_accuracy or val_loss
    digest: str  # of the data
    client: MlflowClient
    pruner: str = "median"
    options: Options = field(default_factory=Options)
    progress: Progress = field(default_factory=Progress)
    trained: int = 0  # by this call, pruned ones included
    repeats: int = 0  # in a row
    failures: int = 0  # in a row
    last_failure: str = ""

    def key(self, point: dict[str, Any]) -> str:
        """The fingerprint of the config at a point."""
        return fingerprint(self.space.config(point), self.digest)

    def ended(self) -> dict[str, FrozenTrial]:
        """The first finished or pruned trial of each config, by fingerprint."""
        trials: dict[str, FrozenTrial] = {}
        for trial in self.study.get_trials(deepcopy=False, states=ENDED):
            trials.setdefault(trial.user_attrs["fingerprint"], trial)
        return trials

    def best(self) -> FrozenTrial | None:
        """The best finished trial."""
        complete = [t for t in self.ended().values() if t.state == TrialState.COMPLETE]
        best = min if self.metric == "val_loss" else max
        return best(complete, key=lambda trial: trial.value or 0.0, default=None)

    def import_finished(self) -> int:
        """Tell Optuna of runs in MLflow that belong to the space; how many were new."""
        query = f"tags.finished = 'true' and tags.data_digest = '{self.digest}'"
        known, new = set(self.ended()), 0
        for run in tracking.search(self.client, query):
            key = run.data.tags["fingerprint"]
            if key not in known and (trial := self._as_trial(run)) is not None:
                self.study.add_trial(trial)
                known.add(key)
                new += 1
        return new

    def _as_trial(self, run: Run) -> FrozenTrial | None:
        """The trial that a finished run would have been; None if it is not of this space."""
        try:
            point = {k: parse_value(k, run.data.params[k]) for k in self.space.free}
            if self.key(point) != run.data.tags["fingerprint"]:
                return None  # it differs in what is not searched
            return create_trial(
                value=run.data.metrics[self.metric],
                params=point,
                distributions=self.space.free,
                user_attrs={"run_id": run.info.run_id, "fingerprint": self.key(point)},
                intermediate_values=tracking.curve(self.client, run.info.run_id, self.metric),
            )
        except (ConfigError, KeyError, ValueError):  # a field of another version, or out of range
            return None

    def run(self, worker: Worker, starts: list[dict[str, Any]], bounds: Bounds) -> str:
        """Train the `starts`, then what the sampler proposes, until a bound; says which.

        Raises:
            StudyError: one trial after the other failed.
        """
        begun, waiting = time.monotonic(), list(starts)
        while (end := self._end(bounds, time.monotonic() - begun)) is None:
            ended = self.ended()
            while waiting and self.key(waiting[0]) in ended:
                waiting.pop(0)
            if waiting:  # one at a time, so that a killed call leaves none behind
                self.study.enqueue_trial(waiting.pop(0))
            trial = self.study.ask(self.space.free)
            key = self.key(trial.params)
            trial.set_user_attr("fingerprint", key)
            if not self._told(trial, ended.get(key)):
                self._train(trial, f"[{len(ended) + 1}{of(bounds.trials)}] ", worker)
        return end

    def _end(self, bounds: Bounds, seconds: float) -> str | None:
        """Why the search ends here; None if it goes on."""
        if self.failures >= MAX_FAILURES:
            raise StudyError(
                f"{self.failures} trials failed in a row, the last one: {self.last_failure}\n"
                "Mend the cause and repeat the command, or narrow the search with --fix."
            )
        if bounds.trials is not None and len(self.ended()) >= bounds.trials:
            return f"all {bounds.trials} trials ended"
        if bounds.seconds is not None and seconds >= bounds.seconds:
            return "the time is up"
        if bounds.converged(self.study):
            return f"no better one for {STAGNATION} trials"
        if self.repeats >= MAX_REPEATS:
            return f"nothing new among {MAX_REPEATS} proposals: the space is exhausted"
        return None

    def _told(self, trial: optuna.Trial, before: FrozenTrial | None) -> bool:
        """Whether the config needs no training; then its result is Optuna's already."""
        key = trial.user_attrs["fingerprint"]
        if before is not None:
            trial.set_user_attr("run_id", before.user_attrs.get("run_id"))
            value = before.value if before.state == TrialState.COMPLETE else None
            self.study.tell(trial, value, state=before.state)
        elif (run := tracking.find_finished(self.client, key)) is not None:
            trial.set_user_attr("run_id", run.info.run_id)
            self.study.tell(trial, run.data.metrics[self.metric])
        else:
            return False
        self.repeats += 1
        return True

    def _train(self, trial: optuna.Trial, label: str, worker: Worker) -> None:
        config = self.space.config(trial.params)
        self.progress.say(f"{label}{self.space.described(config)}")
        watch = pruning.watch(trial, self.pruner, config.epochs, self.metric)
        options = replace(self.options, label=label, watch=watch, role="search", blind=True)
        self.repeats = 0
        try:
            outcome: Outcome = worker.call("study.train:train", config, options)
        except Pruned as error:
            self.study.tell(trial, state=TrialState.PRUNED)
            self.progress.say(f"{label}  pruned at {error}")
        except Exception as error:  # one config that fails does not end the search
            self._fail(trial, label, error)
            return
        else:
            trial.set_user_attr("run_id", outcome.run_id)
            self.study.tell(trial, getattr(outcome, self.metric))
        self.trained += 1
        self.failures = 0

    def _fail(self, trial: optuna.Trial, label: str, error: Exception) -> None:
        reason = (str(error).splitlines() or [""])[0]
        known = isinstance(error, StudyError)
        self.last_failure = reason if known else f"{type(error).__name__}: {reason}"
        self.failures += 1
        self.study.tell(trial, state=TrialState.FAIL)
        self.progress.say(f"{label}  failed: {self.last_failure}")


def of(total: int | None) -> str:
    """`/40`, or nothing if there is no total."""
    return "" if total is None else f"/{total}"
