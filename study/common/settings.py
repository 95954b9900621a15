"""The settings from environment variables or `.env`, as listed in `.env.example`.

What a shell, an editor or Docker leaves around a value is trimmed here, for every setting: blanks,
Windows line ends, a byte order mark, quotes.
"""

import importlib.util
import os
import re
import unicodedata
from pathlib import Path

from study.common.errors import ConfigError

BACKENDS = ("tensorflow", "jax")
# Seconds that a trial waits at its start or end for a server that does not answer
DEFAULT_SERVER_PATIENCE = 30.0
# The settings that are trimmed in the environment, because libraries read some of them there.
PREFIXES = ("MLFLOW_", "STUDY_", "KERAS_")
NAMES = ("DATA_DIR", "KAGGLEHUB_CACHE", "PGPASSWORD")
# Spaces of no width: byte order mark, zero-width space, word joiner. `str.strip` keeps them.
ZERO_WIDTH = "\ufeff\u200b\u2060"


def read_setting(name: str) -> str:
    """Return an environment variable's value, trimmed, or `""` if it is not set.

    Raises:
        ConfigError: there is an invisible character within the value.
    """
    value = _trim(name, os.environ.get(name, ""))
    for number, character in enumerate(value, start=1):
        if unicodedata.category(character) == "Cc" or character in ZERO_WIDTH:
            # The value itself may hold a password
            raise ConfigError(
                f"{name} has an invisible character in it, {character!r} as its character "
                f"{number}: write the value anew"
            )
    return value


def read_folder(name: str) -> Path | None:
    """Return the folder that an environment variable names, or None if it is not set.

    Raises:
        ConfigError: there is an invisible character within the value, or it begins with the `~` of
            a user who does not exist.
    """
    value = read_setting(name)
    return _expand_home(name, value) if value else None


def _expand_home(name: str, path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(
            f"{name}={path} names the home folder of a user who does not exist: write the whole "
            "path"
        ) from None


def trim_environment() -> None:
    """Trim the settings in the environment, where libraries and children read them.

    A setting without a value is removed.
    """
    for name, text in list(os.environ.items()):
        if name.startswith(PREFIXES) or name in NAMES:
            value = _trim(name, text)
            if name == "KAGGLEHUB_CACHE" and value.startswith("~"):
                value = str(_expand_home(name, value))
            if value:
                os.environ[name] = value
            else:
                del os.environ[name]


def _trim(name: str, text: str) -> str:
    if name.endswith(("PASSWORD", "TOKEN")):
        return text.rstrip("\r\n")  # blanks and quotes may belong to a secret
    value = text.strip().strip(ZERO_WIDTH).strip()
    quoted = re.fullmatch(r"""(["'])((?:(?!\1).)*)\1""", value)
    return quoted[2].strip() if quoted else value


def tracking_uri() -> str:
    """Return `MLFLOW_TRACKING_URI`, or the SQLite file of the working directory.

    Raises:
        ConfigError: it names a database that cannot be meant.
    """
    return _read_address("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")


def storage_url() -> str:
    """Return `STUDY_STORAGE`, or the SQLite file of the working directory.

    Raises:
        ConfigError: it names a database that cannot be meant.
    """
    return _read_address("STUDY_STORAGE", "sqlite:///study.db")


def _read_address(name: str, default: str) -> str:
    """Return the address in a setting, with its scheme in lower case and `~` expanded."""
    address = read_setting(name) or default
    if match := re.match(r"[A-Za-z][\w+.-]*(?=://)", address):
        address = match[0].lower() + address[match.end() :]
    if address.startswith("postgres:"):
        raise ConfigError(f"{name} begins with postgres:// and must begin with postgresql://")
    if not address.startswith("sqlite"):
        return address
    parts = re.fullmatch(r"(sqlite(?:\+\w+)?)://(?:/([^?]*))?(\?.*)?", address)
    if parts is None:
        raise ConfigError(
            f"{name}={address} names no file: write three slashes before its path, as in {default}"
        )
    path = parts[2] or ""
    query = parts[3] or ""
    if path in ("", ":memory:") or "mode=memory" in query:
        raise ConfigError(
            f"{name}={address} is a database in memory, which is lost when the command ends: "
            f"name a file, as in {default}"
        )
    if path.startswith("~"):
        path = str(_expand_home(name, path))
    return f"{parts[1]}:///{path}{query}"


def get_sqlite_file(url: str) -> Path | None:
    """Return the path of the SQLite file at `url`, or None for another database.

    The path is absolute.
    """
    match = re.match(r"sqlite(?:\+\w+)?:///([^?]+)", url)
    return Path(match[1]).absolute() if match else None


def supports_concurrency(url: str) -> bool:
    """Return whether several processes may work on one study in the storage at `url`.

    Only PostgreSQL allows it.
    """
    return url.startswith("postgresql")


def heartbeat_seconds() -> int:
    """Return the seconds between two signs of life of a trial.

    It is `STUDY_HEARTBEAT`, or 15.

    Raises:
        ConfigError: it is not a whole number above 0.
    """
    text = read_setting("STUDY_HEARTBEAT") or "15"
    if not text.isdecimal() or int(text) == 0:
        raise ConfigError(f"STUDY_HEARTBEAT={text!r} is out of range: use seconds, 1 or more")
    return int(text)


def server_patience() -> float:
    """Return `STUDY_PATIENCE` in seconds, or `DEFAULT_SERVER_PATIENCE`.

    Raises:
        ConfigError: it is not a number, or below 0.
    """
    text = read_setting("STUDY_PATIENCE")
    try:
        seconds = float(text) if text else DEFAULT_SERVER_PATIENCE
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise ConfigError(f"STUDY_PATIENCE={text!r} is not a time: use seconds, such as 30")
    return seconds


def keras_backend() -> str:
    """Return `KERAS_BACKEND`, or `tensorflow`.

    The backend in the user's keras.json does not count, because other work may have set it.

    Raises:
        ConfigError: it is a backend that cannot train here.
    """
    backend = read_setting("KERAS_BACKEND") or "tensorflow"
    if backend not in BACKENDS:
        raise ConfigError(f"KERAS_BACKEND={backend} is not supported: use {' or '.join(BACKENDS)}")
    return backend


def check_keras_backend() -> None:
    """Check that the backend can train here, without importing it, which takes seconds.

    Raises:
        ConfigError: it is unknown or not installed.
    """
    backend = keras_backend()
    if importlib.util.find_spec(backend) is None:
        raise ConfigError(
            f"KERAS_BACKEND={backend}, but the package {backend} is not installed: "
            "install it, or set another backend (docs/offline.md)"
        )
