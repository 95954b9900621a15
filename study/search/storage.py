"""Hold the Optuna storage of one study: its locks, and retries in outages."""

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from typing import TypeVar

import optuna
from optuna.exceptions import StorageInternalError
from optuna.exceptions import UpdateFinishedTrialError
from sqlalchemy.exc import SQLAlchemyError

from study.common.backoff import retry_with_backoff
from study.common.cache import cache_dir
from study.common.errors import first_line
from study.common.errors import StorageError
from study.common.errors import StudyError
from study.common.files import exclusive_lock
from study.common.files import NO_SPACE_ERRNOS
from study.common.settings import get_sqlite_file
from study.common.settings import heartbeat_seconds
from study.common.settings import storage_url
from study.common.settings import supports_concurrency
from study.search.optuna_database import acquire_advisory_lock
from study.search.optuna_database import make_storage
from study.tracking.failures import explain_unusable_file
from study.tracking.failures import redact_credentials

MAX_STORAGE_OUTAGE_SECONDS = 600.0  # seconds to wait for a storage in the middle of a study
# UpdateFinishedTrialError: another process thought a trial of ours dead, just now.
OUTAGES = (StorageInternalError, SQLAlchemyError, UpdateFinishedTrialError)
T = TypeVar("T")


class Storage:
    """The storage of one study, with a cross-process lock and retries in outages."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.url = storage_url()
        self.answering_since = time.monotonic()  # of the last failed call, or of the start
        self._clock_difference = time.time() - time.monotonic()
        self._thread_lock = threading.RLock()
        with _storage_errors_as_study_errors(self.url):
            self.rdb = make_storage(self.url)

    def study(self, direction: Literal["minimize", "maximize"]) -> optuna.Study:
        """Return the Optuna study of this name, and create it if need be.

        Raises:
            StudyError: the storage does not answer.
        """
        with _storage_errors_as_study_errors(self.url):
            return optuna.create_study(
                study_name=self.name, storage=self.rdb, direction=direction, load_if_exists=True
            )

    @contextlib.contextmanager
    def lock_for_process(self) -> Iterator[None]:
        """Lock the study for this process while the block runs.

        On PostgreSQL nothing is locked, because several processes may work on the study.

        The lock file stands beside the database, where every process that uses it looks.

        Raises:
            StudyError: another process holds the lock, or the folder cannot be written.
        """
        if supports_concurrency(self.url):
            yield
            return
        message = (
            f"another process runs {self.name}: wait for it to end, or let both work on "
            "PostgreSQL (STUDY_STORAGE)"
        )
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(exclusive_lock(self._choose_lock(), message))
            except OSError as error:
                if error.errno in NO_SPACE_ERRNOS:
                    raise
                reason = "unable to open database file"  # as SQLite would say a moment later
                raise StudyError(
                    explain_unusable_file("STUDY_STORAGE", self.url, reason) or str(error)
                ) from None
            yield

    def _choose_lock(self) -> Path:
        """Return the path of the study's lock file, without its ending."""
        name_hash = hashlib.sha256(self.name.encode()).hexdigest()[:16]
        file = get_sqlite_file(self.url)
        if file is None:  # neither SQLite nor PostgreSQL
            return cache_dir() / "studies" / name_hash
        real_file = file.resolve()  # the same for all links to it
        return real_file.with_name(f"{real_file.name}.{name_hash}")

    def under_lock(self, action: Callable[[], T]) -> T:
        """Run `action` while holding the study's cross-process lock.

        It is tried again while the storage does not answer, so it must be safe to repeat.

        Raises:
            StorageError: the storage did not answer for `MAX_STORAGE_OUTAGE_SECONDS`.
        """
        return self.retry_until_available(lambda: self._run_locked(action))

    def _run_locked(self, action: Callable[[], T]) -> T:
        with self._thread_lock:
            if not supports_concurrency(self.url):
                return action()
            with self.rdb.engine.begin() as connection:
                with self.timed():
                    acquire_advisory_lock(connection, self.name)
                return action()

    def retry_until_available(
        self, action: Callable[[], T], patience: float = MAX_STORAGE_OUTAGE_SECONDS
    ) -> T:
        """Run `action`, again and again while the storage does not answer.

        `action` must be safe to repeat. The pauses grow from 0.2 to 5 seconds.

        Raises:
            StorageError: the storage did not answer for `patience` seconds.
        """
        try:
            return retry_with_backoff(
                action, self._note_outage, seconds=patience, first_pause=0.2, longest_pause=5.0
            )
        except OUTAGES as error:
            raise StorageError(_unreachable_message(self.url, error)) from error

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Count the block, a short call of the storage, as an outage if it takes a heartbeat.

        A storage that freezes answers late, and without an error.
        """
        started = time.monotonic()
        yield
        if time.monotonic() - started > heartbeat_seconds():
            self.answering_since = time.monotonic()

    def has_answered_for(self, seconds: float) -> bool:
        """Return whether the storage has answered for so long, to this process while awake."""
        clock_difference = time.time() - time.monotonic()
        # Only one of the clocks goes on while a machine sleeps, perhaps that of the storage.
        if abs(clock_difference - self._clock_difference) > seconds:
            self._clock_difference = clock_difference
            self.answering_since = time.monotonic()
        return time.monotonic() - self.answering_since > seconds

    def _note_outage(self, error: Exception) -> bool:
        """Return True if an error is an outage, and note its time."""
        if isinstance(error, OUTAGES):
            self.answering_since = time.monotonic()
        return isinstance(error, OUTAGES)


@contextlib.contextmanager
def _storage_errors_as_study_errors(url: str) -> Iterator[None]:
    try:
        yield
    except (StorageInternalError, SQLAlchemyError, ImportError, ValueError) as error:
        raise StudyError(_unreachable_message(url, error)) from error
    except RuntimeError as error:  # Optuna's complaint about the version of its tables
        raise StudyError(_explain_outdated_schema(url, error)) from error


def _explain_outdated_schema(url: str, error: RuntimeError) -> str:
    address = redact_credentials(url)
    if "storage upgrade" not in str(error):
        return (
            f"the Optuna storage {address} was made by a newer Optuna than {optuna.__version__}, "
            "which is here: install that newer version, or set STUDY_STORAGE to another database"
        )
    return (
        f"the Optuna storage {address} was made by an older Optuna than {optuna.__version__}, "
        "which is here: copy it as a backup, then bring it up to date with "
        f"optuna storage upgrade --storage {address}"
    )


def _unreachable_message(url: str, error: Exception) -> str:
    reason = first_line(error.__cause__ or error)
    return explain_unusable_file("STUDY_STORAGE", url, reason) or (
        f"no Optuna storage at {redact_credentials(url)}: {reason}\n"
        "Correct STUDY_STORAGE, or unset it to use study.db in this folder."
    )
