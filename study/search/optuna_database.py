"""Open Optuna's database, for one process or many at once."""

import hashlib
import warnings
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage
from sqlalchemy import Connection
from sqlalchemy import create_engine
from sqlalchemy import event
from sqlalchemy import text
from sqlalchemy.pool import NullPool

from study.common.errors import StudyError
from study.common.settings import heartbeat_seconds
from study.common.settings import supports_concurrency
from study.tracking.connection import schema_lock
from study.tracking.failures import redact_credentials
from study.tracking.postgres import limit_connection
from study.tracking.postgres import require_utf8
from study.tracking.schema import find_schema_owner

BEATS_UNTIL_DEAD = 4  # missed in a row
FREEZE_SECONDS = 60  # after which a process that freezes under a lock loses it
LOCK_SECONDS = 90  # to wait for a lock, longer than for one of a frozen process


def make_storage(url: str) -> RDBStorage:
    """Open Optuna's storage, and make its tables if need be.

    It uses heartbeats where several processes may work at once.

    Raises:
        ConfigError: `STUDY_HEARTBEAT` is out of range.
        StudyError: the database is MLflow's, or a PostgreSQL database that is not in UTF-8.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # its import sets another level
    seconds = heartbeat_seconds()  # a wrong setting is refused before a server is asked
    if find_schema_owner(url) == "MLflow":
        raise StudyError(
            f"{redact_credentials(url)} is a database of MLflow's, which Optuna cannot share: give "
            "STUDY_STORAGE and MLFLOW_TRACKING_URI a database each"
        )
    if not supports_concurrency(url):
        with schema_lock(url):
            return RDBStorage(url)
    require_utf8(url)
    # Heartbeats are still marked as experimental, after years.
    warnings.simplefilter("ignore", ExperimentalWarning)
    limits = limit_connection(url)
    with create_engine(url, poolclass=NullPool, connect_args=limits).begin() as connection:
        # Two processes at once would both make the tables, and one would fail.
        acquire_advisory_lock(connection, "tables")
        storage = RDBStorage(
            url,
            # Connections do not survive a restart of the server, so each is tested before use.
            # Work under the lock takes two of them, and the server has few.
            engine_kwargs={"pool_pre_ping": True, "pool_size": 2, "connect_args": limits},
            heartbeat_interval=seconds,
            grace_period=seconds * BEATS_UNTIL_DEAD,
        )
        event.listen(storage.engine, "connect", _use_utc)
        storage.engine.dispose()  # of the connections that were made without the listener
        return storage


def _use_utc(connection: Any, _record: object) -> None:
    """Set a new connection's time zone, in which Optuna writes heartbeats without naming it.

    In a local zone, a change to or from summer time would make all heartbeats an hour old. The
    setting PGTZ would make them those of another zone. It wins over the options of a connection.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
    connection.commit()  # a rollback would take it back


def acquire_advisory_lock(connection: Connection, name: str) -> None:
    """Wait for a lock of PostgreSQL, and hold it until the transaction ends."""
    for parameter, seconds in (
        ("idle_in_transaction_session_timeout", FREEZE_SECONDS),
        ("lock_timeout", LOCK_SECONDS),
    ):
        connection.execute(text(f"SET LOCAL {parameter} = '{seconds}s'"))
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
