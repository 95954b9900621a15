"""One claimed config in training, and what becomes of the claim when that goes wrong."""

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

from study import server
from study import tracking
from study.claims import Claims
from study.claims import MAX_DEATHS
from study.config import StudyError
from study.launch import OutOfMemory
from study.launch import WorkerDied
from study.operations import Operation
from study.options import Pruned

OUTAGE = 1800.0  # s that a driver waits for an MLflow server in the middle of a study
MAX_OUT_OF_MEMORY = 2  # times at the same epoch; the second without the same neighbours, perhaps
T = TypeVar("T")


class Failed(StudyError):
    """A trial failed by itself; Optuna knows."""


class Lost(StudyError):
    """A trial's process or server went away; its config is there to be claimed again."""


def attempt(claims: Claims, trial: optuna.Trial, client: MlflowClient, train: Callable[[], T]) -> T:
    """`train()` for a claimed trial, whose outcome the caller tells.

    Raises:
        Failed, Lost: see there.
        Pruned: whoever watches the trial ended it; the caller tells.
        KeyboardInterrupt: the worker was interrupted; the claim is given back.
        TrackingError: MLflow was away for longer than `OUTAGE`.
    """
    with claims.alive(trial):
        try:
            return train()
        except Pruned:
            raise
        except (WorkerDied, server.TrackingError) as error:
            server.wait_for_server(OUTAGE)
            epochs = tracking.epochs_begun(client, trial.user_attrs["fingerprint"])
            limit = MAX_OUT_OF_MEMORY if isinstance(error, OutOfMemory) else MAX_DEATHS
            again = claims.lose(trial, epochs, reason_of(error), limit)
            raise (Lost if again else Failed)(reason_of(error)) from error
        except Exception as error:  # one config that fails does not end a study
            claims.fail(trial, reason_of(error))
            raise Failed(reason_of(error)) from error


def reason_of(error: Exception) -> str:
    """The first line of an error, with its type if it is not one of ours."""
    reason = (str(error).splitlines() or [""])[0]
    return reason if isinstance(error, StudyError) else f"{type(error).__name__}: {reason}"


@contextlib.contextmanager
def parent_of(
    claims: Claims,
    client: MlflowClient,
    dataset: str,
    title: str,
    params: Mapping[str, Any],
    summary: Callable[[Run], Collection[Operation]],
) -> Iterator[str]:
    """The MLflow run above a study's trials, one for all who work on it; settles what is below it.

    Runs that a dead process left RUNNING end KILLED; they go on when their config is claimed. At
    the end, however it comes, what `summary` says of the study is written to the run.
    """

    def begin() -> Run:
        run = tracking.parent_run(client, dataset, claims.storage.name, title, params)
        tracking.settle(client, run.info.run_id, claims.taken())
        return run

    with tracking.ending(client, claims.in_turn(begin), summary) as run_id:
        yield run_id
