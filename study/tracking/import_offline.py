"""Make MLflow runs of the records of trials that were trained without MLflow."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from study.config.sweep import Sweep
from study.tracking import experiments
from study.tracking import queries
from study.tracking.end_runs import find_finished_run
from study.tracking.failures import mlflow_errors_as_study_errors
from study.tracking.journal import Journal
from study.tracking.parent_run import open_parent_run
from study.tracking.parent_run import StudySpec
from study.tracking.trial_run import add_source_tags
from study.tracking.writer import write_operation

RECORD_TAG = "record"  # a run's tag with the id of its record, by which the run is found again


@mlflow_errors_as_study_errors()
def import_records(client: MlflowClient, records: Sequence[Journal]) -> int:
    """Make a run of each record, unless the record's config has a finished run.

    The import may be killed and repeated: a run that it began is found and written once more.

    Args:
        client: the MLflow client.
        records: finished ones.

    Returns:
        The number of runs that were written.
    """
    parents: dict[str, Run] = {}
    sweeps = _collect_sweeps(records)
    count = 0
    parents_to_close: set[str] = set()  # ids
    try:
        for record in records:
            begin, *operations = record.operations
            imported_run = _find_imported_run(client, begin.body)
            if imported_run is not None:
                parents_to_close.add(imported_run.data.tags[MLFLOW_PARENT_RUN_ID])
            run = _find_or_create_run(client, begin.body, imported_run, parents, sweeps)
            if run is not None:
                for operation in operations:
                    write_operation(client, run.info.run_id, operation)
                count += 1
    finally:
        parents_to_close.update(parent.info.run_id for parent in parents.values())
        _close_parents(client, parents_to_close)
    return count


def _close_parents(client: MlflowClient, run_ids: Iterable[str]) -> None:
    """End parent runs that this import, or an earlier one that was killed, has left running."""
    for run_id in run_ids:
        if queries.is_running(client, run_id):
            # Not FINISHED: only `study.grid` can tell that a study is complete.
            client.set_terminated(run_id, "KILLED")


def _collect_sweeps(records: Sequence[Journal]) -> dict[str, Sweep]:
    """Return the sweeps that the records are of, by the names of their studies.

    Several commands may have swept the values of one study.
    """
    bodies = [record.operations[0].body for record in records]
    sweeps: dict[str, Sweep] = {}
    for body in sorted(bodies, key=lambda body: body["time"]):
        study = body["study"]
        if (text := study.get("sweep")) is not None:
            sweep = Sweep.from_json(text)
            earlier_sweep = sweeps.get(study["name"])
            sweeps[study["name"]] = sweep if earlier_sweep is None else earlier_sweep.extend(sweep)
    return sweeps


def _find_imported_run(client: MlflowClient, begin: Mapping[str, Any]) -> Run | None:
    """Return the run that an import has begun for the record with this first body, or None."""
    return next(iter(queries.search_runs_by_tags(client, {RECORD_TAG: begin["id"]})), None)


def _find_or_create_run(
    client: MlflowClient,
    begin: Mapping[str, Any],
    run: Run | None,
    parents: dict[str, Run],
    sweeps: Mapping[str, Sweep],
) -> Run | None:
    """Return the run to write a record to, or None if there is nothing to write.

    The run is new, or an earlier import has started it.

    Args:
        client: the MLflow client.
        begin: the body of the record's first operation.
        run: the one that an earlier import has started.
        parents: the parent runs opened so far, by the names of their studies; a new one is added.
        sweeps: by the names of their studies.
    """
    if run is not None and run.info.status == "FINISHED":
        return None
    if run is None and find_finished_run(client, begin["fingerprint"]) is not None:
        return None
    dataset = begin["dataset"]
    study = begin["study"]
    name = study["name"]
    if (parent := parents.get(name)) is None:
        spec = StudySpec(dataset, name, study["title"], study["params"], sweeps.get(name))
        parent = open_parent_run(client, spec)
        parents[name] = parent
    if run is not None:
        return run
    tags = {name: begin[name] for name in ("fingerprint", "machine")}
    tags |= {RECORD_TAG: begin["id"], MLFLOW_PARENT_RUN_ID: parent.info.run_id}
    experiment = experiments.experiment_id(client, dataset)
    return client.create_run(experiment, begin["time"], add_source_tags(tags), begin["name"])
