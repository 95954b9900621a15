"""Select the finished runs that belong in a table."""

from collections.abc import Iterable
from collections.abc import Sequence

from pipelines.runs.finished_run import FinishedRun
from pipelines.runs.finished_run import NoRunsError
from pipelines.runs.sweeps import LoggedSweep
from study.variants import find_variant


def select_table_runs(
    runs: Iterable[FinishedRun], sweeps: Sequence[LoggedSweep] = ()
) -> list[FinishedRun]:
    """Select the runs that belong in a table.

    The runs of a search belong only if they are of one of the seven variants or of a sweep.

    Raises:
        NoRunsError: there are none.
    """
    table_runs = [
        run
        for run in runs
        if run.role != "search"
        or find_variant(run.config)
        or any(sweep.find_cell(run) for sweep in sweeps)
    ]
    if not table_runs:
        raise NoRunsError(
            "MLflow has only runs of searches: train the variants with python -m study.grid"
        )
    return table_runs
