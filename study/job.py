"""What passes between a driver and the process that trains: how to run a trial, what came of it."""

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Watch:
    """Who is told of each epoch, and may end the trial: `function(*args, epoch)`.

    The function is named as `package.module:name`, so that only the process that trains loads it.
    It gets the epoch's figures by name and returns the reason to stop, or None.
    """

    function: str
    args: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Options:
    """How a trial is run, as far as it does not change its numbers."""

    use_cache: bool = True
    log_model: bool = False
    again: bool = False  # train even if finished
    wait: bool = False  # for another process that trains the same config
    label: str = ""  # goes before every line of progress
    lines: bool = False  # show no bars, for several trials write to one terminal
    parent: str | None = None  # MLflow run id
    role: str = ""  # what a trial is for, a tag of its run
    watch: Watch | None = None
    until: int = 0  # pause after this many epochs; 0 trains to the end
    blind: bool = False  # print nothing that the test images tell


@dataclass(frozen=True)
class Outcome:
    """What the caller of a trial learns; the rest is in MLflow."""

    run_id: str
    val_accuracy: float
    test_accuracy: float
    val_loss: float
    val_auc: float = math.nan  # no class has images both of it and of others
