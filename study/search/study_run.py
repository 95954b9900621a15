"""Open the MLflow run above the trials of a study."""

import contextlib
from collections.abc import Iterator

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from study.search.claims import Claims
from study.search.trial_states import collect_finished_run_ids
from study.search.trial_states import collect_training_keys
from study.tracking.parent_run import closing_parent_run
from study.tracking.parent_run import kill_orphaned_runs
from study.tracking.parent_run import start_parent_run
from study.tracking.parent_run import StudyRun
from study.tracking.parent_run import StudySpec
from study.tracking.spool import flush_spool


@contextlib.contextmanager
def open_study_run(claims: Claims, client: MlflowClient, spec: StudySpec) -> Iterator[StudyRun]:
    """Open a study's parent run, and close it after the block.

    Runs below it that a dead process left RUNNING are set to KILLED. They continue when their
    config is claimed again. A run whose end waits on another machine is left alone.
    """

    def open_run() -> Run:
        run = start_parent_run(client, spec)
        trials = claims.trials()
        alive_keys = collect_training_keys(trials)
        kill_orphaned_runs(client, run.info.run_id, alive_keys, collect_finished_run_ids(trials))
        return run

    # Before the lock, which does not last for as long as it may take to upload models.
    flush_spool(client)
    with closing_parent_run(client, claims.under_lock(open_run)) as study_run:
        yield study_run
