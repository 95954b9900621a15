"""Train a claimed config, and release or close its claim when that goes wrong."""

import contextlib
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any
from typing import TypeVar

import optuna
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from study.common.errors import ClaimedTrialFailed
from study.common.errors import first_line
from study.common.errors import OutOfMemory
from study.common.errors import Pruned
from study.common.errors import StudyError
from study.common.errors import WorkerDied
from study.common.errors import WorkerLost
from study.search.claims import Claims
from study.search.claims import MAX_DEATHS
from study.tracking import connection
from study.tracking import queries
from study.tracking.operations import Operation
from study.tracking.parent_run import closing_parent_run
from study.tracking.parent_run import kill_orphaned_runs
from study.tracking.parent_run import open_parent_run

MAX_OUTAGE_SECONDS = 1800.0  # s that a driver waits for an MLflow server in the middle of a study
MAX_OUT_OF_MEMORY = 2  # times at the same epoch; the second time, other processes may have left
T = TypeVar("T")


def run_claimed(
    claims: Claims, trial: optuna.Trial, client: MlflowClient, train: Callable[[], T]
) -> T:
    """Run `train` for a claimed trial.

    The caller reports the outcome to Optuna.

    Raises:
        Failed: the trial failed by itself. Optuna knows.
        Lost: its process or server went away. Its config can be claimed again.
        Pruned: the trial's watch ended it. The caller reports that to Optuna.
        KeyboardInterrupt: the worker was interrupted. The claim is released.
        TrackingError: MLflow was away for longer than `MAX_OUTAGE_SECONDS`.
    """
    with claims.alive(trial):
        try:
            return train()
        except Pruned:
            raise
        except (WorkerDied, connection.TrackingError) as error:
            connection.wait_for_server(MAX_OUTAGE_SECONDS)
            epochs = queries.count_logged_epochs(client, trial.user_attrs["fingerprint"])
            limit = MAX_OUT_OF_MEMORY if isinstance(error, OutOfMemory) else MAX_DEATHS
            may_retry = claims.mark_orphaned(trial, epochs, describe_failure(error), limit)
            if may_retry:
                raise WorkerLost(describe_failure(error)) from error
            raise ClaimedTrialFailed(describe_failure(error)) from error
        except Exception as error:  # one failing config does not end a study
            claims.fail(trial, describe_failure(error))
            raise ClaimedTrialFailed(describe_failure(error)) from error


def describe_failure(error: Exception) -> str:
    """Return the first line of an error, with its type if it is not one of ours."""
    reason = first_line(error)
    return reason if isinstance(error, StudyError) else f"{type(error).__name__}: {reason}"


@contextlib.contextmanager
def study_parent_run(
    claims: Claims,
    client: MlflowClient,
    dataset: str,
    title: str,
    params: Mapping[str, Any],
    summary: Callable[[Run], Collection[Operation]],
) -> Iterator[str]:
    """Open the MLflow run above a study's trials, and close it after the block.

    All processes that work on the study share this run. Runs below it that a dead process left
    RUNNING are set to KILLED. They go on when their config is claimed again. However the block
    ends, the operations that `summary` returns are written to the run.
    """

    def open_run() -> Run:
        run = open_parent_run(client, dataset, claims.storage.name, title, params)
        kill_orphaned_runs(client, run.info.run_id, claims.running_fingerprints())
        return run

    with closing_parent_run(client, claims.under_lock(open_run), summary) as run_id:
        yield run_id
