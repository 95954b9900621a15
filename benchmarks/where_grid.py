"""Of `benchmarks.where`: the parts of a grid, by what its record says of them."""

import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from benchmarks.search import command
from study.config import TrialConfig
from study.search.grid_plan import BY_VARIANT
from study.tracking import queries
from study.variants import format_flags


def grid_parts(base: TrialConfig) -> dict[str, float]:
    """Seconds of a grid's parts: the real command, once to read the images, and once timed."""
    flags = format_flags(base, leave_out=BY_VARIANT)
    with tempfile.TemporaryDirectory() as name:
        cache, once, timed = (Path(name) / part for part in ("cache", "once", "timed"))
        for folder in (once, timed):
            folder.mkdir()
        few = ["--epochs", "1", "--hidden-layers", "0", "--seed", "1"]
        command("study.train", [*flags, *few], once, cache)
        start = time.time()
        command("study.grid", flags, timed, cache)
        end = time.time()
        client = MlflowClient(f"sqlite:///{timed}/mlflow.db")
        return _parts(client, queries.search_runs(client, "tags.finished = 'true'"), start, end)


def _parts(client: MlflowClient, runs: list[Run], start: float, end: float) -> dict[str, float]:
    spans = [(run.info.start_time / 1000, run.info.end_time / 1000) for run in runs]
    epochs = [_epochs(client, run) for run in runs]
    beside = [b - a - of_epochs for (a, b), of_epochs in zip(spans, epochs, strict=True)]
    return {
        "imports, databases made, worker begun": spans[0][0] - start,
        "epochs": sum(epochs),
        "the first trial beside them: imports, tracing, files": beside[0],
        "the other trials beside them": sum(beside[1:]),
        "from one to the next": sum(b[0] - a[1] for a, b in pairwise(spans)),
        "after the last": end - spans[-1][1],
    }


def _epochs(client: MlflowClient, run: Run) -> float:
    """Seconds of all epochs as if none traced: by the median of those after the first."""
    points = client.get_metric_history(run.info.run_id, "epoch_seconds")
    seconds = [point.value for point in sorted(points, key=lambda point: point.step)]
    return len(seconds) * statistics.median(seconds[1:] or seconds)
