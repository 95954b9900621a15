"""Claims of a search's workers: the sampler chooses configs while others claim theirs."""

import itertools
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from mlflow.tracking import MlflowClient
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from study.config.trial_config import recipe
from study.search.claims import Claims
from study.search.confirm import Confirmation
from study.search.import_finished import import_finished
from study.search.search_plan import Bounds
from study.search.search_scheduler import ClaimedTrial
from study.search.search_scheduler import SearchScheduler
from study.search.search_summary import summarize_search
from study.search.space import make_space
from study.search.storage import Storage
from study.search.trial_states import collect_running_keys
from study.workers.pool import StepResult
from tests.support.claim_tasks import age_heartbeat

SPACE = make_space(recipe("demo"))


class SlowSampler(RandomSampler):
    """Begins to sample, and goes on when `go_on` is set."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def sample_independent(self, *args: Any) -> Any:
        self.begun.set()
        assert self.go_on.wait(60)
        return super().sample_independent(*args)


def join(name: str, sampler: optuna.samplers.BaseSampler, trials: int = 9) -> SearchScheduler:
    """One more process at work on a study, without starts."""
    claims = Claims(Storage(name), "maximize")
    claims.study.sampler = sampler
    client = MlflowClient("http://localhost")  # never called, because no trial fails
    return SearchScheduler(claims, SPACE, "val_accuracy", "0" * 64, client, Bounds(trials=trials))


def claim_in_thread(
    search: SearchScheduler,
) -> tuple[threading.Thread, list[ClaimedTrial | StepResult]]:
    claimed: list[ClaimedTrial | StepResult] = []
    thread = threading.Thread(target=lambda: claimed.append(search.claim_next()))
    thread.start()
    return thread, claimed


def test_others_claim_while_a_sampler_chooses(postgres_study: str) -> None:
    slow = SlowSampler(0)
    first = join(postgres_study, slow)
    thread, claimed = claim_in_thread(first)
    assert slow.begun.wait(60)
    second = join(postgres_study, RandomSampler(1)).claim_next()
    assert isinstance(second, ClaimedTrial)
    assert not claimed
    slow.go_on.set()
    thread.join()
    (earlier,) = claimed
    assert isinstance(earlier, ClaimedTrial)
    assert earlier.trial.number < second.trial.number
    assert len(collect_running_keys(first.claims.trials())) == 2


def test_sampler_that_is_too_late_claims_no_trial_beyond_the_last(postgres_study: str) -> None:
    slow = SlowSampler(0)
    first = join(postgres_study, slow, trials=1)
    thread, claimed = claim_in_thread(first)
    assert slow.begun.wait(60)
    assert isinstance(join(postgres_study, RandomSampler(1), trials=1).claim_next(), ClaimedTrial)
    slow.go_on.set()
    thread.join()
    assert claimed == [StepResult.DONE]
    assert first.claim_next() is StepResult.WAIT
    parent = SimpleNamespace(info=SimpleNamespace(experiment_id="0", run_id="a"))
    figures, _ = summarize_search(first, Confirmation(), [], parent)  # type: ignore[arg-type]
    assert ["failed", 0.0] in [[name, value] for name, value, *_ in figures.body["metrics"]]


def test_claim_of_a_dead_process_is_taken_over_by_a_waiting_worker(
    postgres_study: str,
) -> None:
    dead = join(postgres_study, RandomSampler(0), trials=1).claim_next()
    assert isinstance(dead, ClaimedTrial)
    waiting = join(postgres_study, RandomSampler(1), trials=1)
    waiting.claims.storage.answering_since -= 3600
    assert waiting.claim_next() is StepResult.WAIT
    age_heartbeat(waiting.claims, dead.trial)
    assert waiting.claim_next() is StepResult.WAIT
    again = waiting.claim_next()
    assert isinstance(again, ClaimedTrial)
    assert again.trial.params == dead.trial.params


def test_config_that_two_samplers_choose_is_claimed_once(postgres_study: str) -> None:
    slow = SlowSampler(0)
    first = join(postgres_study, slow)
    thread, claimed = claim_in_thread(first)
    assert slow.begun.wait(60)
    assert isinstance(join(postgres_study, RandomSampler(0)).claim_next(), ClaimedTrial)
    slow.go_on.set()
    thread.join()
    assert claimed == [StepResult.DONE]
    assert first.repeats == 1
    states = [trial.state for trial in first.claims.trials()]
    assert states == [TrialState.FAIL, TrialState.RUNNING]
    assert isinstance(first.claim_next(), ClaimedTrial)


def test_config_that_was_proposed_twice_is_tried_again_when_its_process_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDY_STORAGE", f"sqlite:///{tmp_path}/study.db")
    search = join("a study", RandomSampler(0))
    claimed = search.claim_next()
    assert isinstance(claimed, ClaimedTrial)
    search.claims.study.sampler = RandomSampler(0)
    assert search.claim_next() is StepResult.DONE  # the same proposal once more
    assert search.repeats == 1
    search.claims.release(claimed.trial)
    again = search.claim_next()
    assert isinstance(again, ClaimedTrial)
    assert again.trial.params == claimed.trial.params


def test_trial_thought_dead_while_its_sampler_chose_is_not_claimed(
    postgres_study: str,
) -> None:
    slow = SlowSampler(0)
    first = join(postgres_study, slow)
    thread, claimed = claim_in_thread(first)
    assert slow.begun.wait(60)
    first.claims.study.tell(0, state=TrialState.FAIL)  # by another process
    slow.go_on.set()
    thread.join()
    assert claimed == [StepResult.DONE]
    assert collect_running_keys(first.claims.trials()) == set()


def test_storage_that_fails_every_other_read_ends_no_search(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDY_STORAGE", f"sqlite:///{tmp_path}/study.db")
    monkeypatch.setattr("study.common.backoff.stopping.wait", lambda _: False)
    read, count = optuna.Study.get_trials, itertools.count()

    def read_every_other_time(study: optuna.Study, *args: Any, **named: Any) -> Any:
        if next(count) % 2 == 0:
            raise optuna.exceptions.StorageInternalError("database is locked")
        return read(study, *args, **named)

    left = join("a study", RandomSampler(0)).claim_next()  # by a process that was killed
    assert isinstance(left, ClaimedTrial)
    monkeypatch.setattr(optuna.Study, "get_trials", read_every_other_time)
    search = join("a study", RandomSampler(0))
    search.client = client
    search.bounds = Bounds(until_converged=True)
    assert import_finished(search) == 0
    again = search.claim_next()
    assert isinstance(again, ClaimedTrial)
    assert again.trial.params == left.trial.params
