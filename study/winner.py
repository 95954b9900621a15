"""The winner of a search: how to train it again, and what fresh seeds say of it."""

import dataclasses
import shlex
from collections.abc import Sequence

from mlflow.tracking import MlflowClient

from study.cells import make_cells
from study.cells import Session
from study.claims import Claims
from study.config import recipe
from study.config import StudyError
from study.config import TrialConfig
from study.crew import work
from study.crew import Worker
from study.options import Options
from study.options import Outcome
from study.progress import Progress
from study.study_storage import Storage


def command(config: TrialConfig) -> str:
    """The command line that trains a config: a flag for each field that is not the recipe's."""
    usual = recipe(config.dataset).as_dict()
    words = ["python", "-m", "study.train", "--dataset", config.dataset]
    for name, value in config.as_dict().items():
        if value != usual[name]:
            words += ["--" + name.replace("_", "-"), str(value)]
    return shlex.join(words)


def confirm(
    name: str,
    config: TrialConfig,
    seeds: Sequence[int],
    digest: str,
    client: MlflowClient,
    workers: Sequence[Worker],
    options: Options,
) -> list[Outcome]:
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
    return [session.finished[cell] for cell in cells.configs]


def report(outcomes: Sequence[Outcome], progress: Progress) -> None:
    """Print validation and test accuracy of the confirming runs: the mean, and each."""
    if not outcomes:
        return
    for name in ("val_accuracy", "test_accuracy"):
        values = [getattr(outcome, name) for outcome in outcomes]
        each = ", ".join(f"{value:.4f}" for value in values)
        title = name.replace("val_", "validation ").replace("_", " ")
        if len(values) == 1:
            progress.say(f"{title} of a fresh seed: {each}")
        else:
            mean = sum(values) / len(values)
            progress.say(f"{title} of {len(values)} fresh seeds: mean {mean:.4f} ({each})")
