"""Train a search's winner and its start with fresh seeds, and report and register the winner."""

import dataclasses
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import field
from statistics import fmean

from mlflow.tracking import MlflowClient

from study.common.errors import StudyError
from study.common.progress import Progress
from study.common.words import name_metric
from study.config.fingerprint import fingerprint
from study.config.sweep import Sweep
from study.config.trial_config import TrialConfig
from study.job import Options
from study.job import Outcome
from study.search.claims import Claims
from study.search.grid_plan import GridPlan
from study.search.grid_scheduler import GridScheduler
from study.search.grid_space import build_grid
from study.search.search_scheduler import SearchScheduler
from study.search.storage import Storage
from study.serving.chance import explain_no_better_than_chance
from study.serving.registry import register_model
from study.variants import format_command
from study.workers.pool import run_workers
from study.workers.pool import Worker

START = "the search's first config (variant 1)"


@dataclasses.dataclass(frozen=True)
class Confirmation:
    """The outcomes of a search's best config and its start with fresh seeds.

    winner: the outcomes of the best config, by the config with its seed.
    start: those of the start (variant 1) with the same seeds; none if it is the best config.
    """

    winner: Mapping[TrialConfig, Outcome] = field(default_factory=dict)
    start: Mapping[TrialConfig, Outcome] = field(default_factory=dict)


def confirm_best(
    search: SearchScheduler, workers: Sequence[Worker], seed_count: int, *, log_model: bool
) -> Confirmation:
    """Train the best config and the start of a search with `seed_count` fresh seeds.

    The start has the same seeds, and so the same splits: a split may be harder than those of the
    search.

    Raises:
        StudyError: no trial of the search finished, or training failed.
    """
    best = search.claims.storage.retry_until_available(search.best)
    if best is None:
        raise StudyError("no trial finished: raise --trials, or use --pruner none")
    config = search.space.config(best.params)
    first_fresh_seed = config.seed + search.seeds
    seeds = range(first_fresh_seed, first_fresh_seed + seed_count)
    next_config = config.replace(seed=seeds.stop)
    search.progress.say(f"to train it with one more fresh seed: {format_command(next_config)}")
    if not seeds:
        return Confirmation()
    options = dataclasses.replace(search.options, log_model=log_model)
    winner = train_with_seeds(search, config, seeds, workers, options)
    print_accuracies(winner.values(), "the best config", search.progress)
    start_config = search.space.config(search.space.starts()[0])
    if start_config == config:
        return Confirmation(winner)
    start = train_with_seeds(search, start_config, seeds, workers, search.options)
    print_accuracies(start.values(), START, search.progress)
    return Confirmation(winner, start)


def train_with_seeds(
    search: SearchScheduler,
    config: TrialConfig,
    seeds: Sequence[int],
    workers: Sequence[Worker],
    options: Options,
) -> dict[TrialConfig, Outcome]:
    """Train a config once with each seed.

    The processes that work on the search divide the seeds among themselves. Finished trainings are
    looked up, not repeated.

    Args:
        search: whose data and MLflow client are used.
        config: what to train.
        seeds: that the search has not seen.
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
    name = f"{search.claims.storage.name}-confirm-{fingerprint(config, search.digest)[:8]}"
    grid = build_grid(name, GridPlan(config, Sweep({}, {}), seeds), search.digest)
    storage = Storage(name)
    with storage.lock_for_process():
        scheduler = GridScheduler(grid, Claims(storage, "maximize"), search.client, options)
        run_workers(workers, scheduler.step)
    for cell, reason in scheduler.failed.items():
        raise StudyError(f"{cell} failed: {reason}\nRepeat the command to try it again.")
    return {config: scheduler.finished[cell] for cell, config in grid.configs.items()}


def print_accuracies(outcomes: Collection[Outcome], name: str, progress: Progress) -> None:
    """Print the validation and test accuracy of a config's confirming runs.

    If there are several, their mean comes first.
    """
    for metric in ("val_accuracy", "test_accuracy"):
        values = [getattr(outcome, metric) for outcome in outcomes]
        listing = ", ".join(f"{value:.4f}" for value in values)
        title = f"{name_metric(metric)} of {name}"
        if len(values) == 1:
            progress.say(f"{title} with a fresh seed: {listing}")
        else:
            progress.say(
                f"{title} with {len(values)} fresh seeds: mean {fmean(values):.4f} ({listing})"
            )


def find_doubts(metric: str, confirmation: Confirmation) -> list[str]:
    """Return why the win of a search did not repeat with fresh seeds.

    It did not if the best config is worse on average than the start with the same seeds, or no
    better than chance.

    Args:
        metric: that of the search, such as `val_accuracy` or `val_loss`.
        confirmation: what the fresh seeds show.

    Returns:
        A clause for each reason; none if there are no confirming runs.
    """
    if not confirmation.winner:
        return []
    doubts = []
    if confirmation.start:
        value = _compute_mean(metric, confirmation.winner)
        start_value = _compute_mean(metric, confirmation.start)
        if value > start_value if metric == "val_loss" else value < start_value:
            doubts.append(
                f"with fresh seeds, its {name_metric(metric)} is {value:.4f}, worse than the "
                f"{start_value:.4f} of {START} with the same seeds"
            )
    if reason := explain_no_better_than_chance(confirmation.winner.values()):
        doubts.append(f"with fresh seeds, the {reason}")
    return doubts


def _compute_mean(metric: str, outcomes: Mapping[TrialConfig, Outcome]) -> float:
    return fmean(getattr(outcome, metric) for outcome in outcomes.values())


def register_best(
    confirmed: Mapping[TrialConfig, Outcome],
    client: MlflowClient,
    progress: Progress,
    *,
    name: str | None,
) -> None:
    """Register the model of the confirming run that is best on validation.

    Args:
        confirmed: the best config's confirming runs.
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
