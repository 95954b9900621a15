"""Who trains which config of an Optuna study: each is claimed by one worker at a time.

A claim is a RUNNING trial with the attribute `fingerprint`. On PostgreSQL it is kept up by
heartbeats. A trial that FAILED without the attribute `reason` was lost with its process, and its
config is there to be claimed again.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any
from typing import Literal
from typing import TypeVar

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial
from optuna.trial import TrialState

from study.common.settings import heartbeat
from study.common.settings import takes_many
from study.search.storage import BEATS_UNTIL_DEAD
from study.search.storage import Storage

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
MAX_DEATHS = 10  # at the same epoch, before a config is not tried again
LAST_WORDS = 5.0  # s, to tell a storage that does not answer of a trial that was interrupted
T = TypeVar("T")


class Claims:
    """The trials of one Optuna study, by the fingerprint of their config."""

    def __init__(self, storage: Storage, direction: Literal["minimize", "maximize"]) -> None:
        self.storage = storage
        self.study = storage.study(direction)
        self.shared = takes_many(storage.url)
        self.mine: set[str] = set()  # fingerprints of what this process has in training
        self._awaited = 0
        if self.shared:  # all that ended; in a first turn, others would wait for minutes
            storage.patiently(self.trials)
        else:  # held by this process alone, so nobody trains them
            for trial in self.trials(TrialState.RUNNING):
                self.study.tell(trial.number, state=TrialState.FAIL)

    def in_turn(self, do: Callable[[], T]) -> T:
        """`do()`, while no other process claims anything; the trials of dead ones have failed."""

        def settled() -> T:
            self._settle()
            return do()

        return self.storage.in_turn(settled)

    def _settle(self) -> None:
        if not self.shared:
            return
        for trial in self.trials(TrialState.RUNNING):
            if "fingerprint" not in trial.user_attrs:  # its process died in its turn
                self.study.tell(trial.number, state=TrialState.FAIL)
        # after an outage, or a pause of this process, the living must have time to say so
        if time.monotonic() - self.storage.answering_since > heartbeat() * BEATS_UNTIL_DEAD:
            fail_stale_trials(self.study)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """The trials in these states, or in any if none is named, earliest first."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    # What follows may be told of among all trials as read before: each reading asks the storage.

    def ended(self, trials: list[FrozenTrial] | None = None) -> dict[str, FrozenTrial]:
        """The first finished or pruned trial of each config."""
        found: dict[str, FrozenTrial] = {}
        for trial in self.trials() if trials is None else trials:
            if trial.state in ENDED:
                found.setdefault(trial.user_attrs["fingerprint"], trial)
        return found

    def taken(self, trials: list[FrozenTrial] | None = None) -> set[str]:
        """The configs that are being trained, by whomever."""
        among = self.trials() if trials is None else trials
        running = (t.user_attrs for t in among if t.state == TrialState.RUNNING)
        return {attributes.get("fingerprint", "") for attributes in running}

    def awaited(self) -> str | None:
        """Whom a worker waits for that has nothing to do; None if it was said before."""
        count = len(self.taken() - self.mine)
        before, self._awaited = self._awaited, count
        if count in (0, before):
            return None
        what = "a trial is" if count == 1 else f"{count} trials are"
        silence = heartbeat() * BEATS_UNTIL_DEAD
        return (
            f"{what} in training elsewhere: waiting (and taking up what is silent for {silence} s)"
        )

    def lost(self, trials: list[FrozenTrial] | None = None) -> list[FrozenTrial]:
        """The trials whose process died, and whose config nobody has claimed since."""
        among = self.trials() if trials is None else trials
        latest = {t.user_attrs.get("fingerprint"): t for t in among}
        dead = [t for key, t in latest.items() if key and t.state == TrialState.FAIL]
        return [trial for trial in dead if "reason" not in trial.user_attrs]

    def claim(self, trial: optuna.Trial, key: str) -> None:
        """Take a config whose fingerprint is `key`; only in turn."""
        if self.shared:
            self.storage.rdb.record_heartbeat(trial._trial_id)
        trial.set_user_attr("fingerprint", key)

    def ask(
        self, point: Mapping[str, Any], space: dict[str, BaseDistribution], key: str
    ) -> optuna.Trial:
        """A trial at a given point, claimed; only in turn."""
        self.study.enqueue_trial(dict(point))
        while (trial := self.study.ask(space)).params != point:  # what a dead process had enqueued
            self.fail(trial, "nobody waits for it")
        self.claim(trial, key)
        return trial

    @contextlib.contextmanager
    def alive(self, trial: optuna.Trial) -> Iterator[None]:
        """Give signs of life for a trial while the block runs; release it if it is interrupted."""
        key, end = trial.user_attrs["fingerprint"], threading.Event()
        thread = threading.Thread(target=self._beat, args=(trial, end), daemon=True)
        if self.shared:
            thread.start()
        self.mine.add(key)
        try:
            yield
        except KeyboardInterrupt:
            with contextlib.suppress(Exception):  # else it is found dead, later
                self._tell(trial, {}, state=TrialState.FAIL, patience=LAST_WORDS)
            raise
        finally:
            end.set()
            self.mine.discard(key)

    def _beat(self, trial: optuna.Trial, end: threading.Event) -> None:
        record = self.storage.rdb.record_heartbeat
        while not end.wait(heartbeat()):
            with contextlib.suppress(Exception):  # tried for as long as the trial goes on
                self.storage.patiently(lambda: record(trial._trial_id))

    def complete(self, trial: optuna.Trial, value: float, **attributes: Any) -> None:
        """The trial finished, with the value of the objective."""
        self._tell(trial, attributes, value=value)

    def prune(self, trial: optuna.Trial, **attributes: Any) -> None:
        """The trial was ended for good."""
        self._tell(trial, attributes, state=TrialState.PRUNED)

    def fail(self, trial: optuna.Trial, reason: str) -> None:
        """The trial failed by itself; nobody takes it up unless asked to."""
        self._tell(trial, {"reason": reason[:500]}, state=TrialState.FAIL)

    def lose(self, trial: optuna.Trial, epochs: int, reason: str, limit: int = MAX_DEATHS) -> bool:
        """The trial's process died after so many epochs; whether its config may be tried again.

        Not after `limit` deaths at the same epoch, whose cause is likely the config.
        """
        key = trial.user_attrs["fingerprint"]
        failed = (t.user_attrs for t in self.trials(TrialState.FAIL))
        deaths = [a for a in failed if (a.get("fingerprint"), a.get("died_after")) == (key, epochs)]
        again = len(deaths) + 1 < limit
        why = {} if again else {"reason": reason[:500]}
        self._tell(trial, {"died_after": epochs} | why, state=TrialState.FAIL)
        return again

    def _tell(
        self,
        trial: optuna.Trial,
        attributes: Mapping[str, Any],
        *,
        value: float | None = None,
        state: TrialState = TrialState.COMPLETE,
        patience: float | None = None,
    ) -> None:
        def tell() -> None:
            now = self.storage.rdb.get_trial(trial._trial_id).state
            if now == TrialState.RUNNING:  # else it was thought dead, or told before an outage
                for name, content in attributes.items():
                    trial.set_user_attr(name, content)
                self.study.tell(trial.number, value, state=state, skip_if_finished=True)

        if patience is None:
            self.storage.patiently(tell)
        else:
            self.storage.patiently(tell, patience)
