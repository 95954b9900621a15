"""The ports that the servers listen on, without Docker."""

import contextlib
import socket
from typing import NamedTuple

from deploy.errors import StackError

HOST = "127.0.0.1"


class Ports(NamedTuple):
    """The ports that the servers listen on."""

    postgres: int = 5432
    mlflow: int = 5000
    dashboard: int = 8080


def find_free_ports() -> Ports:
    """Return ports that nobody listens on."""
    with contextlib.ExitStack() as exits:
        # All are open at once, so that no port comes twice
        sockets = [exits.enter_context(socket.socket()) for _ in Ports._fields]
        for each in sockets:
            each.bind((HOST, 0))
        return Ports(*(each.getsockname()[1] for each in sockets))


def check_ports(ports: Ports) -> None:
    """Check that no other server listens on the ports.

    Raises:
        StackError: one is in use.
    """
    for name, port in ports._asdict().items():
        with socket.socket() as probe:
            # As the servers do: a port that was left a moment ago counts as free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except (OSError, OverflowError) as error:
                reason = error.strerror if isinstance(error, OSError) else "out of range"
                raise StackError(
                    f"port {port} cannot be used: {reason}. Choose another by --{name} PORT, or "
                    "any by --free-ports"
                ) from None
