"""Read by which validation metric a search judges its configs."""

from collections.abc import Iterable

from study.tracking.connection import connect
from study.tracking.queries import search_runs

PREFIX = "best_"  # of the parent run's metric with the best value, as `best_val_auc`


def read_objectives(parents: Iterable[str]) -> dict[str, str]:
    """Return the metric of each search whose parent run names one, by the parent's run ID.

    It is `val_accuracy`, `val_balanced_accuracy`, `val_auc` or `val_loss`.

    Raises:
        TrackingError: MLflow cannot be read.
    """
    wanted = set(parents)
    return {
        run.info.run_id: name.removeprefix(PREFIX)
        for run in search_runs(connect(), "tags.study LIKE 'search-%'")
        if run.info.run_id in wanted
        for name in run.data.metrics
        if name.startswith(f"{PREFIX}val_")
    }
