"""Train a claimed config, and release or close its claim when that goes wrong."""

import contextlib
import threading
from collections.abc import Callable
from collections.abc import Iterator
from typing import TypeVar

import optuna
from mlflow.tracking import MlflowClient

from study.common.errors import first_line
from study.common.errors import OutOfMemory
from study.common.errors import Pruned
from study.common.errors import StudyError
from study.common.errors import TrackingError
from study.common.errors import TrackingRefused
from study.common.errors import TrialFailed
from study.common.errors import WorkerDied
from study.common.errors import WorkerLost
from study.common.progress import Progress
from study.search.claims import Claims
from study.search.claims import MAX_DEATHS
from study.search.heartbeats import grace_seconds
from study.tracking import connection
from study.tracking import outages
from study.tracking import queries

MAX_OUTAGE_SECONDS = 1800.0  # seconds to wait for an MLflow server in the middle of a study
MAX_OUT_OF_MEMORY = 2  # times at the same epoch; the second time, other processes may have left
T = TypeVar("T")


def run_claimed(
    claims: Claims,
    trial: optuna.Trial,
    client: MlflowClient,
    train: Callable[[], T],
    cancel: Callable[[], None],
) -> T:
    """Run `train` for a claimed trial.

    The caller reports the outcome to Optuna.

    Args:
        claims: of the study.
        trial: that is claimed.
        client: the MLflow client.
        train: trains the trial's config.
        cancel: makes `train` raise WorkerDied. Called if the claim is lost, because the result
            would not count.

    Raises:
        TrialFailed: the training failed. This is recorded in Optuna.
        StudyError: every trial would fail, for example because weights are missing, the split is
            impossible, or a server refuses the login. The claim is released.
        WorkerLost: its process, its server or its claim went away. Its config can be claimed again.
        Pruned: the trial's watch ended it. The caller reports that to Optuna.
        KeyboardInterrupt: the worker was interrupted. The claim is released.
        TrackingError: MLflow was away for longer than `MAX_OUTAGE_SECONDS`.
    """
    lost = threading.Event()

    def stop_training() -> None:
        lost.set()
        cancel()

    with claims.alive(trial, stop_training), _release_or_close(claims, trial, client, lost):
        outcome = train()
        _check_claim(lost)
        return outcome


@contextlib.contextmanager
def _release_or_close(
    claims: Claims, trial: optuna.Trial, client: MlflowClient, lost: threading.Event
) -> Iterator[None]:
    """Release or close a claim if the block raises an error, and raise as `run_claimed` does."""
    try:
        yield
    except (Pruned, WorkerLost):
        raise
    except TrackingRefused:
        claims.release(trial)
        raise
    except (WorkerDied, TrackingError) as error:
        _check_claim(lost)
        may_retry = _mark_orphaned(claims, trial, client, error)
        kind = WorkerLost if may_retry else TrialFailed
        raise kind(describe_failure(error)) from error
    except TrialFailed as error:
        claims.fail(trial, describe_failure(error))
        raise
    except StudyError:
        claims.release(trial)
        raise
    except Exception as error:  # one failing config does not end a study
        claims.fail(trial, describe_failure(error))
        raise TrialFailed(describe_failure(error)) from error


def _check_claim(lost: threading.Event) -> None:
    """Raise a WorkerLost if a claim was lost."""
    if lost.is_set():
        raise WorkerLost(f"its claim was lost, as it gave no sign of life for {grace_seconds()} s")


def _mark_orphaned(
    claims: Claims, trial: optuna.Trial, client: MlflowClient, error: Exception
) -> bool:
    """Mark a trial as orphaned, and return whether its config may be tried again."""
    wait_for_mlflow()
    epochs = queries.count_logged_epochs(client, trial.user_attrs["fingerprint"])
    limit = MAX_OUT_OF_MEMORY if isinstance(error, OutOfMemory) else MAX_DEATHS
    return claims.mark_orphaned(trial, epochs, describe_failure(error), limit)


def wait_for_mlflow() -> None:
    """Wait until MLflow answers, and print a line if it does not at once.

    Raises:
        TrackingError: it did not answer for `MAX_OUTAGE_SECONDS`, or refuses.
    """
    try:
        connection.connect()
    except TrackingRefused:
        raise
    except TrackingError as error:
        minutes = f"{MAX_OUTAGE_SECONDS / 60:.0f} minutes"
        Progress().say(f"{first_line(error)}; waiting for it, for {minutes} at most")
        outages.wait_for_server(MAX_OUTAGE_SECONDS)


def describe_failure(error: Exception) -> str:
    """Return the first line of an error, with its type if it is not one of ours."""
    reason = first_line(error)
    return reason if isinstance(error, StudyError) else f"{type(error).__name__}: {reason}"
