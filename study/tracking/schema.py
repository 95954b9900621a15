"""Tell MLflow's database from Optuna's, and an older schema from a newer one.

Both libraries keep the version of their tables in a table of the same name, `alembic_version`.
Hence they cannot share a database: the one that comes second fails, and leaves its tables there.
"""

import re
from collections.abc import Callable

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from mlflow.store.db.utils import _get_alembic_config
from sqlalchemy import create_engine
from sqlalchemy import inspect
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from study.tracking.postgres import limit_connection


def find_schema_owner(url: str) -> str:
    """Return whose tables a database has: `MLflow`, `Optuna`, or `""`.

    The result is `""` as well for what is no database, or cannot be read.
    """
    if not re.match(r"(sqlite|postgresql|mysql|mssql)\b", url):
        return ""
    try:
        engine = create_engine(url, poolclass=NullPool, connect_args=limit_connection(url))
        with engine.connect() as connection:
            tables = set(inspect(connection).get_table_names())
            query = text("SELECT version_num FROM alembic_version")
            revision = connection.execute(query).scalar() if "alembic_version" in tables else None
    except (SQLAlchemyError, ImportError):
        return ""
    # An earlier failure may have left tables of both. Optuna's revisions are like v3.2.0.a.
    if {"studies", "version_info"} <= tables and str(revision or "v").startswith("v"):
        return "Optuna"
    return "MLflow" if {"experiments", "runs"} <= tables else ""


def find_outdated_revision(message: str) -> str | None:
    """Return the schema revision that an error of MLflow names, or None."""
    match = re.search(r"out-of-date database schema \(found version (\w+)", message)
    return match[1] if match else None


def is_newer_schema(revision: str) -> bool:
    """Return True if only a newer MLflow than this one knows a revision."""
    make_config: Callable[[str], Config] = _get_alembic_config  # which MLflow does not annotate
    script = ScriptDirectory.from_config(make_config(""))
    try:
        return script.get_revision(revision) is None
    except CommandError:
        return True
