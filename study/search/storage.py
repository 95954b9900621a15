"""Where Optuna keeps a study, and how one process or many work on it."""

import contextlib
import hashlib
import threading
import time
import warnings
from collections.abc import Callable
from collections.abc import Iterator
from typing import Literal
from typing import TypeVar

import filelock
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.exceptions import StorageInternalError
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from sqlalchemy import Connection
from sqlalchemy import create_engine
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from study.common.cache import cache_dir
from study.common.errors import StudyError
from study.common.settings import heartbeat
from study.common.settings import storage_url
from study.common.settings import takes_many
from study.tracking.connection import first_use
from study.tracking.connection import shown

PATIENCE = 600.0  # s, for a storage that does not answer in the middle of a study
BEATS_UNTIL_DEAD = 4  # heartbeats missed in a row
T = TypeVar("T")


def make_storage(url: str) -> RDBStorage:
    """Optuna's storage, with its tables; with heartbeats where several processes may work."""
    if not takes_many(url):
        with first_use(url):
            return RDBStorage(url)
    beat = heartbeat()
    warnings.simplefilter("ignore", ExperimentalWarning)  # of heartbeats, years old by now
    with create_engine(url, poolclass=NullPool).begin() as connection:
        _lock(connection, "tables")  # two at once would make them twice, and one fail
        return RDBStorage(
            url,
            # connections do not outlive a restart; a turn takes two, and the server has few
            engine_kwargs={"pool_pre_ping": True, "pool_size": 2},
            heartbeat_interval=beat,
            grace_period=beat * BEATS_UNTIL_DEAD,
        )


def _lock(connection: Connection, name: str) -> None:
    """Wait until nobody else has that lock of PostgreSQL; held to the end of the transaction."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


class Storage:
    """A storage under one study's name: takes turns with other processes, outlasts outages."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.url = storage_url()
        self.answering_since = time.monotonic()
        self._threads = threading.RLock()
        with _said_plainly(self.url):
            self.rdb = make_storage(self.url)

    def study(self, direction: Literal["minimize", "maximize"]) -> optuna.Study:
        """The Optuna study of that name, made if need be.

        Raises:
            StudyError: the storage does not answer.
        """
        with _said_plainly(self.url):
            return optuna.create_study(
                study_name=self.name, storage=self.rdb, direction=direction, load_if_exists=True
            )

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Work on the study: alone, but on PostgreSQL.

        Raises:
            StudyError: another process on this machine has it.
        """
        if takes_many(self.url):
            yield
            return
        folder = cache_dir() / "studies"
        folder.mkdir(parents=True, exist_ok=True)
        mark = hashlib.sha256(self.name.encode()).hexdigest()[:16]
        try:
            lock = filelock.FileLock(folder / f"{mark}.lock", timeout=0)
            lock.acquire()
        except filelock.Timeout:
            raise StudyError(
                f"another process runs {self.name}: wait for it to end, or let both work on "
                "PostgreSQL (STUDY_STORAGE)"
            ) from None
        with lock:
            yield

    def in_turn(self, do: Callable[[], T]) -> T:
        """`do()`, while nobody else in any process does so for this study.

        Raises:
            StudyError: the storage did not answer for `PATIENCE`.
        """
        return self.patiently(lambda: self._alone(do))

    def _alone(self, do: Callable[[], T]) -> T:
        with self._threads:
            if not takes_many(self.url):
                return do()
            with self.rdb.engine.begin() as connection:
                # whoever is frozen in its turn loses it after a minute
                for name in ("lock_timeout", "idle_in_transaction_session_timeout"):
                    connection.execute(text(f"SET LOCAL {name} = '60s'"))
                _lock(connection, self.name)
                return do()

    def patiently(self, do: Callable[[], T], patience: float = PATIENCE) -> T:
        """`do()`, again and again while the storage does not answer. It must bear repetition.

        Raises:
            StudyError: it did not answer for that many seconds.
        """
        begun, pause = time.monotonic(), 0.2
        while True:
            try:
                return do()
            # the last: another process thought a trial of ours dead, just now
            except (StorageInternalError, SQLAlchemyError, UpdateFinishedTrialError) as error:
                self.answering_since = time.monotonic()
                if self.answering_since + pause > begun + patience:
                    raise StudyError(_silent(self.url, error)) from error
            time.sleep(pause)
            pause = min(pause * 2, 5.0)


@contextlib.contextmanager
def _said_plainly(url: str) -> Iterator[None]:
    try:
        yield
    except (StorageInternalError, SQLAlchemyError, ImportError, ValueError) as error:
        raise StudyError(_silent(url, error)) from error


def _silent(url: str, error: Exception) -> str:
    reason = (str(error.__cause__ or error).splitlines() or [type(error).__name__])[0]
    return (
        f"no Optuna storage at {shown(url)}: {reason}\n"
        "Mend STUDY_STORAGE, or unset it to use study.db in this folder."
    )
