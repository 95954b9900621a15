"""What is on its way to an open MLflow run, so that training waits for no server.

One thread delivers it in order, and each piece until it has arrived. It stays in memory: after a
kill, what was trained is in the trial's state, and is written by whoever resumes it.
"""

import threading
import time
from collections import deque

from mlflow.tracking import MlflowClient

from study.common.errors import TrackingError
from study.tracking.connection import LONGEST_PAUSE
from study.tracking.connection import passes
from study.tracking.connection import reason
from study.tracking.operations import Operation
from study.tracking.writer import deliver

FIRST_PAUSE = 1.0  # seconds before the second attempt; doubled for each further one


class Outbox:
    """The operations of one run that are not delivered yet, and the thread that delivers them."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.client = client
        self.run_id = run_id
        self.problem = ""  # why the last attempt failed
        self._left: deque[Operation] = deque()
        self._refusal = ""
        self._failing: float | None = None  # since when, if the last attempt failed
        self._closing: float | None = None  # since when it is waited for
        self._stopped = False
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name=f"outbox {run_id}", daemon=True).start()

    def put(self, operation: Operation) -> None:
        """Have an operation delivered, after all earlier ones."""
        with self._changed:
            self._left.append(operation)
            self._changed.notify_all()

    def check(self) -> None:
        """Tell of a refusal, once.

        Raises:
            TrackingError: MLflow refused an operation for good; those after it were dropped.
        """
        with self._changed:
            refusal, self._refusal = self._refusal, ""
        if refusal:
            raise TrackingError(f"MLflow does not take the record of run {self.run_id}: {refusal}")

    def wait(self, seconds: float) -> None:
        """Wait until all is delivered or refused, but not longer than `seconds` for a dead server.

        A server that answers is waited for as long as it takes.
        """
        with self._changed:
            if self._closing is None:
                self._closing = time.monotonic()
            self._changed.notify_all()
            while self._left and not self._given_up(self._closing, seconds):
                self._changed.wait(0.1)

    def stop(self) -> list[Operation]:
        """End the deliveries; what is left. Of that, the first may arrive all the same."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            return list(self._left)

    def _given_up(self, closing: float, seconds: float) -> bool:
        since = None if self._failing is None else max(self._failing, closing)
        return since is not None and time.monotonic() - since >= seconds

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while (operation := self._next()) is not None:
            try:
                deliver(self.client, self.run_id, operation)
            except Exception as error:
                self._failed(error, pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._delivered()
                pause = FIRST_PAUSE

    def _next(self) -> Operation | None:
        with self._changed:
            self._changed.wait_for(lambda: self._left or self._stopped)
            return None if self._stopped else self._left[0]

    def _delivered(self) -> None:
        with self._changed:
            if not self._stopped:
                self._left.popleft()
            self._failing = None
            self._changed.notify_all()

    def _failed(self, error: Exception, pause: float) -> None:
        with self._changed:
            if not passes(error):
                self._refusal = self._refusal or reason(error)
                self._left.clear()
                self._changed.notify_all()
                return
            self.problem = reason(error)
            self._failing = self._failing or time.monotonic()
            if self._closing is not None:
                self._changed.wait_for(lambda: self._stopped, FIRST_PAUSE)
            else:
                self._changed.wait_for(lambda: self._stopped or self._closing, pause)
