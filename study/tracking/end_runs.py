"""End runs in place of their own processes, which were killed or seem so."""

from collections.abc import Iterable

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from study.tracking import queries
from study.tracking.failures import mlflow_errors_as_study_errors


def find_finished_run(client: MlflowClient, fingerprint: str) -> Run | None:
    """Return the first complete run of a config on its data, or None."""
    return choose_finished_run(client, queries.find_runs(client, fingerprint))


def choose_finished_run(client: MlflowClient, runs: Iterable[Run]) -> Run | None:
    """Return the first complete one of a config's runs, or None.

    A run whose process was killed after the tag `finished` and before the run's end is ended here.
    """
    run = queries.choose_complete_run(runs)
    if run is not None and run.info.status != "FINISHED":
        _finish_run(client, run.info.run_id)
    return run


@mlflow_errors_as_study_errors()
def kill_run(client: MlflowClient, run_id: str) -> None:
    """Set a run to KILLED, unless its process finishes it meanwhile.

    A process that was thought dead may tag its run as finished and end it after the caller has
    read it. It sets the tag first, so a run without the tag after the kill will still be ended by
    its own process.
    """
    client.set_terminated(run_id, "KILLED")
    run = client.get_run(run_id)
    if run.data.tags.get("finished") == "true":
        _finish_run(client, run.info.run_id)


@mlflow_errors_as_study_errors()
def _finish_run(client: MlflowClient, run_id: str) -> None:
    client.set_terminated(run_id, "FINISHED")
