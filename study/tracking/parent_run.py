"""The MLflow run above the trials of a study: opened, settled after a crash, closed."""

import contextlib
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from mlflow.entities import Param
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from study.common.version import code_version
from study.tracking import ui_links
from study.tracking.connection import talking
from study.tracking.operations import Operation
from study.tracking.outbox import Outbox
from study.tracking.queries import experiment_id
from study.tracking.queries import search
from study.tracking.queries import terminate
from study.tracking.spool import deliver
from study.tracking.spool import ends


@talking()
def open_parent_run(
    client: MlflowClient, dataset: str, study: str, title: str, params: Mapping[str, Any]
) -> Run:
    """The run under which a study's trials stand, found or made; RUNNING from now on.

    Two processes at once may make two: hold a lock.
    """
    deliver(client)  # how it ended last time may still be waiting
    found = search(client, f"tags.study = '{study}'")
    if found:
        run = found[0]
        client.update_run(run.info.run_id, status="RUNNING")
    else:
        tags = {"study": study, "dataset": dataset, "code_version": code_version()}
        run = client.create_run(experiment_id(client, dataset), tags=tags, run_name=title)
    there = run.data.params
    new = [Param(name, str(value)) for name, value in params.items() if name not in there]
    client.log_batch(run.info.run_id, params=new)
    client.set_experiment_tag(run.info.experiment_id, ui_links.VIEW, ui_links.view())
    return run


@contextlib.contextmanager
def closing_parent_run(
    client: MlflowClient, run: Run, summary: Callable[[Run], Collection[Operation]]
) -> Iterator[str]:
    """Ends a parent run by how the block is left: FINISHED, KILLED if interrupted, or FAILED.

    What `summary` says of the study then is written before. If the server does not answer, that
    waits on this machine as trials' records do.
    """
    outbox = Outbox(client, run.info.run_id)
    with ends(outbox):
        try:
            yield run.info.run_id
        finally:
            for operation in summary(run):
                outbox.put(operation)


def kill_orphaned_runs(client: MlflowClient, parent: str, alive: Collection[str]) -> int:
    """Set to KILLED the runs under a parent that count as running but are not; how many.

    Left alone are complete runs, and those whose fingerprint is in `alive`. They stay resumable.
    """
    query = f"tags.mlflow.parentRunId = '{parent}' and attributes.status = 'RUNNING'"
    dead = [
        run
        for run in search(client, query)
        if "finished" not in run.data.tags and run.data.tags.get("fingerprint") not in alive
    ]
    for run in dead:
        terminate(client, run, "KILLED")
    return len(dead)


def is_complete(client: MlflowClient, study: str) -> bool:
    """Whether the parent run of a study is there and ended well."""
    return any(run.info.status == "FINISHED" for run in search(client, f"tags.study = '{study}'"))
