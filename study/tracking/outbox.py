"""Queue an open MLflow run's operations, so that training waits for no server.

One thread delivers them in order and repeats each until it has arrived. The queue is in memory
only. After a kill, the trial's state has what was trained, and the process that resumes the trial
writes it.
"""

import threading
import time
from collections import deque

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from study.common.backoff import growing_pauses
from study.common.errors import TrackingError
from study.common.errors import TrackingRefused
from study.tracking.failures import describe_error
from study.tracking.failures import is_login_refusal
from study.tracking.failures import is_retryable
from study.tracking.operations import Operation
from study.tracking.outages import LONGEST_PAUSE
from study.tracking.writer import write_operation

FIRST_PAUSE = 1.0  # seconds before the second attempt, doubled for each further one


class Outbox:
    """Undelivered operations of one run, and the thread that delivers them."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.client = client
        self.run_id = run_id
        self.problem = ""  # why the last attempt failed
        self._queue: deque[Operation] = deque()
        self._refusal: TrackingError | None = None  # until `check` raises it
        # Times by time.monotonic:
        self._failing_since: float | None = None  # None unless the last attempt failed
        self._closing_since: float | None = None  # None before the first `wait`
        self._is_stopped = False
        self._state_changed = threading.Condition()  # also the lock of all of these
        threading.Thread(target=self._deliver_all, name=f"outbox {run_id}", daemon=True).start()

    def append(self, operation: Operation) -> None:
        """Queue an operation for delivery after all earlier ones."""
        with self._state_changed:
            self._queue.append(operation)
            self._state_changed.notify_all()

    def check(self) -> None:
        """Raise an error if MLflow refused an operation, once for each refusal.

        Raises:
            TrackingError: the run was deleted.
            TrackingRefused: MLflow refused an operation for good. Those queued after it were
                dropped.
        """
        with self._state_changed:
            refusal = self._refusal
            self._refusal = None
        if refusal is not None:
            raise refusal

    def wait(self, seconds: float) -> None:
        """Wait until every operation is delivered or refused.

        A server that answers gets as long as it takes. One that does not answer gets `seconds`.
        """
        with self._state_changed:
            if self._closing_since is None:
                self._closing_since = time.monotonic()
            self._state_changed.notify_all()
            while self._queue and not self._has_timed_out(self._closing_since, seconds):
                self._state_changed.wait(0.1)

    def stop(self) -> list[Operation]:
        """End the deliveries and return the operations that are left.

        The first of these may arrive all the same, as its delivery may be under way.
        """
        with self._state_changed:
            self._is_stopped = True
            self._state_changed.notify_all()
            return list(self._queue)

    def _has_timed_out(self, closing_since: float, seconds: float) -> bool:
        """Return True if the server has failed for `seconds` while `wait` waited for it."""
        since = None if self._failing_since is None else max(self._failing_since, closing_since)
        return since is not None and time.monotonic() - since >= seconds

    def _deliver_all(self) -> None:
        """Deliver one operation after the other until `stop` is called."""
        pauses = growing_pauses(FIRST_PAUSE, LONGEST_PAUSE)
        while (operation := self._await_next()) is not None:
            try:
                write_operation(self.client, self.run_id, operation)
            except Exception as error:
                self._handle_failure(error, next(pauses))
            else:
                self._remove_delivered()
                pauses = growing_pauses(FIRST_PAUSE, LONGEST_PAUSE)

    def _await_next(self) -> Operation | None:
        """Wait for an operation and return it, or None after `stop`.

        The operation stays in the queue.
        """
        with self._state_changed:
            self._state_changed.wait_for(lambda: self._queue or self._is_stopped)
            return None if self._is_stopped else self._queue[0]

    def _remove_delivered(self) -> None:
        """Remove the first operation, unless `stop` has already returned it."""
        with self._state_changed:
            if not self._is_stopped:
                self._queue.popleft()
            self._failing_since = None
            self._state_changed.notify_all()

    def _handle_failure(self, error: Exception, pause: float) -> None:
        """Drop all operations after a refusal, or wait before the next attempt.

        The pause is in seconds. `wait` shortens it to `FIRST_PAUSE`, and `stop` ends it.
        """
        if not (is_retryable(error) or is_login_refusal(error)):
            refusal = self._describe_refusal(error)
            with self._state_changed:
                self._refusal = self._refusal or refusal
                self._queue.clear()
                self._state_changed.notify_all()
            return
        with self._state_changed:
            self.problem = describe_error(error)
            self._failing_since = self._failing_since or time.monotonic()
            if self._closing_since is not None:
                self._state_changed.wait_for(lambda: self._is_stopped, FIRST_PAUSE)
            else:
                self._state_changed.wait_for(lambda: self._is_stopped or self._closing_since, pause)

    def _describe_refusal(self, error: Exception) -> TrackingError:
        """Return the error for `check` to raise.

        A deleted run concerns this trial alone. Any other refusal would meet every run.
        """
        try:
            is_deleted = self.client.get_run(self.run_id).info.lifecycle_stage != "active"
        except MlflowException as problem:
            is_deleted = problem.error_code == "RESOURCE_DOES_NOT_EXIST"
        kind = TrackingError if is_deleted else TrackingRefused
        return kind(f"MLflow refuses the record of run {self.run_id}: {describe_error(error)}")
