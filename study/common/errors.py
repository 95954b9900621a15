"""Errors that a command reports, and reasons to end a trial early."""

from collections.abc import Mapping


class StudyError(Exception):
    """An error that the user can act on.

    Its message says what is wrong, where, and what to do next, in a line or two.
    """


class ConfigError(StudyError):
    """A config value that is unknown, out of range, or contradicts another."""


class DataError(StudyError):
    """A data set that is missing, broken, or cannot be split as asked."""


class TrackingError(StudyError):
    """An MLflow server that cannot be reached or read, or lacks what was asked for."""


class TrackingRefused(TrackingError):
    """A request that MLflow refuses for good, so that repeating it is of no use."""


class StorageError(StudyError):
    """An Optuna storage that does not answer in the middle of a study."""


class TrialFailed(StudyError):
    """A trial whose training failed, for example because its loss is not a number."""


class Pruned(StudyError):
    """A trial that its watcher ended before the last epoch.

    The message is the reason.
    """


class Paused(Pruned):
    """A trial that ended after as many epochs as it was asked for.

    Its training state is kept for the remaining epochs.
    """

    def __init__(self, epoch: Mapping[str, float]) -> None:
        super().__init__(f"after epoch {epoch['epoch']:g}")
        self.epoch = epoch  # the figures of the last epoch, by name


class WorkerDied(StudyError):
    """A worker process that ended without an answer: it crashed, or was killed."""


class OutOfMemory(WorkerDied):
    """A worker process that died as the system ran out of memory.

    The system killed this process, or another one at that time.
    """


class WorkerLost(StudyError):
    """A trial whose process or server went away.

    Its config can be claimed again.
    """


def first_line(error: BaseException, *, length: int = 300) -> str:
    """Return the first line of an error, shortened to `length`, or its class name."""
    return shorten((str(error).strip().splitlines() or [type(error).__name__])[0], length)


def shorten(text: str, length: int = 300) -> str:
    """Cut the middle out of a long text, because the cause often is at its end.

    The cut falls between words, unless one word, such as a path, takes up half of what is kept.
    """
    if len(text) <= length:
        return text
    half = (length - 5) // 2
    start = text[: half + 1]
    end = text[-half - 1 :]
    whole_start = start.rpartition(" ")[0].rstrip()
    whole_end = end.partition(" ")[2].lstrip()
    kept_start = whole_start if 2 * len(whole_start) > half else start[:half]
    kept_end = whole_end if 2 * len(whole_end) > half else end[1:]
    return f"{kept_start} ... {kept_end}"
