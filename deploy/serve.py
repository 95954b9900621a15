"""Start one server of the stack, by the command that Docker and native.py share.

    python -m deploy.serve check
    python -m deploy.serve mlflow --port 5000 --artifacts FOLDER
    python -m deploy.serve dashboard --port 8080

libpq's own variables PGHOST, PGPORT, PGUSER and PGPASSWORD name the database, so that no password
stands in an address or on a command line. The login of the MLflow server is that of its clients:
MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD. A weak password, or a database that is not in
UTF-8, ends the command with exit code 2. `check` only looks at the passwords.
"""

import argparse
import os
import secrets
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.databases import check_database
from deploy.errors import StackError
from deploy.passwords import check_passwords

RUNS = "postgresql+psycopg2:///mlflow"
LOGINS = "postgresql+psycopg2:///mlflow_auth"  # as in basic_auth.ini
SEARCHES = "postgresql+psycopg2:///optuna"
INSTALL = "install it with `pip install -r requirements-dev.lock`"
LOCAL_HOSTS = ("localhost", "localhost:*", "127.0.0.1", "127.0.0.1:*", "mlflow:*")


def find_program(name: str) -> str:
    """Return the path of a program beside the interpreter, else on the PATH.

    Raises:
        StackError: there is none.
    """
    path = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if path is None:
        raise StackError(f"no {name} beside {sys.executable} or on the PATH: {INSTALL}")
    return path


def build_mlflow_command(host: str, port: int, artifacts: str, names: str) -> list[str]:
    """Return the command of the MLflow server.

    It has basic authentication, serves the artifacts itself, and keeps all else in PostgreSQL.

    Args:
        host: address to listen on.
        port: port to listen on.
        artifacts: folder that holds the artifacts.
        names: further addresses `host:port` by which clients reach it, separated by commas.

    Raises:
        StackError: MLflow is not installed.
    """
    further_hosts = [name.strip() for name in names.split(",") if name.strip()]
    command = [find_program("mlflow"), "server", "--app-name", "basic-auth"]
    command += ["--host", host, "--port", str(port), "--workers", "2"]
    command += ["--uvicorn-opts", "--no-access-log"]  # a line per request would fill the disk
    command += ["--backend-store-uri", RUNS]
    command += ["--serve-artifacts", "--artifacts-destination", artifacts]
    command += ["--allowed-hosts", ",".join((*LOCAL_HOSTS, *further_hosts))]
    if further_hosts:
        # Otherwise MLflow takes the requests of its own pages for those of another site
        origins = [f"{scheme}://{name}" for name in further_hosts for scheme in ("http", "https")]
        command += ["--cors-allowed-origins", ",".join(origins)]
    return command


def build_dashboard_command(host: str, port: int) -> list[str]:
    """Return the command of Optuna's dashboard.

    The dashboard has no login: it must be reachable from its own machine alone.

    Raises:
        StackError: the dashboard is not installed.
    """
    program = find_program("optuna-dashboard")
    return [program, "--host", host, "--port", str(port), SEARCHES]


def make_optuna_tables() -> None:
    """Make Optuna's tables, which its dashboard needs to start.

    Raises:
        StackError: Optuna is not installed.
    """
    try:
        from optuna.storages import RDBStorage
    except ModuleNotFoundError:
        raise StackError(f"no package optuna for {sys.executable}: {INSTALL}") from None
    RDBStorage(SEARCHES)


def build_server_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return a server's environment, given that of its clients.

    It adds what MLflow's authentication needs, and leaves out MLFLOW_TRACKING_URI.
    """
    inherited = {
        name: value for name, value in environment.items() if name != "MLFLOW_TRACKING_URI"
    }
    return inherited | {
        "MLFLOW_AUTH_CONFIG_PATH": str(Path(__file__).with_name("basic_auth.ini")),
        "MLFLOW_AUTH_ADMIN_USERNAME": environment.get("MLFLOW_TRACKING_USERNAME") or "admin",
        "MLFLOW_AUTH_ADMIN_PASSWORD": environment["MLFLOW_TRACKING_PASSWORD"],
        # It only signs the sign-up form, so all that a restart invalidates is an open form
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
        # Jobs are for language models, and cost processes
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def _parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.serve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("server", choices=("check", "mlflow", "dashboard"))
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--artifacts", default="artifacts", help="folder of the artifacts")
    return parser.parse_args()


def _build_command(args: argparse.Namespace) -> list[str]:
    """Check the databases of a server, and return its command."""
    if args.server == "mlflow":
        check_database(RUNS)
        check_database(LOGINS)
        names = os.environ.get("STUDY_HOSTS", "")
        return build_mlflow_command(args.host, args.port, args.artifacts, names)
    check_database(SEARCHES)
    make_optuna_tables()
    return build_dashboard_command(args.host, args.port)


def main() -> int:
    """Parse the flags, check the passwords and databases, and become the server."""
    args = _parse_flags()
    try:
        check_passwords(os.environ)
        if args.server != "check":
            command = _build_command(args)
            os.execve(command[0], command, build_server_environment(os.environ))
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
