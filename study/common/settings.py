"""The settings from environment variables or `.env`, as listed in `.env.example`."""

import importlib.util
import os

from study.common.errors import ConfigError

BACKENDS = ("tensorflow", "jax")
PATIENCE = 30.0  # seconds that a trial waits at its end for a server that does not answer


def tracking_uri() -> str:
    """Return `MLFLOW_TRACKING_URI`, or the SQLite file of the working directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"


def storage_url() -> str:
    """Return `STUDY_STORAGE`, or the SQLite file of the working directory."""
    return os.environ.get("STUDY_STORAGE") or "sqlite:///study.db"


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
    text = os.environ.get("STUDY_HEARTBEAT") or "15"
    if not text.isdecimal() or int(text) == 0:
        raise ConfigError(f"STUDY_HEARTBEAT={text!r} is out of range: use seconds, 1 or more")
    return int(text)


def server_patience() -> float:
    """Return `STUDY_PATIENCE` in seconds, or `PATIENCE`.

    Raises:
        ConfigError: it is not a number, or below 0.
    """
    text = os.environ.get("STUDY_PATIENCE", "").strip()
    try:
        seconds = float(text) if text else PATIENCE
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise ConfigError(f"STUDY_PATIENCE={text!r} is no time: write seconds, such as 30")
    return seconds


def keras_backend() -> str:
    """Return `KERAS_BACKEND`, or `tensorflow`.

    The backend in the user's keras.json does not count, because other work may have set it.

    Raises:
        ConfigError: it is a backend that cannot train here.
    """
    backend = os.environ.get("KERAS_BACKEND", "").strip() or "tensorflow"
    if backend not in BACKENDS:
        raise ConfigError(f"KERAS_BACKEND={backend} is not supported: use {' or '.join(BACKENDS)}")
    return backend


def check_keras_backend() -> None:
    """Check that the backend can train on this machine, without the seconds of its import.

    Raises:
        ConfigError: it is unknown or not installed.
    """
    backend = keras_backend()
    if importlib.util.find_spec(backend) is None:
        raise ConfigError(
            f"KERAS_BACKEND={backend}, but the package {backend} is not installed: "
            "install it, or set another backend (docs/offline.md)"
        )
