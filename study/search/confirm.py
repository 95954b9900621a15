"""Train the winner of a search with fresh seeds, and report and register it."""

import dataclasses
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from statistics import fmean

from mlflow.tracking import MlflowClient
from optuna.trial import TrialState

from study.common.errors import StudyError
from study.common.progress import Progress
from study.config.sweep import Sweep
from study.config.trial_config import TrialConfig
from study.job import Options
from study.job import Outcome
from study.search.claims import Claims
from study.search.grid_plan import GridPlan
from study.search.grid_scheduler import GridScheduler
from study.search.grid_space import build_grid
from study.search.search_scheduler import Search
from study.search.storage import Storage
from study.serving.chance import explain_no_better_than_chance
from study.serving.registry import register_model
from study.variants import format_command
from study.workers.pool import run_workers
from study.workers.pool import Worker


def confirm_best(
    search: Search, workers: Sequence[Worker], seed_count: int, *, log_model: bool
) -> dict[TrialConfig, Outcome]:
    """Train the best config of a search with `seed_count` fresh seeds.

    Returns:
        The outcomes by config; none if there are no seeds.

    Raises:
        StudyError: no trial of the search finished, or training failed.
    """
    best = search.best()
    if best is None:
        raise StudyError("no trial finished: raise --trials, or use --pruner none")
    config = search.space.config(best.params)
    first_fresh_seed = config.seed + search.seeds
    seeds = [first_fresh_seed + i for i in range(seed_count)]
    next_config = config.replace(seed=first_fresh_seed + seed_count)
    search.progress.say(f"to train it with one more fresh seed: {format_command(next_config)}")
    if not seeds:
        return {}
    name = f"{search.claims.storage.name}-confirm-{best.user_attrs['fingerprint'][:8]}"
    options = dataclasses.replace(search.options, log_model=log_model)
    confirmed = train_with_seeds(
        name, config, seeds, search.digest, search.client, workers, options
    )
    print_accuracies(confirmed.values(), search.progress)
    return confirmed


def train_with_seeds(
    name: str,
    config: TrialConfig,
    seeds: Sequence[int],
    digest: str,
    client: MlflowClient,
    workers: Sequence[Worker],
    options: Options,
) -> dict[TrialConfig, Outcome]:
    """Train a config once with each seed.

    The processes that work on the search divide the seeds among themselves. Finished trainings are
    looked up, not repeated.

    Args:
        name: of the Optuna study by which the processes divide the seeds.
        config: the winner.
        seeds: that the search has not seen.
        digest: the digest of the data.
        client: the MLflow client.
        workers: to train with.
        options: of the search.

    Returns:
        The outcome of each training, by the config with its seed.

    Raises:
        StudyError: training failed.
    """
    options = dataclasses.replace(
        options, label="[confirm] ", role="confirm", hide_test_metrics=True
    )
    grid = build_grid(name, GridPlan(config, Sweep({}, {}), seeds), digest)
    storage = Storage(name)
    with storage.lock_for_process():
        scheduler = GridScheduler(grid, Claims(storage, "maximize"), client, options)
        run_workers(workers, scheduler.step)
    for cell, reason in scheduler.failed.items():
        raise StudyError(f"{cell} failed: {reason}\nRepeat the command to try it again.")
    return {config: scheduler.finished[cell] for cell, config in grid.configs.items()}


def print_accuracies(outcomes: Collection[Outcome], progress: Progress) -> None:
    """Print the validation and test accuracy of the confirming runs.

    If there are several, their mean comes first.
    """
    for name in ("val_accuracy", "test_accuracy"):
        values = [getattr(outcome, name) for outcome in outcomes]
        listing = ", ".join(f"{value:.4f}" for value in values)
        title = _format_metric(name)
        if len(values) == 1:
            progress.say(f"{title} of a fresh seed: {listing}")
        else:
            mean = sum(values) / len(values)
            progress.say(f"{title} of {len(values)} fresh seeds: mean {mean:.4f} ({listing})")


def find_doubts(search: Search, confirmed: Mapping[TrialConfig, Outcome]) -> list[str]:
    """Return why the win of a search did not repeat with fresh seeds.

    It did not if the confirming runs are worse on average than the config with which the search
    started, or no better than chance.

    Returns:
        A clause for each reason; none if there are no confirming runs.
    """
    if not confirmed:
        return []
    outcomes = confirmed.values()
    value = fmean(getattr(outcome, search.metric) for outcome in outcomes)
    start_value = _find_start_value(search)
    doubts = []
    is_lower_better = search.metric == "val_loss"
    if start_value is not None and (
        value > start_value if is_lower_better else value < start_value
    ):
        doubts.append(
            f"{_format_metric(search.metric)} {value:.4f} with fresh seeds is worse than "
            f"{start_value:.4f} of the config with which the search started (variant 1)"
        )
    if reason := explain_no_better_than_chance(outcomes):
        doubts.append(f"with fresh seeds, the {reason}")
    return doubts


def _find_start_value(search: Search) -> float | None:
    """Return the value of variant 1 in a search.

    Returns:
        None if it won, or if it did not finish.
    """
    key = search.key(search.space.starts()[0])
    trial = search.claims.finished_by_fingerprint().get(key)
    best = search.best()
    is_winner = best is not None and best.user_attrs["fingerprint"] == key
    if trial is None or trial.state != TrialState.COMPLETE or is_winner:
        return None
    return trial.value


def _format_metric(metric: str) -> str:
    return metric.replace("val_", "validation ").replace("_", " ").replace("auc", "AUC")


def register_best(
    confirmed: Mapping[TrialConfig, Outcome],
    client: MlflowClient,
    progress: Progress,
    *,
    name: str | None,
) -> None:
    """Register the model of the confirming run that is best on validation.

    Args:
        confirmed: the confirming runs.
        client: the MLflow client.
        progress: prints what was done.
        name: the model's name. By default, that of the data set.

    Raises:
        StudyError: that run was recorded without its model.
    """
    config = max(confirmed, key=lambda config: confirmed[config].val_accuracy)
    training = (
        "the only training with a fresh seed"
        if len(confirmed) == 1
        else f"the best (by validation accuracy) of {len(confirmed)} trainings with fresh seeds"
    )
    reason = f"{training} of the config that won a search"
    register_model(client, confirmed[config].run_id, config, reason, progress, name=name)
