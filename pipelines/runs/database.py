"""A quick look whether a tracking URI that names a database leads to runs at all."""

import re
from pathlib import Path

import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError

from study.common.errors import TrackingError
from study.tracking.connection import shown

CONNECT_SECONDS = 8


def check_database(uri: str) -> None:
    """Refuse a database URI that holds no MLflow store; other URIs pass.

    MLflow itself would create a missing file, fill an empty one, and retry a bad one for minutes.

    Raises:
        TrackingError: the database is missing, unreadable or not MLflow's.
    """
    if not re.match(r"(sqlite|postgresql|mysql|mssql)\b", uri):
        return
    advice = "set MLFLOW_TRACKING_URI to where the runs are, or train some first"
    try:
        path = sqlalchemy.make_url(uri).database
        if uri.startswith("sqlite") and path and not Path(path).is_file():
            raise TrackingError(f"no runs yet: {path} does not exist\n{advice}")
        tables = _table_names(uri)
    except (SQLAlchemyError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise TrackingError(f"cannot read {shown(uri)}: {reason}\n{advice}") from error
    if "experiments" not in tables:
        raise TrackingError(f"{shown(uri)} is no MLflow database\n{advice}")


def _table_names(uri: str) -> list[str]:
    waits = {"connect_timeout": CONNECT_SECONDS} if uri.startswith(("postgresql", "mysql")) else {}
    engine = sqlalchemy.create_engine(uri, connect_args=waits)
    try:
        return sqlalchemy.inspect(engine).get_table_names()
    finally:
        engine.dispose()
