"""Records of trials that were trained without MLflow, made runs of it."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from study.tracking import queries
from study.tracking.connection import talking
from study.tracking.journal import Record
from study.tracking.parent_run import open_parent_run
from study.tracking.writer import deliver

RECORD = "record"  # the tag of a run by which its record is found again


@talking()
def bring(client: MlflowClient, records: Sequence[Record]) -> int:
    """Make a run of each finished record, unless its config has a finished one; how many.

    It may be killed and repeated: what it has begun is found, and written once more.
    """
    parents: dict[str, Run] = {}
    count = 0
    for record in records:
        begin, *operations = record.operations
        run = _run_for(client, begin.body, parents)
        if run is not None:
            for operation in operations:
                deliver(client, run.info.run_id, operation)
            count += 1
    for parent in parents.values():  # that the study is complete is for `study.grid` to say
        client.set_terminated(parent.info.run_id, "KILLED")
    return count


def _run_for(client: MlflowClient, begin: Mapping[str, Any], parents: dict[str, Run]) -> Run | None:
    """The run to write a record to, begun earlier or new; None if there is nothing to write."""
    begun = queries.search(client, f"tags.{RECORD} = '{begin['id']}'")
    if begun:
        return begun[0] if begun[0].info.status != "FINISHED" else None
    if queries.find_finished(client, begin["fingerprint"]) is not None:
        return None
    dataset, study = begin["dataset"], begin["study"]
    if (parent := parents.get(study["name"])) is None:
        parent = open_parent_run(client, dataset, study["name"], study["title"], study["params"])
        parents[study["name"]] = parent
    tags = {name: begin[name] for name in ("fingerprint", "machine")}
    tags |= {RECORD: begin["id"], MLFLOW_PARENT_RUN_ID: parent.info.run_id}
    place = queries.experiment_id(client, dataset)
    known = resolve_tags(tags)
    known.pop(MLFLOW_GIT_COMMIT, None)  # of this checkout, not of the one that trained
    return client.create_run(place, begin["time"], known, begin["name"])
