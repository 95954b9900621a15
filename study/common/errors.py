"""Every error that a command reports in a line or two, and every reason why a trial ended early."""

from collections.abc import Mapping


class StudyError(Exception):
    """An error the user can act on: what is wrong, where, and what to do next, in a line or two."""


class ConfigError(StudyError):
    """A config value is unknown, out of range, or contradicts another."""


class DataError(StudyError):
    """A data set is missing, broken, or cannot be split as asked."""


class TrackingError(StudyError):
    """MLflow cannot be reached or read, or lacks what was asked for."""


class TrialFailed(StudyError):
    """Training cannot give a result: a loss that is not a number, or no memory."""


class Pruned(StudyError):
    """Whoever watches a trial ended it before its last epoch; the message is the reason."""


class Paused(Pruned):
    """A trial ended after as many epochs as it was asked for; its state is kept for the others."""

    def __init__(self, epoch: Mapping[str, float]) -> None:
        super().__init__(f"after epoch {epoch['epoch']:g}")
        self.epoch = epoch  # the figures of the last one


class WorkerDied(StudyError):
    """The process ended without an answer: it crashed, or was killed."""


class OutOfMemory(WorkerDied):
    """The system killed the process for want of memory, or another one at that time."""


class Failed(StudyError):
    """A trial failed by itself; Optuna knows."""


class Lost(StudyError):
    """A trial's process or server went away; its config is there to be claimed again."""
