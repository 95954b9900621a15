"""Connect to PostgreSQL so that no call waits for hours, and check its encoding."""

from sqlalchemy import create_engine
from sqlalchemy import make_url
from sqlalchemy import text
from sqlalchemy.pool import NullPool

from study.common.errors import TrackingRefused
from study.tracking.failures import redact_credentials

# Of libpq. Where packets are lost, as in a VPN that is cut off, a call would else wait for hours.
CONNECTION_LIMITS = {
    "connect_timeout": 10,  # seconds
    "keepalives": 1,
    "keepalives_idle": 15,  # seconds
    "keepalives_interval": 5,  # seconds
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}


def limit_connection(url: str) -> dict[str, int]:
    """Return the limits of a connection to PostgreSQL, and none for other databases.

    Limits that the URL itself sets are left out.
    """
    if not url.startswith("postgresql"):
        return {}
    set_by_url = make_url(url).query
    return {name: limit for name, limit in CONNECTION_LIMITS.items() if name not in set_by_url}


def require_utf8(uri: str) -> None:
    """Check that a PostgreSQL database stores text in UTF-8, as run names need.

    Any other address passes.

    Raises:
        TrackingRefused: it has another encoding.
    """
    if not uri.startswith("postgresql"):
        return
    engine = create_engine(uri, poolclass=NullPool, connect_args=limit_connection(uri))
    with engine.connect() as connection:
        encoding = connection.execute(text("SHOW server_encoding")).scalar()
    if encoding != "UTF8":
        raise TrackingRefused(
            f"the database at {redact_credentials(uri)} is encoded in {encoding}, but the names of "
            'runs need UTF8: see docs/cluster.md, "A database in another encoding"'
        )
