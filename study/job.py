"""The messages between driver and worker: how to run a trial, and its result."""

import math
from dataclasses import dataclass
from typing import Any

MAX_WORKERS = 1000
# A call that each worker makes at once. It takes seconds, in which the driver can connect and plan.
PRELOAD = "study.trial.record:preload_training"


@dataclass(frozen=True)
class Watch:
    """A per-epoch callback in the worker, which may end the trial.

    It is called as `function(*args, epoch)` with the epoch's figures by name, and returns a reason
    to stop, or None. It is given as `package.module:name`, so that only the worker loads it.
    """

    function: str
    args: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Options:
    """Options that change how a trial is run, but not its numbers."""

    use_cache: bool = True
    log_model: bool = False
    retrain: bool = False  # train even if a run is finished
    wait_for_lock: bool = False  # wait while another process trains the same config
    label: str = ""  # goes before every line of progress
    plain_progress: bool = False  # print lines instead of bars: several trials share the terminal
    parent: str | None = None  # MLflow run id of the run above this one
    role: str = ""  # the purpose of the trial, a tag of its run
    planned_key: str = ""  # the fingerprint that the driver planned with, if there is a driver
    watch: Watch | None = None
    pause_after_epoch: int = 0  # pause after this many epochs; 0 trains to the end
    hide_test_metrics: bool = False  # print no figures of the test images


@dataclass(frozen=True)
class Outcome:
    """The figures of a trial that its caller gets.

    The rest is in MLflow. Accuracies and AUC are 0 to 1, the loss is in nats.
    """

    run_id: str
    val_accuracy: float
    test_accuracy: float
    val_loss: float
    val_auc: float = math.nan  # if no class has images both of it and of others
    val_balanced_accuracy: float = math.nan  # of runs older than this figure
    majority: float = math.nan  # share of test images of their most frequent class, if logged
