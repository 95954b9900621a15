"""What passes between a driver and the process that trains: how to run a trial, what came of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """How a trial is run, as far as it does not change its numbers."""

    use_cache: bool = True
    log_model: bool = False
    again: bool = False  # train even if finished
    label: str = ""  # goes before every line of progress
    parent: str | None = None  # MLflow run id


@dataclass(frozen=True)
class Outcome:
    """What the caller of a trial learns; the rest is in MLflow."""

    run_id: str
    val_accuracy: float
    test_accuracy: float
