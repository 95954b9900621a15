"""Send the heartbeats of trials, and fail the trials of processes that send none."""

import contextlib
import threading
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator

import optuna
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial
from optuna.trial import TrialState

from study.common.settings import heartbeat_seconds
from study.search.optuna_database import BEATS_UNTIL_DEAD
from study.search.storage import Storage


def grace_seconds() -> int:
    """Return the seconds without a sign of life after which a trial counts as dead."""
    return heartbeat_seconds() * BEATS_UNTIL_DEAD


class Heartbeats:
    """The heartbeats of a study's trials, for a storage that many processes may use at once."""

    def __init__(self, storage: Storage, study: optuna.Study) -> None:
        self.storage = storage
        self.study = study
        # Times, by time.monotonic, at which trials without a config were first seen
        self._sampling_since: dict[int, float] = {}

    def record(self, trial: optuna.Trial) -> None:
        """Record one heartbeat of a trial, so that others take it for alive from now on."""
        self.storage.rdb.record_heartbeat(trial._trial_id)

    @contextlib.contextmanager
    def sending(
        self, trial: optuna.Trial, is_lost: Callable[[], bool], on_loss: Callable[[], None]
    ) -> Iterator[None]:
        """Send heartbeats for a trial, in another thread, while the block runs.

        Args:
            trial: that is claimed.
            is_lost: returns whether another process has ended the trial.
            on_loss: called again and again, in that thread, once the trial is lost.
        """
        stop = threading.Event()
        args = (stop, trial, is_lost, on_loss)
        threading.Thread(target=self._send_until, args=args, daemon=True).start()
        try:
            yield
        finally:
            stop.set()

    def _send_until(
        self,
        stop: threading.Event,
        trial: optuna.Trial,
        is_lost: Callable[[], bool],
        on_loss: Callable[[], None],
    ) -> None:
        while not stop.wait(heartbeat_seconds()):
            try:
                with self.storage.timed():
                    self.storage.retry_until_available(lambda: self.record(trial))
                if is_lost() and not stop.is_set():
                    on_loss()
            except KeyboardInterrupt:  # the command ends while the storage does not answer
                return
            except Exception:  # keep trying for as long as the trial goes on
                continue

    def fail_dead_trials(self, running_trials: Iterable[FrozenTrial]) -> None:
        """Fail the trials of dead processes. The caller must hold the study's lock."""
        for trial in running_trials:
            if self._is_left_over(trial):
                self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        # After an outage, live processes need time to send a heartbeat again.
        if self.storage.has_answered_for(grace_seconds()):
            fail_stale_trials(self.study)

    def _is_left_over(self, trial: FrozenTrial) -> bool:
        """Return whether the process of a running trial died before it claimed a config.

        Optuna looks after trials with a heartbeat alone, which a trial to be sampled may lack.
        """
        if "fingerprint" in trial.user_attrs:
            return False
        if "sampling" not in trial.user_attrs:
            return True  # its process died while holding the lock
        # Not by the trial's own time, which is of another machine's clock and zone.
        first_seen = self._sampling_since.setdefault(trial.number, time.monotonic())
        return time.monotonic() - first_seen > grace_seconds()
