"""Start one server of the stack, with the flags that Docker and deploy/native.py share.

    python -m deploy.serve check
    python -m deploy.serve mlflow --port 5000 --artifacts FOLDER
    python -m deploy.serve dashboard --port 8080

The database is named by libpq's own PGHOST, PGPORT, PGUSER and PGPASSWORD, so that no password
stands in an address or on a command line. The login of the MLflow server is the client's:
MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD. A weak password ends it with exit code 2.
"""

import argparse
import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

PASSWORDS = ("PGPASSWORD", "MLFLOW_TRACKING_PASSWORD")
MIN_LENGTH = 12
RUNS = "postgresql+psycopg2:///mlflow"
SEARCHES = "postgresql+psycopg2:///optuna"
# With digits and punctuation left out; "atleastcharacters" is the example of .env.example
WELL_KNOWN = re.compile(
    "(admin|atleastcharacters|changeme|changethis|default|example|letmein|mlflow|optuna|"
    "password|postgres|postgresql|qwerty|secret|study|test|user|welcome)*"
)
LOCAL_HOSTS = ("localhost", "localhost:*", "127.0.0.1", "127.0.0.1:*", "mlflow:*")


class WeakPassword(Exception):
    """A password that others could guess."""


def check(environment: Mapping[str, str]) -> None:
    """Look at the passwords that the stack will be protected by.

    Raises:
        WeakPassword: one is missing, short, or well known.
    """
    for name in PASSWORDS:
        password = environment.get(name, "")
        if not password:
            reason = "is not set"
        elif len(password) < MIN_LENGTH:
            reason = f"is shorter than {MIN_LENGTH} characters"
        elif WELL_KNOWN.fullmatch(re.sub("[^a-z]", "", password.lower())):
            reason = "is a well-known one"
        else:
            continue
        raise WeakPassword(f"{name} {reason}: put what `openssl rand -hex 24` prints into .env")


def mlflow_command(host: str, port: int, artifacts: str, names: str) -> list[str]:
    """The MLflow server: basic authentication, artifacts through the server, all in PostgreSQL.

    Args:
        host: address to listen on.
        port: to listen on.
        artifacts: folder that holds the artifacts.
        names: further `host:port` under which clients reach it, separated by commas.
    """
    further = [name.strip() for name in names.split(",") if name.strip()]
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"]
    command += ["--host", host, "--port", str(port), "--workers", "2"]
    command += ["--backend-store-uri", RUNS]
    command += ["--serve-artifacts", "--artifacts-destination", artifacts]
    command += ["--allowed-hosts", ",".join((*LOCAL_HOSTS, *further))]
    if further:  # or the browser's own requests count as those of another site
        origins = [f"{scheme}://{name}" for name in further for scheme in ("http", "https")]
        command += ["--cors-allowed-origins", ",".join(origins)]
    return command


def dashboard_command(host: str, port: int) -> list[str]:
    """Optuna's dashboard. It knows no login: it must be reachable from its own machine alone."""
    program = str(Path(sys.executable).with_name("optuna-dashboard"))
    return [program, "--host", host, "--port", str(port), SEARCHES]


def make_tables() -> None:
    """Make Optuna's tables, without which its dashboard does not start."""
    from optuna.storages import RDBStorage

    RDBStorage(SEARCHES)


def server_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a server: the client's, with what MLflow's authentication asks for."""
    kept = {name: value for name, value in environment.items() if name != "MLFLOW_TRACKING_URI"}
    return kept | {
        "MLFLOW_AUTH_CONFIG_PATH": str(Path(__file__).with_name("basic_auth.ini")),
        "MLFLOW_AUTH_ADMIN_USERNAME": environment.get("MLFLOW_TRACKING_USERNAME") or "admin",
        "MLFLOW_AUTH_ADMIN_PASSWORD": environment["MLFLOW_TRACKING_PASSWORD"],
        # It signs the sign-up form alone: a restart makes an open form invalid, no more
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # for language models; costs processes
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def main() -> int:
    """The command; replaces itself by the server."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.serve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("server", choices=("check", "mlflow", "dashboard"))
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--artifacts", default="artifacts", help="folder of the artifacts")
    args = parser.parse_args()
    try:
        check(os.environ)
    except WeakPassword as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.server == "mlflow":
        names = os.environ.get("STUDY_HOSTS", "")
        _become(mlflow_command(args.host, args.port, args.artifacts, names))
    if args.server == "dashboard":
        make_tables()
        _become(dashboard_command(args.host, args.port))
    return 0


def _become(command: list[str]) -> NoReturn:
    os.execve(command[0], command, server_environment(os.environ))


if __name__ == "__main__":
    sys.exit(main())
