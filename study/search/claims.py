"""Claim the configs of an Optuna study, each for one worker at a time.

A claim is a RUNNING trial with the attribute `fingerprint`. On PostgreSQL, heartbeats keep it
alive. A trial that has only the attribute `sampling` waits for a sampler to choose its config. A
trial that FAILED without the attribute `reason` was orphaned when its process died, and its config
can be claimed again.
"""

import contextlib
import functools
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Literal
from typing import TypeVar

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import create_trial
from optuna.trial import FrozenTrial
from optuna.trial import TrialState

from study.common.settings import supports_concurrency
from study.search.heartbeats import grace_seconds
from study.search.heartbeats import Heartbeats
from study.search.storage import Storage
from study.search.trial_states import collect_running_keys
from study.search.trial_states import find_ended_trials

MAX_DEATHS = 10  # at the same epoch, after which a config is not tried again
SLICE = 100  # trials that are added under one lock
RELEASE_SECONDS = 5.0  # to release an interrupted trial if the storage does not answer
T = TypeVar("T")


class Claims:
    """The trials of one Optuna study, by the fingerprint of their config."""

    def __init__(self, storage: Storage, direction: Literal["minimize", "maximize"]) -> None:
        self.storage = storage
        self.study = storage.study(direction)
        self.shared = supports_concurrency(storage.url)
        self.heartbeats = Heartbeats(storage, self.study)
        # Fingerprints of the configs that this process is training
        self.running_here: set[str] = set()
        self._ended_here: set[int] = set()  # ids of the trials that this process has ended
        self._awaited_count = 0  # of trials elsewhere, when waiting_message was last called
        if self.shared:
            # Optuna keeps ended trials once they are read. A first reading under the lock would
            # make the other processes wait for minutes.
            storage.retry_until_available(self.trials)
        else:
            storage.retry_until_available(self._fail_running_trials)

    def _fail_running_trials(self) -> None:
        """Fail all trials. This process holds the storage alone, so nobody is training them."""
        for trial in self.trials(TrialState.RUNNING):
            self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def under_lock(self, action: Callable[[], T]) -> T:
        """Run `action` while holding the study's cross-process lock.

        No other process claims anything meanwhile. The trials of dead processes are failed first.
        """

        def fail_dead_and_act() -> T:
            if self.shared:
                self.heartbeats.fail_dead_trials(self.trials(TrialState.RUNNING))
            return action()

        return self.storage.under_lock(fail_dead_and_act)

    def fail_dead_trials(self) -> None:
        """Fail the trials of dead processes, so that their configs can be claimed again."""
        self.under_lock(lambda: None)

    def add_missing(self, trials: Mapping[str, FrozenTrial]) -> None:
        """Add ended trials by fingerprint, as far as nobody else has added them.

        The lock is taken anew for each slice of them, because it does not last for minutes.
        """
        keys = list(trials)
        for start in range(0, len(keys), SLICE):
            chosen = {key: trials[key] for key in keys[start : start + SLICE]}
            self.under_lock(functools.partial(self._add_missing, chosen))

    def _add_missing(self, trials: Mapping[str, FrozenTrial]) -> None:
        known_keys = find_ended_trials(self.trials()).keys()
        for key, trial in trials.items():
            if key not in known_keys:
                self.study.add_trial(trial)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials in these states, earliest first.

        Without states, return all trials.
        """
        with self.storage.timed():
            return self.study.get_trials(deepcopy=False, states=states or None)

    def waiting_message(self) -> str | None:
        """Return a message on the trials that an idle worker waits for, if it is news.

        It is None if there are none, or as many as at the last call.
        """
        trials = self.storage.retry_until_available(self.trials)
        count = len(collect_running_keys(trials) - self.running_here)
        last_count = self._awaited_count
        self._awaited_count = count
        if count in (0, last_count):
            return None
        subject = (
            "a trial of another process" if count == 1 else f"{count} trials of other processes"
        )
        return (
            f"waiting for {subject} "
            f"(a process that gives no sign of life for {grace_seconds()} s loses its trial)"
        )

    def open_trial(self) -> optuna.Trial:
        """Return a new trial without a config, for a sampler to choose one.

        It is no claim, and needs no lock. It counts as alive for as long as a claim without a
        heartbeat.
        """
        template = create_trial(state=TrialState.RUNNING, user_attrs={"sampling": True})
        storage = self.study._storage
        trial = optuna.Trial(self.study, storage.create_new_trial(self.study._study_id, template))
        if self.shared:
            self.heartbeats.record(trial)
        return trial

    def claim(self, trial: optuna.Trial, key: str, further_keys: Sequence[str] = ()) -> None:
        """Claim the config whose fingerprint is `key`.

        The caller must hold the lock of `under_lock`.

        Args:
            trial: of the config.
            key: its fingerprint, with the first seed if there are several.
            further_keys: its fingerprints with the other seeds.
        """
        if self.shared:
            self.heartbeats.record(trial)
        if further_keys:
            trial.set_user_attr("further_fingerprints", list(further_keys))
        trial.set_user_attr("fingerprint", key)

    def ask(
        self,
        point: Mapping[str, Any],
        space: dict[str, BaseDistribution],
        key: str,
        further_keys: Sequence[str] = (),
    ) -> optuna.Trial:
        """Return a new trial at a given point, claimed as `claim` does.

        The caller must hold the lock of `under_lock`.
        """
        self.study.enqueue_trial(dict(point))
        # Optuna first hands out the points that a dead process enqueued.
        while (trial := self.study.ask(space)).params != point:
            self.fail(trial, "nobody waits for it")
        self.claim(trial, key, further_keys)
        return trial

    @contextlib.contextmanager
    def alive(
        self, trial: optuna.Trial, on_loss: Callable[[], None] = lambda: None
    ) -> Iterator[None]:
        """Send heartbeats for a trial while the block runs.

        A KeyboardInterrupt in the block releases the claim.

        Args:
            trial: that is claimed.
            on_loss: called again and again, in another thread, once the claim is lost. That is so
                after this machine has slept or was cut off: others thought this process dead.
        """
        key = trial.user_attrs["fingerprint"]
        with contextlib.ExitStack() as stack:
            if self.shared:
                is_lost = functools.partial(self._has_lost, trial)
                stack.enter_context(self.heartbeats.sending(trial, is_lost, on_loss))
            self.running_here.add(key)
            try:
                yield
            except KeyboardInterrupt:
                self.release(trial)
                raise
            finally:
                self.running_here.discard(key)

    def _has_lost(self, trial: optuna.Trial) -> bool:
        """Return whether another process has ended a trial that this one claimed."""
        state = self.storage.rdb.get_trial(trial._trial_id).state
        return state != TrialState.RUNNING and trial._trial_id not in self._ended_here

    def complete(self, trial: optuna.Trial, value: float, **attributes: Any) -> None:
        """Mark a trial as finished, with the value of the objective."""
        self._record_end(trial, attributes, value=value)

    def prune(self, trial: optuna.Trial, **attributes: Any) -> None:
        """Mark a trial as pruned, which ends it for good."""
        self._record_end(trial, attributes, state=TrialState.PRUNED)

    def fail(self, trial: optuna.Trial, reason: str) -> None:
        """Mark a trial as failed, and keep the reason.

        Its config is not tried again unless somebody repeats the command.
        """
        self._record_end(trial, {"reason": reason[:500]}, state=TrialState.FAIL)

    def release(self, trial: optuna.Trial) -> None:
        """Give a claim up, so that its config can be claimed again.

        If the storage does not answer, the missing heartbeats release the claim later.
        """
        with contextlib.suppress(Exception):
            self._record_end(trial, {}, state=TrialState.FAIL, patience=RELEASE_SECONDS)

    def mark_orphaned(
        self, trial: optuna.Trial, epochs: int, reason: str, limit: int = MAX_DEATHS
    ) -> bool:
        """Mark a trial as orphaned after `epochs` epochs.

        Returns:
            Whether its config may be tried again. It may not after `limit` deaths at the same
            epoch, whose cause is likely the config.
        """
        death = (trial.user_attrs["fingerprint"], epochs)
        failed_trials = self.storage.retry_until_available(lambda: self.trials(TrialState.FAIL))
        all_attributes = [other.user_attrs for other in failed_trials]
        deaths = [(each.get("fingerprint"), each.get("died_after")) for each in all_attributes]
        may_retry = deaths.count(death) + 1 < limit
        attributes: dict[str, Any] = {"died_after": epochs}
        if not may_retry:
            attributes["reason"] = reason[:500]
        self._record_end(trial, attributes, state=TrialState.FAIL)
        return may_retry

    def _record_end(
        self,
        trial: optuna.Trial,
        attributes: Mapping[str, Any],
        *,
        value: float | None = None,
        state: TrialState = TrialState.COMPLETE,
        patience: float | None = None,
    ) -> None:
        self._ended_here.add(trial._trial_id)

        def record_end() -> None:
            current_state = self.storage.rdb.get_trial(trial._trial_id).state
            # If not, another process thought it dead, or its end was stored before an outage.
            if current_state == TrialState.RUNNING:
                for name, content in attributes.items():
                    trial.set_user_attr(name, content)
                self.study.tell(trial.number, value, state=state, skip_if_finished=True)

        if patience is None:
            self.storage.retry_until_available(record_end)
        else:
            self.storage.retry_until_available(record_end, patience)
