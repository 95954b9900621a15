"""The winner of a search: how to train it again, and what fresh seeds say of it."""

import dataclasses
import shlex
from collections.abc import Sequence

from study.config import recipe
from study.config import TrialConfig
from study.launch import Worker
from study.options import Options
from study.options import Outcome
from study.progress import Progress


def command(config: TrialConfig) -> str:
    """The command line that trains a config: a flag for each field that is not the recipe's."""
    usual = recipe(config.dataset).as_dict()
    words = ["python", "-m", "study.train", "--dataset", config.dataset]
    for name, value in config.as_dict().items():
        if value != usual[name]:
            words += ["--" + name.replace("_", "-"), str(value)]
    return shlex.join(words)


def confirm(worker: Worker, config: TrialConfig, count: int, options: Options) -> list[Outcome]:
    """Train a config with the `count` seeds after its own; finished ones are found.

    Raises:
        StudyError: training failed.
    """
    outcomes = []
    for i in range(1, count + 1):
        label = f"[confirm {i}/{count}] "
        again = dataclasses.replace(options, label=label, role="confirm", blind=True, watch=None)
        fresh = config.replace(seed=config.seed + i)
        outcomes.append(worker.call("study.train:train", fresh, again))
    return outcomes


def report(outcomes: Sequence[Outcome], progress: Progress) -> None:
    """Print validation and test accuracy of the confirming runs: the mean, and each."""
    if not outcomes:
        return
    for name in ("val_accuracy", "test_accuracy"):
        values = [getattr(outcome, name) for outcome in outcomes]
        each = ", ".join(f"{value:.4f}" for value in values)
        mean = sum(values) / len(values)
        title = name.replace("val_", "validation ").replace("_", " ")
        progress.say(f"{title} of {len(values)} fresh seeds: mean {mean:.4f} ({each})")
