"""The winner of a search: what fresh seeds say of it."""

import dataclasses
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence

from mlflow.tracking import MlflowClient

from study.common.errors import StudyError
from study.common.progress import Progress
from study.config import TrialConfig
from study.job import Options
from study.job import Outcome
from study.search.claims import Claims
from study.search.grid_scheduler import make_cells
from study.search.grid_scheduler import Session
from study.search.storage import Storage
from study.serving.registry import register
from study.workers.pool import work
from study.workers.pool import Worker


def confirm(
    name: str,
    config: TrialConfig,
    seeds: Sequence[int],
    digest: str,
    client: MlflowClient,
    workers: Sequence[Worker],
    options: Options,
) -> dict[TrialConfig, Outcome]:
    """Train a config with these seeds, shared among all who work on it; finished ones are found.

    Args:
        name: of the Optuna study that shares them out.
        config: the winner.
        seeds: that the search has not seen.
        digest: of the data.
        client: of MLflow.
        workers: to train with.
        options: of the search.

    Raises:
        StudyError: training failed.
    """
    options = dataclasses.replace(options, label="[confirm] ", role="confirm", blind=True)
    cells = make_cells(name, config, {"seed": list(seeds)}, digest)
    storage = Storage(name)
    with storage.held():
        session = Session(cells, Claims(storage, "maximize"), client, options)
        work(workers, session.step)
    for cell, reason in session.failed.items():
        raise StudyError(f"{cell} failed: {reason}\nRepeat the command to try it again.")
    return {config: session.finished[cell] for cell, config in cells.configs.items()}


def report(outcomes: Collection[Outcome], progress: Progress) -> None:
    """Print validation and test accuracy of the confirming runs: the mean, and each."""
    for name in ("val_accuracy", "test_accuracy"):
        values = [getattr(outcome, name) for outcome in outcomes]
        each = ", ".join(f"{value:.4f}" for value in values)
        title = name.replace("val_", "validation ").replace("_", " ")
        if len(values) == 1:
            progress.say(f"{title} of a fresh seed: {each}")
        else:
            mean = sum(values) / len(values)
            progress.say(f"{title} of {len(values)} fresh seeds: mean {mean:.4f} ({each})")


def register_best(
    confirmed: Mapping[TrialConfig, Outcome], client: MlflowClient, progress: Progress
) -> None:
    """Put the model of the confirming run that is best on validation into the registry.

    Raises:
        StudyError: that run was recorded without its model.
    """
    config = max(confirmed, key=lambda config: confirmed[config].val_accuracy)
    chosen = (
        f"the winner of a search by validation, trained with {len(confirmed)} fresh seeds, and of "
        "these the best on validation"
    )
    register(client, confirmed[config].run_id, config, chosen, progress)
