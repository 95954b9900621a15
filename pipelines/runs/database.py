"""Check quickly that a database URI leads to an MLflow store.

Only tracking URIs that name a database are checked.
"""

import re
from pathlib import Path

import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError

from study.common.errors import first_line
from study.common.errors import TrackingError
from study.tracking.failures import redact_credentials

CONNECT_SECONDS = 8


def check_database(uri: str) -> None:
    """Raise an error if a URI names a database that holds no MLflow store.

    URIs of other kinds pass. Without this check, MLflow would create a missing file, fill an empty
    one, and retry a bad one for minutes.

    Raises:
        TrackingError: the database is missing, unreadable or not MLflow's.
    """
    if not re.match(r"(sqlite|postgresql|mysql|mssql)\b", uri):
        return
    advice = (
        "set MLFLOW_TRACKING_URI to the database or server that has the runs, or train some first"
    )
    try:
        path = sqlalchemy.make_url(uri).database
        if uri.startswith("sqlite") and path and not Path(path).is_file():
            raise TrackingError(f"no runs yet: {path} does not exist\n{advice}")
        tables = _list_table_names(uri)
    except (SQLAlchemyError, ImportError) as error:
        reason = first_line(error)
        raise TrackingError(f"cannot read {redact_credentials(uri)}: {reason}\n{advice}") from error
    if "experiments" not in tables:
        raise TrackingError(f"{redact_credentials(uri)} is not an MLflow database\n{advice}")


def _list_table_names(uri: str) -> list[str]:
    has_timeout = uri.startswith(("postgresql", "mysql"))
    connect_args = {"connect_timeout": CONNECT_SECONDS} if has_timeout else {}
    engine = sqlalchemy.create_engine(uri, connect_args=connect_args)
    try:
        return sqlalchemy.inspect(engine).get_table_names()
    finally:
        engine.dispose()
