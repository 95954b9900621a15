"""Check a database of PostgreSQL before a server uses it."""

from sqlalchemy import create_engine
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from deploy.errors import StackError


def check_database(uri: str) -> None:
    """Check that a database answers, and that it stores text in UTF-8.

    The names of runs need UTF-8: in another encoding, runs would fail one by one, and late.

    Raises:
        StackError: it does not answer, or has another encoding.
    """
    engine = create_engine(uri, poolclass=NullPool)
    name = engine.url.database
    try:
        with engine.connect() as connection:
            encoding = connection.execute(text("SHOW server_encoding")).scalar()
    except OperationalError as error:
        reason = str(error.orig).splitlines()[0]
        advice = "Check PGHOST and PGPORT, and that deploy/databases.sql was run."
        if "password authentication failed" in str(error.orig):
            advice = (
                "PGPASSWORD must be the password of its first start; changing .env later is not "
                "enough."
            )
        raise StackError(
            f"PostgreSQL does not open the database {name}: {reason}\n{advice}"
        ) from None
    if encoding != "UTF8":
        raise StackError(
            f"the database {name} is encoded in {encoding}, but the names of runs need UTF8:\n"
            'make it anew as docs/cluster.md says under "A database in another encoding"'
        )
