"""What tests and other processes do with the claims of a study; apart, to start fast.

Run as a module, it claims a config and gives signs of life until it is killed.
"""

import sys
import time
from typing import Any

import optuna
from optuna.distributions import IntDistribution
from optuna.trial import TrialState

from study.search.claims import Claims
from study.search.storage import Storage
from study.search.trial_states import collect_running_keys
from study.search.trial_states import find_ended_trials
from study.search.trial_states import list_orphaned_trials

SPACE = {"number": IntDistribution(0, 999)}


def claims_of(name: str) -> Claims:
    return Claims(Storage(name), "maximize")


def ask(claims: Claims, key: str = "a key") -> optuna.Trial:
    return claims.under_lock(lambda: claims.ask({"number": 1}, SPACE, key))


def take_empty_turn(claims: Claims) -> None:
    claims.under_lock(lambda: None)


def state(claims: Claims, trial: optuna.Trial) -> TrialState:
    return claims.study.trials[trial.number].state


def orphaned_fingerprints(claims: Claims) -> list[str]:
    return [trial.user_attrs["fingerprint"] for trial in list_orphaned_trials(claims.trials())]


def claim_many(barrier: Any, queue: Any, name: str, count: int, keys: int) -> None:
    """Puts the numbers of the configs that this process got, of those that nobody has yet."""
    claims = claims_of(name)

    def choose() -> int | None:
        taken = collect_running_keys(claims.trials()) | find_ended_trials(claims.trials()).keys()
        free = [number for number in range(keys) if f"key {number}" not in taken]
        if not free:
            return None
        trial = claims.ask({"number": free[0]}, SPACE, f"key {free[0]}")
        if free[0] % 2:  # some end, some stay in training
            claims.complete(trial, 0.5)
        return free[0]

    barrier.wait()
    got = [claims.under_lock(choose) for _ in range(count)]
    queue.put([number for number in got if number is not None])


def open_study(barrier: Any, queue: Any, name: str) -> None:
    """Opens a study in an empty database; puts the number of its trials."""
    barrier.wait()
    claims = claims_of(name)
    claims.under_lock(lambda: claims.ask({"number": 1}, SPACE, "a key"))
    queue.put(len(claims.study.trials))


def age_heartbeat(claims: Claims, trial: optuna.Trial) -> None:
    """Set a trial's last sign of life back by a day."""
    statement = "UPDATE trial_heartbeats SET heartbeat = heartbeat - interval '1 day'"
    with claims.storage.rdb.engine.begin() as connection:
        where = f" WHERE trial_id = {trial._trial_id}"
        connection.exec_driver_sql(statement + where)


if __name__ == "__main__":
    mine = claims_of(sys.argv[1])
    trial = mine.under_lock(lambda: mine.ask({"number": 1}, SPACE, sys.argv[2]))
    with mine.alive(trial):
        print("claimed", flush=True)
        time.sleep(600)
