"""The run above a study's trials: which runs below it a newcomer leaves alone."""

import threading
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from optuna.samplers import RandomSampler

from study.config.fingerprint import fingerprint
from study.config.trial_config import recipe
from study.config.trial_config import TrialConfig
from study.job import Options
from study.job import Outcome
from study.search.claims import Claims
from study.search.grid_plan import plan_variants
from study.search.run_grid import run_grid
from study.search.search_plan import Bounds
from study.search.search_scheduler import ClaimedTrial
from study.search.search_scheduler import SearchScheduler
from study.search.space import make_space
from study.search.storage import Storage
from study.search.study_run import open_study_run
from study.tracking.parent_run import StudySpec
from tests.support.commands import runs_of
from tests.support.training import make_outcome
from tests.support.training import StubTraining

SPEC = StudySpec("demo", "a study", "its title", {})


def open_child(client: MlflowClient, **tags: str) -> str:
    """Open a run below the only parent run, as a trial does; its id."""
    (parent,) = (run for run in runs_of(client) if "study" in run.data.tags)
    marks = {"mlflow.parentRunId": parent.info.run_id, **tags}
    return str(client.create_run(parent.info.experiment_id, tags=marks).info.run_id)


def test_trial_whose_record_waits_elsewhere_is_neither_killed_nor_trained_again(
    client: MlflowClient,
) -> None:
    def train(config: TrialConfig) -> Outcome:  # and leave the run's end in a spool elsewhere
        return make_outcome(0.5, run_id=open_child(client, fingerprint=str(config)))

    first, second = StubTraining(train), StubTraining(train)
    plan = plan_variants(recipe("demo"))
    run_grid(plan, Options(), [first])
    scheduler = run_grid(plan, Options(), [second])
    assert (len(first.asked), len(second.asked)) == (7, 0)
    assert len(scheduler.finished) == 7
    statuses = [run.info.status for run in runs_of(client) if "fingerprint" in run.data.tags]
    assert statuses == ["RUNNING"] * 7


def test_confirming_runs_and_later_seeds_of_a_claim_are_left_alone(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDY_STORAGE", f"sqlite:///{tmp_path}/study.db")
    claims = Claims(Storage("a study"), "maximize")
    claims.study.sampler = RandomSampler(0)
    space = make_space(recipe("demo"))
    search = SearchScheduler(
        claims, space, "val_accuracy", "digest", client, Bounds(trials=2), seeds=2
    )
    search.starts = space.starts()[:1]
    keys: list[str] = []
    for _ in range(2):  # a start, and what the sampler proposes
        claimed = search.claim_next()
        assert isinstance(claimed, ClaimedTrial)
        config = space.config(claimed.trial.params)
        keys += [fingerprint(config.replace(seed=config.seed + i), "digest") for i in range(2)]
    with open_study_run(claims, client, SPEC):
        alive = [open_child(client, fingerprint=key) for key in keys]
        confirming = open_child(client, fingerprint="another", role="confirm")
        dead = open_child(client, fingerprint="of nobody", role="search")
    with open_study_run(claims, client, SPEC):
        statuses = {run.info.run_id: run.info.status for run in runs_of(client)}
    assert [statuses[run_id] for run_id in (*alive, confirming)] == ["RUNNING"] * 5
    assert statuses[dead] == "KILLED"


def test_records_are_delivered_while_others_can_lock_the_study(
    client: MlflowClient, postgres_study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = Claims(Storage(postgres_study), "maximize")
    delivered: list[MlflowClient] = []

    def deliver(client: MlflowClient) -> None:
        other = Claims(Storage(postgres_study), "maximize")
        thread = threading.Thread(target=lambda: other.under_lock(lambda: None))
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
        delivered.append(client)

    for module in ("study.search.study_run", "study.tracking.parent_run"):
        monkeypatch.setattr(f"{module}.flush_spool", deliver)
    with open_study_run(claims, client, SPEC):
        pass
    assert delivered == [client]
