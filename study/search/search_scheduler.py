"""The loop of a search: ask Optuna for a config, have it trained or find it finished, tell."""

import math
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

from study.common.errors import ConfigError
from study.common.errors import Failed
from study.common.errors import Lost
from study.common.errors import Pruned
from study.common.errors import StudyError
from study.common.progress import Progress
from study.config import fingerprint
from study.config import parse_value
from study.config import TrialConfig
from study.job import Options
from study.job import Outcome
from study.search import pruning
from study.search.claims import Claims
from study.search.retry import attempt
from study.search.samplers import STAGNATION
from study.search.space import Space
from study.tracking import queries
from study.workers.pool import Step
from study.workers.pool import Worker

MAX_REPEATS = 50  # proposals in a row of what is known, before the space counts as exhausted
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

    claims: Claims
    space: Space
    metric: str  # val_accuracy, val_auc or val_loss
    digest: str  # of the data
    client: MlflowClient
    bounds: Bounds
    pruner: str = "median"
    seeds: int = 1  # that a config is trained with, if it earns them
    options: Options = field(default_factory=Options)
    progress: Progress = field(default_factory=Progress)
    starts: list[dict[str, Any]] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)  # of which the bound in seconds counts
    trained: int = 0  # by this call, pruned ones included
    repeats: int = 0  # in a row
    failures: int = 0  # in a row
    last_failure: str = ""
    end: str = ""  # why the search ended

    def key(self, point: dict[str, Any]) -> str:
        """The fingerprint of the config at a point, with its first seed."""
        return fingerprint(self.space.config(point), self.digest)

    def best(self) -> FrozenTrial | None:
        """The best finished trial."""
        complete = [t for t in self.claims.ended().values() if t.state == TrialState.COMPLETE]
        best = min if self.metric == "val_loss" else max
        return best(complete, key=lambda trial: trial.value or 0.0, default=None)

    def import_finished(self) -> int:
        """Tell Optuna of runs in MLflow that belong to the space; how many were new."""
        if self.seeds > 1:
            return 0  # a trial of several seeds finds its finished runs one by one
        query = f"tags.finished = 'true' and tags.data_digest = '{self.digest}'"
        runs = queries.search(self.client, query)
        known = self.claims.ended()
        trials = [self._as_trial(run) for run in runs if run.data.tags["fingerprint"] not in known]
        new = {t.user_attrs["fingerprint"]: t for t in reversed(trials) if t is not None}
        self.claims.in_turn(lambda: self._add(new))
        return len(new)

    def _add(self, trials: dict[str, FrozenTrial]) -> None:
        for key in trials.keys() - self.claims.ended().keys():
            self.claims.study.add_trial(trials[key])

    def _as_trial(self, run: Run) -> FrozenTrial | None:
        """The trial that a finished run would have been; None if it is not of this space."""
        known = self.space.base.as_dict() | run.data.params  # a field may be younger than the run
        try:
            point = {k: parse_value(k, str(known[k])) for k in self.space.free}
            if self.key(point) != run.data.tags["fingerprint"]:
                return None  # it differs in what is not searched
            return create_trial(
                value=run.data.metrics[self.metric],
                params=point,
                distributions=self.space.free,
                user_attrs={"run_ids": [run.info.run_id], "fingerprint": self.key(point),
                            "values": [run.data.metrics[self.metric]]},
                intermediate_values=queries.curve(self.client, run.info.run_id, self.metric),
            )  # fmt: skip
        except (ConfigError, KeyError, ValueError):  # out of range, or without this metric
            return None

    def step(self, worker: Worker) -> Step:
        """Have the next config trained: a lost one, a start, or what the sampler proposes.

        Raises:
            StudyError: one trial after the other failed.
        """
        if self.failures >= MAX_FAILURES:
            raise StudyError(
                f"{self.failures} trials failed in a row, the last one: {self.last_failure}\n"
                "Mend the cause and repeat the command, or narrow the search with --fix."
            )
        chosen: Step | tuple[optuna.Trial, str] = self.claims.in_turn(self._choose)
        if isinstance(chosen, Step):
            if chosen is Step.WAIT and (awaited := self.claims.awaited()) is not None:
                self.progress.say(awaited)
            return chosen
        self._train(*chosen, worker)
        return Step.DONE

    def _choose(self) -> Step | tuple[optuna.Trial, str]:
        while True:
            trials = self.claims.trials()
            ended, taken = self.claims.ended(trials), self.claims.taken(trials)
            if end := self._over(len(ended)):
                self.end = end
                return Step.END
            if self.bounds.trials is not None and len(ended) + len(taken) >= self.bounds.trials:
                return Step.WAIT
            self._enqueue(self.claims.lost(trials), ended.keys() | taken)
            trial = self.claims.study.ask(self.space.free)
            key = self.key(trial.params)
            if key not in ended and key not in taken:
                self.claims.claim(trial, key)
                self.repeats = 0
                return trial, f"[{len(ended) + len(taken) + 1}{of(self.bounds.trials)}] "
            self._repeat(trial, key, ended.get(key))

    def _over(self, ended: int) -> str | None:
        """Why no trial starts any more; None if one may."""
        if self.bounds.trials is not None and ended >= self.bounds.trials:
            return f"all {self.bounds.trials} trials ended"
        if self.bounds.seconds is not None and time.monotonic() - self.since >= self.bounds.seconds:
            return "the time is up"
        if self.bounds.converged(self.claims.study):
            return f"no better one for {STAGNATION} trials"
        if self.repeats >= MAX_REPEATS:
            return f"nothing new among {MAX_REPEATS} proposals: the space is exhausted"
        return None

    def _enqueue(self, lost: list[FrozenTrial], known: set[str]) -> None:
        """Have Optuna ask for what a dead process left, else for the next of the starts."""
        points = [dict(trial.params) for trial in lost]
        for point in points:
            if self.key(point) not in known:
                self.claims.study.enqueue_trial(point)
                return
        while self.starts and self.key(self.starts[0]) in known:
            self.starts.pop(0)
        if self.starts:  # one at a time, so that a killed call leaves none behind
            self.claims.study.enqueue_trial(self.starts.pop(0))

    def _repeat(self, trial: optuna.Trial, key: str, before: FrozenTrial | None) -> None:
        """Tell of a proposal that needs no training, or is in training."""
        self.repeats += 1
        trial.set_user_attr("fingerprint", key)
        if before is None:
            self.claims.fail(trial, "the same config is in training")
        elif before.state == TrialState.PRUNED:
            self.claims.prune(trial)
        else:
            self.claims.complete(trial, before.value or 0.0, run_ids=before.user_attrs["run_ids"])

    def _train(self, trial: optuna.Trial, label: str, worker: Worker) -> None:
        self.progress.say(f"{label}{self.space.described(self.space.config(trial.params))}")
        try:
            outcomes = attempt(
                self.claims, trial, self.client, lambda: self._seeds(trial, label, worker)
            )
        except Pruned as error:
            self.claims.prune(trial, pruned=str(error))
            self.progress.say(f"{label}  pruned at {error}")
        except Lost as error:
            self.progress.say(f"{label}  {error}; it will be taken up again")
            return
        except Failed as error:
            self.last_failure = str(error)
            self.failures += 1
            self.progress.say(f"{label}  failed: {error}")
            return
        else:
            self._finish(trial, outcomes)
        self.trained += 1
        self.failures = 0

    def _finish(self, trial: optuna.Trial, outcomes: list[Outcome]) -> None:
        values = [getattr(outcome, self.metric) for outcome in outcomes]
        runs, mean = [outcome.run_id for outcome in outcomes], sum(values) / len(values)
        self.claims.complete(trial, mean, run_ids=runs, values=values)

    def _seeds(self, trial: optuna.Trial, label: str, worker: Worker) -> list[Outcome]:
        """Train a config with one seed after the other, as long as it earns the next."""
        config = self.space.config(trial.params)
        watch = pruning.watch(trial, self.pruner, config.epochs, self.metric)
        options = replace(self.options, label=label, watch=watch, role="search", blind=True)
        outcomes: list[Outcome] = []
        for i in range(self.seeds):
            again: TrialConfig = config.replace(seed=config.seed + i)
            outcomes.append(worker.call("study.train:train", again, options))
            if not math.isfinite(getattr(outcomes[-1], self.metric)):
                run = outcomes[-1].run_id
                raise StudyError(f"run {run} has no {self.metric}: does validation lack a class?")
            options = replace(options, watch=None)  # only the first seed's epochs compare
            self._judge_seeds([getattr(o, self.metric) for o in outcomes])
        return outcomes

    def _judge_seeds(self, values: list[float]) -> None:
        if len(values) == self.seeds or self.pruner == "none":
            return
        others = [t.user_attrs["values"] for t in self.claims.trials(TrialState.COMPLETE)
                  if len(t.user_attrs.get("values", ())) == self.seeds]  # fmt: skip
        reason = pruning.not_worth_another_seed(values, others, minimize=self.metric == "val_loss")
        if reason:
            raise Pruned(reason)


def of(total: int | None) -> str:
    """`/40`, or nothing if there is no total."""
    return "" if total is None else f"/{total}"
