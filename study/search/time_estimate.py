"""Estimate from finished runs how long the rest of a grid takes."""

from collections.abc import Collection
from statistics import fmean
from statistics import median

from mlflow.tracking import MlflowClient

from study.common.progress import format_duration
from study.config.trial_config import TrialConfig
from study.tracking import queries

# Runs on the same images take about equally long if these fields are equal.
DECISIVE_FIELDS = ("backbone", "image_size", "epochs", "limit")
Key = tuple[str, ...]  # their values as texts


def estimate_time(
    client: MlflowClient,
    configs: Collection[TrialConfig],
    digest: str,
    *,
    workers: int,
    epochs: int = 0,
) -> str:
    """Return a sentence on how long some configs take to train.

    Args:
        client: the MLflow client.
        configs: to train, of one data set.
        digest: the digest of the data.
        workers: how many train at once.
        epochs: after which each trial is paused; 0 trains to the end.
    """
    durations = _read_durations(client, digest)
    keys = [tuple(str(getattr(config, name)) for name in DECISIVE_FIELDS) for config in configs]
    if not all(key in durations for key in keys):
        return "time left: known after the first trial"
    medians = {key: median(durations[key]) for key in keys}
    share = fmean(min(1.0, epochs / config.epochs) for config in configs) if epochs else 1.0
    seconds = sum(medians[key] for key in keys) * share / workers
    count = sum(len(durations[key]) for key in medians)
    noun = "a finished run" if count == 1 else f"{count} finished runs"
    duration = format_duration(seconds)
    return f"about {duration} for the remaining {len(keys)}, judging by {noun} like them"


def extrapolate_time(elapsed: float, trained: int, in_training: int, remaining: int) -> float:
    """Extrapolate the seconds until all trials have ended from those that have.

    Args:
        elapsed: seconds since the first trial began.
        trained: how many have ended since.
        in_training: how many are under way. Each counts as half done.
        remaining: how many have not ended, those under way included.
    """
    return elapsed * (remaining - in_training / 2) / (trained + in_training / 2)


def _read_durations(client: MlflowClient, digest: str) -> dict[Key, list[float]]:
    """Return the seconds that the finished runs of a data set took."""
    durations: dict[Key, list[float]] = {}
    tags = {"finished": "true", "data_digest": digest}
    for run in queries.search_runs_by_tags(client, tags):
        seconds = run.data.metrics.get("total_seconds")
        if seconds is not None:
            key = tuple(run.data.params.get(name, "") for name in DECISIVE_FIELDS)
            durations.setdefault(key, []).append(seconds)
    return durations
