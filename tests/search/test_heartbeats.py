"""Signs of life of trials, by real processes on a real PostgreSQL."""

import functools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from study.common.backoff import stopping
from study.search.claims import Claims
from study.search.optuna_database import BEATS_UNTIL_DEAD
from study.search.trial_states import collect_running_keys
from study.search.trial_states import find_ended_trials
from study.search.trial_states import list_orphaned_trials
from tests.support.claim_tasks import age_heartbeat
from tests.support.claim_tasks import ask
from tests.support.claim_tasks import claims_of
from tests.support.claim_tasks import orphaned_fingerprints
from tests.support.claim_tasks import state
from tests.support.claim_tasks import take_empty_turn
from tests.support.commands import start
from tests.support.commands import wait_until
from tests.support.servers import Postgres

GRACE = BEATS_UNTIL_DEAD * 1.0  # s, with a heartbeat each second


def test_trial_of_a_killed_process_is_orphaned_and_others_are_not(
    claims_on_postgresql: Claims, tmp_path: Path, postgres: Postgres
) -> None:
    settings = postgres.settings | {"STUDY_HEARTBEAT": "1"}
    living = ask(claims_on_postgresql, "living")
    with claims_on_postgresql.alive(living):
        process = start(
            "tests.support.claim_tasks",
            claims_on_postgresql.storage.name,
            "dying",
            cwd=tmp_path,
            **settings,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n", process.communicate()
        claimed = time.monotonic()
        wait_until(lambda: time.monotonic() - claimed > GRACE + 1)  # both have lived for longer
        take_empty_turn(claims_on_postgresql)
        assert collect_running_keys(claims_on_postgresql.trials()) == {"living", "dying"}
        process.kill()
        process.communicate()

        def is_lost() -> bool:
            take_empty_turn(claims_on_postgresql)
            return orphaned_fingerprints(claims_on_postgresql) == ["dying"]

        wait_until(is_lost, seconds=60)
        assert collect_running_keys(claims_on_postgresql.trials()) == {"living"}
        again = ask(claims_on_postgresql, "dying")
        assert list_orphaned_trials(claims_on_postgresql.trials()) == []
        claims_on_postgresql.complete(again, 0.5)
    claims_on_postgresql.complete(living, 0.5)
    assert find_ended_trials(claims_on_postgresql.trials()).keys() == {"living", "dying"}


def test_silent_trial_is_orphaned_only_after_the_storage_answers(
    claims_on_postgresql: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = ask(claims_on_postgresql)
    age_heartbeat(claims_on_postgresql, trial)
    claims_on_postgresql.storage.answering_since = time.monotonic()
    assert_failed_after_grace_period(claims_on_postgresql, trial, monkeypatch)


def test_trial_is_alive_while_its_config_is_chosen(claims_on_postgresql: Claims) -> None:
    claims = claims_on_postgresql
    trial = claims.open_trial()
    claims.storage.answering_since -= 3600
    take_empty_turn(claims)
    assert state(claims, trial) == TrialState.RUNNING
    assert collect_running_keys(claims.trials()) == set()
    age_heartbeat(claims, trial)  # its process was killed
    take_empty_turn(claims)
    assert state(claims, trial) == TrialState.FAIL
    assert list_orphaned_trials(claims.trials()) == []


def test_trial_left_before_its_first_heartbeat_is_failed_after_the_grace_period(
    claims_on_postgresql: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = claims_on_postgresql
    with monkeypatch.context() as patch:
        patch.setattr(claims.storage.rdb, "record_heartbeat", lambda _: None)  # killed before it
        trial = claims.open_trial()
    take_empty_turn(claims)
    assert_failed_after_grace_period(claims, trial, monkeypatch)
    assert list_orphaned_trials(claims.trials()) == []


def assert_failed_after_grace_period(
    claims: Claims, trial: optuna.Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial runs until a second before the end of the grace period, and has failed after it."""
    set_clocks_ahead(monkeypatch, GRACE - 1)
    take_empty_turn(claims)
    assert state(claims, trial) == TrialState.RUNNING
    set_clocks_ahead(monkeypatch, 2)
    take_empty_turn(claims)
    assert state(claims, trial) == TrialState.FAIL


def set_clocks_ahead(monkeypatch: pytest.MonkeyPatch, seconds: float, *names: str) -> None:
    for name in names or ("monotonic", "time"):
        real: Callable[[], float] = getattr(time, name)
        monkeypatch.setattr(time, name, functools.partial(add, real, seconds))


def add(clock: Callable[[], float], seconds: float) -> float:
    return clock() + seconds


def test_trial_is_not_thought_dead_by_a_machine_that_has_just_slept(
    claims_on_postgresql: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = ask(claims_on_postgresql)
    age_heartbeat(claims_on_postgresql, trial)
    claims_on_postgresql.storage.answering_since -= 3600
    set_clocks_ahead(monkeypatch, GRACE + 1, "time")
    take_empty_turn(claims_on_postgresql)
    assert state(claims_on_postgresql, trial) == TrialState.RUNNING
    set_clocks_ahead(monkeypatch, GRACE + 1)  # awake for so long
    take_empty_turn(claims_on_postgresql)
    assert state(claims_on_postgresql, trial) == TrialState.FAIL


def test_trial_is_not_thought_dead_after_the_storage_has_frozen(
    claims_on_postgresql: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = ask(claims_on_postgresql)
    age_heartbeat(claims_on_postgresql, trial)
    claims_on_postgresql.storage.answering_since -= 3600
    read = optuna.Study.get_trials

    def read_slowly(study: optuna.Study, *args: Any, **named: Any) -> Any:
        time.sleep(1.1)  # longer than a heartbeat
        return read(study, *args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "get_trials", read_slowly)
        take_empty_turn(claims_on_postgresql)
    assert state(claims_on_postgresql, trial) == TrialState.RUNNING


def test_trial_of_a_client_in_another_time_zone_is_alive(
    claims_on_postgresql: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("PGTZ", "America/New_York")  # behind, so that its heartbeats would look old
        trial = ask(claims_of(claims_on_postgresql.storage.name))
    claims_on_postgresql.storage.answering_since -= 3600
    take_empty_turn(claims_on_postgresql)
    assert state(claims_on_postgresql, trial) == TrialState.RUNNING


def test_claim_that_its_own_process_ends_is_not_lost(claims_on_postgresql: Claims) -> None:
    trial = ask(claims_on_postgresql)
    lost = threading.Event()
    with claims_on_postgresql.alive(trial, lost.set):
        claims_on_postgresql.fail(trial, "no memory")
        assert not lost.wait(2.5)  # heartbeats


def test_heartbeats_end_quietly_when_the_command_stops_in_an_outage(
    claims_on_postgresql: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", problems.append)
    begun = threading.Event()

    def fail(_: int) -> None:
        begun.set()
        raise optuna.exceptions.StorageInternalError("gone")

    trial = ask(claims_on_postgresql)
    monkeypatch.setattr(claims_on_postgresql.storage.rdb, "record_heartbeat", fail)
    before = set(threading.enumerate())
    with claims_on_postgresql.alive(trial):
        (thread,) = set(threading.enumerate()) - before
        assert begun.wait(60)
        stopping.set()
        thread.join(60)
        stopping.clear()
    assert not thread.is_alive()
    assert problems == []
