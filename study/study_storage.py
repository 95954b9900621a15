"""Where Optuna keeps a study, and how one process at a time works on it."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from typing import Any
from typing import Literal

import filelock
import optuna
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from study.config import StudyError
from study.data import cache_dir
from study.tracking import shown


def storage_url() -> str:
    """`STUDY_STORAGE`, or the SQLite file of the working directory."""
    return os.environ.get("STUDY_STORAGE") or "sqlite:///study.db"


@contextlib.contextmanager
def held(name: str) -> Iterator[None]:
    """A study, held against other processes on this machine.

    Raises:
        StudyError: another process has it.
    """
    folder = cache_dir() / "grids"
    folder.mkdir(parents=True, exist_ok=True)
    mark = hashlib.sha256(name.encode()).hexdigest()[:16]
    try:
        with filelock.FileLock(folder / f"{mark}.lock", timeout=0):
            yield
    except filelock.Timeout:
        raise StudyError(f"another process runs {name}: wait for it to end") from None


def open_study(name: str, direction: Literal["minimize", "maximize"]) -> optuna.Study:
    """The Optuna study of that name, made if need be.

    Raises:
        StudyError: the storage does not answer.
    """
    storage = storage_url()
    try:
        return optuna.create_study(
            study_name=name, storage=storage, direction=direction, load_if_exists=True
        )
    except (SQLAlchemyError, ImportError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StudyError(
            f"no Optuna storage at {shown(storage)}: {reason}\n"
            "Mend STUDY_STORAGE, or unset it to use study.db in this folder."
        ) from error


def abandon(study: optuna.Study) -> list[dict[str, Any]]:
    """Close the trials that a killed process left open; their params."""
    left = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in left:
        study.tell(trial.number, state=TrialState.FAIL)
    return [dict(trial.params) for trial in left]
