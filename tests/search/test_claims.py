"""Claims on a real PostgreSQL, by real processes, and on SQLite."""

import threading
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow.tracking import MlflowClient
from optuna.trial import TrialState
from sqlalchemy import event

from study.common.errors import ConfigError
from study.common.errors import StudyError
from study.common.errors import TrackingError
from study.common.errors import WorkerDied
from study.common.errors import WorkerLost
from study.common.settings import heartbeat_seconds
from study.search.claimed_run import run_claimed
from study.search.claims import Claims
from study.search.claims import MAX_DEATHS
from study.search.storage import Storage
from study.search.trial_states import collect_running_keys
from study.search.trial_states import find_ended_trials
from study.search.trial_states import list_orphaned_trials
from tests.support.claim_tasks import ask
from tests.support.claim_tasks import claim_many
from tests.support.claim_tasks import claims_of
from tests.support.claim_tasks import orphaned_fingerprints
from tests.support.claim_tasks import SPACE
from tests.support.claim_tasks import state
from tests.support.claim_tasks import take_empty_turn
from tests.support.data_tasks import run_in_processes
from tests.support.servers import Postgres


@pytest.fixture(params=["claims_on_postgresql", "claims_on_sqlite"])
def claims(request: pytest.FixtureRequest) -> Claims:
    found: Claims = request.getfixturevalue(request.param)
    return found


def test_config_is_claimed_by_one_process_alone(
    claims_on_postgresql: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDY_HEARTBEAT", "60")  # they claim, and give no sign of life
    answers = run_in_processes(claim_many, 3, claims_on_postgresql.storage.name, 14, 20)
    assert sorted(number for got in answers for number in got) == list(range(20))
    assert sum(bool(got) for got in answers) > 1
    assert len(claims_on_postgresql.study.trials) == 20
    assert collect_running_keys(claims_on_postgresql.trials()) == {
        f"key {number}" for number in range(0, 20, 2)
    }


def test_finished_trials_are_not_read_again_under_the_lock(claims_on_postgresql: Claims) -> None:
    for number in range(10):
        claims_on_postgresql.complete(ask(claims_on_postgresql, f"key {number}"), 0.5)
    newcomer = claims_of(claims_on_postgresql.storage.name)
    rows: list[int] = []

    def count(_: object, cursor: Any, *__: object) -> None:
        rows.append(cursor.rowcount)

    event.listen(newcomer.storage.rdb.engine, "after_cursor_execute", count)
    assert len(find_ended_trials(newcomer.under_lock(newcomer.trials))) == 10
    assert max(rows) == 1  # the lock's


def test_trial_without_a_claim_is_failed_and_not_orphaned(claims_on_postgresql: Claims) -> None:
    left = claims_on_postgresql.study.ask(SPACE)  # and was killed before the claim
    take_empty_turn(claims_on_postgresql)
    assert state(claims_on_postgresql, left) == TrialState.FAIL
    assert list_orphaned_trials(claims_on_postgresql.trials()) == []
    trial = ask(claims_on_postgresql)
    assert claims_on_postgresql.mark_orphaned(trial, 0, "killed")


@pytest.mark.parametrize("progress", [False, True])
def test_config_dying_again_and_again_at_one_epoch_is_given_up(
    claims: Claims, progress: bool
) -> None:
    for death in range(MAX_DEATHS):
        again = claims.mark_orphaned(ask(claims), 2 + death * progress, "killed")
        last = death == MAX_DEATHS - 1 and not progress
        assert again is not last
        assert orphaned_fingerprints(claims) == ([] if last else ["a key"])
    assert collect_running_keys(claims.trials()) == set()


def test_failed_trial_is_not_orphaned(claims: Claims) -> None:
    claims.fail(ask(claims), "no memory")
    assert list_orphaned_trials(claims.trials()) == []
    assert find_ended_trials(claims.trials()) == {}
    assert claims.study.trials[0].user_attrs["reason"] == "no memory"


def test_interrupted_trial_is_orphaned_at_once(claims: Claims) -> None:
    trial = ask(claims)
    with pytest.raises(KeyboardInterrupt), claims.alive(trial):
        raise KeyboardInterrupt
    assert orphaned_fingerprints(claims) == ["a key"]
    assert collect_running_keys(claims.trials()) == set()


def test_result_of_a_trial_declared_dead_is_dropped(claims: Claims) -> None:
    trial = ask(claims)
    claims.study.tell(trial.number, state=TrialState.FAIL)  # by another process
    second = ask(claims)
    claims.complete(trial, 0.5, run_id="too late")
    claims.prune(trial)
    claims.fail(trial, "too late")
    assert claims.study.trials[trial.number].user_attrs == {"fingerprint": "a key"}
    assert [state(claims, each) for each in (trial, second)] == [
        TrialState.FAIL,
        TrialState.RUNNING,
    ]
    claims.complete(second, 0.25)
    assert find_ended_trials(claims.trials())["a key"].value == 0.25


def test_training_whose_claim_is_lost_is_cancelled(claims_on_postgresql: Claims) -> None:
    trial = ask(claims_on_postgresql)
    cancelled = threading.Event()

    def train() -> None:
        claims_on_postgresql.study.tell(trial.number, state=TrialState.FAIL)  # by another process
        assert cancelled.wait(60)
        raise WorkerDied("its process was told to stop")

    client = MlflowClient("http://localhost")  # never called
    with pytest.raises(
        WorkerLost, match=r"^its claim was lost, as it gave no sign of life for 4 s"
    ):
        run_claimed(claims_on_postgresql, trial, client, train, cancelled.set)
    assert claims_on_postgresql.study.trials[trial.number].user_attrs == {"fingerprint": "a key"}


def test_wait_for_mlflow_after_a_death_is_announced(
    claims_on_sqlite: Claims,
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers = iter([TrackingError("no MLflow at x: refused\nStart it."), client, client])

    def connect() -> MlflowClient:
        answer = next(answers)
        if isinstance(answer, TrackingError):
            raise answer
        return answer

    def die() -> None:
        raise WorkerDied("killed")

    monkeypatch.setattr("study.tracking.connection.connect", connect)
    for _ in range(2):  # only the first time it does not answer
        with pytest.raises(WorkerLost, match="killed"):
            run_claimed(claims_on_sqlite, ask(claims_on_sqlite), client, die, die)
    expected = "no MLflow at x: refused; waiting for it, for 30 minutes at most\n"
    assert capsys.readouterr().err == expected


def test_enqueued_trial_of_a_dead_process_is_failed(claims: Claims) -> None:
    claims.study.enqueue_trial({"number": 3})
    trial = claims.under_lock(lambda: claims.ask({"number": 2}, SPACE, "a key"))
    assert trial.params == {"number": 2}
    assert [each.state for each in claims.study.trials] == [TrialState.FAIL, TrialState.RUNNING]


def test_sqlite_trial_of_a_dead_process_is_orphaned_at_once(claims_on_sqlite: Claims) -> None:
    trial = ask(claims_on_sqlite)
    without_claim = claims_on_sqlite.study.ask(SPACE)
    again = claims_of(claims_on_sqlite.storage.name)
    assert state(again, trial) == state(again, without_claim) == TrialState.FAIL
    assert orphaned_fingerprints(again) == ["a key"]


def test_sqlite_study_is_held_by_one_process(claims_on_sqlite: Claims) -> None:
    with claims_on_sqlite.storage.lock_for_process():
        second = Storage(claims_on_sqlite.storage.name)
        with pytest.raises(StudyError, match=r"^another process runs alone: .*STUDY_STORAGE"):
            second.lock_for_process().__enter__()
        with Storage("another study").lock_for_process():
            pass
    with second.lock_for_process():
        pass


def test_sqlite_study_is_held_for_the_users_of_its_database_alone(
    claims_on_sqlite: Claims, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "study.db")
    with claims_on_sqlite.storage.lock_for_process():
        monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "another"))
        for name in ("study.db", "link.db"):
            monkeypatch.setenv("STUDY_STORAGE", f"sqlite:///{tmp_path}/{name}")
            with pytest.raises(StudyError, match="another process runs alone"):
                Storage("alone").lock_for_process().__enter__()
        monkeypatch.setenv("STUDY_STORAGE", f"sqlite:///{tmp_path}/of-another-project.db")
        with Storage("alone").lock_for_process():
            pass


def test_sqlite_study_that_cannot_be_locked_names_the_database(
    claims_on_sqlite: Claims, tmp_path: Path
) -> None:
    held = claims_on_sqlite.storage
    with held.lock_for_process():
        (lock,) = tmp_path.glob("study.db.*.lock")
    lock.unlink(missing_ok=True)
    lock.mkdir()
    with pytest.raises(
        StudyError, match=rf"cannot use the database {tmp_path}/study\.db: "
    ) as error:
        held.lock_for_process().__enter__()
    assert str(error.value).count("\n") == 1


def test_postgresql_study_is_held_by_many_processes(claims_on_postgresql: Claims) -> None:
    with (
        claims_on_postgresql.storage.lock_for_process(),
        Storage(claims_on_postgresql.storage.name).lock_for_process(),
    ):
        pass


def test_turn_under_the_lock_survives_a_restart_of_postgresql(
    claims_on_postgresql: Claims, postgres: Postgres
) -> None:
    trial = ask(claims_on_postgresql)
    restart = threading.Thread(target=postgres.start)
    turns = 0

    def turn() -> optuna.Trial:
        nonlocal turns
        turns += 1
        if turns == 1:
            postgres.stop()
            restart.start()
        return claims_on_postgresql.ask({"number": 2}, SPACE, "a second key")

    claims_on_postgresql.under_lock(turn)
    restart.join()
    assert turns > 1
    assert collect_running_keys(claims_on_postgresql.trials()) == {"a key", "a second key"}
    claims_on_postgresql.complete(trial, 0.5)
    assert find_ended_trials(claims_on_postgresql.trials()).keys() == {"a key"}


def test_missing_trials_are_added_once_and_in_slices(
    claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.search.claims.SLICE", 2)
    claims.complete(ask(claims, "key 3"), 0.25)
    locks: list[object] = []
    lock = claims.storage.under_lock
    monkeypatch.setattr(claims.storage, "under_lock", lambda act: (locks.append(act), lock(act)))
    trials = {
        f"key {number}": optuna.create_trial(value=0.5, user_attrs={"fingerprint": f"key {number}"})
        for number in range(5)
    }
    claims.add_missing(trials)
    found = find_ended_trials(claims.trials())
    assert {key: trial.value for key, trial in found.items()} == {
        key: 0.25 if key == "key 3" else 0.5 for key in trials
    }
    assert len(claims.trials()) == 5
    assert len(locks) == 3


def test_storage_that_stays_away_is_an_error_of_two_lines(claims_on_sqlite: Claims) -> None:
    def fail() -> None:
        raise optuna.exceptions.StorageInternalError("gone")

    with pytest.raises(StudyError, match="no Optuna storage at sqlite:") as caught:
        claims_on_sqlite.storage.retry_until_available(fail, 0.0)
    assert str(caught.value).count("\n") == 1


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "soon"])
def test_bad_heartbeat_setting_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("STUDY_HEARTBEAT", text)
    with pytest.raises(ConfigError, match=f"STUDY_HEARTBEAT='{text}' is out of range") as caught:
        heartbeat_seconds()
    assert "\n" not in str(caught.value)
