"""Log and print the epochs of a trial, and end it early when asked to."""

import functools
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from pkgutil import resolve_name

from study.common.errors import Paused
from study.common.errors import Pruned
from study.common.progress import format_duration
from study.common.progress import Progress
from study.job import Options
from study.tracking.run_logger import RunLog

Epoch = Mapping[str, float]  # an epoch's figures by name, see `study.training.checkpoint`


class EpochLog:
    """The callbacks that log and print a trial's epochs, and may end the trial."""

    def __init__(
        self, epochs: int, images: int, log: RunLog, progress: Progress, options: Options
    ) -> None:
        self.epochs = epochs  # that the trial has at most
        self.images = images  # that it trains on in each
        self.log = log
        self.progress = progress
        self.end_early = _make_early_end(options, epochs)
        self.earlier_seconds: list[float] = []  # of each epoch that an earlier process trained
        self.seconds: list[float] = []  # of each epoch that this process trained

    def resume(self, history: Sequence[Epoch]) -> None:
        """Take over the epochs that an earlier process trained.

        Raises:
            Pruned: one of them is a reason to end the trial.
        """
        self.earlier_seconds.extend(epoch["seconds"] for epoch in history)
        # that process may have been killed after it saved an epoch and before it logged it
        for epoch in history:
            self.log.log_epoch(epoch)
        if history:
            self.progress.say(f"  continuing after epoch {len(history)}")
        # it may have been killed before it asked the watcher, too, or before it obeyed the answer
        for epoch in history:
            self.end_early(epoch)

    def on_step(self, step: int, steps: int) -> None:
        """Show the progress within an epoch."""
        number = len(self.earlier_seconds) + len(self.seconds) + 1
        self.progress.step(f"  epoch {number}/{self.epochs}, step", step, steps)

    def on_epoch(self, epoch: Epoch) -> None:
        """Log and print an epoch.

        Raises:
            Pruned: the trial ends here.
        """
        self.log.log_epoch(epoch)
        self.seconds.append(epoch["seconds"])
        self._print_epoch(epoch)
        self.end_early(epoch)

    def _print_epoch(self, epoch: Epoch) -> None:
        epochs = self.epochs
        number = int(epoch["epoch"])
        median_seconds = sorted(self.seconds)[len(self.seconds) // 2]
        time_left = format_duration(median_seconds * (epochs - number))
        speed = self.images / epoch["seconds"]
        self.progress.say(
            f"  epoch {number:{len(str(epochs))}}/{epochs}  loss {epoch['loss']:.4f}  "
            f"acc {epoch['accuracy']:.4f}  val_loss {epoch['val_loss']:.4f}  "
            f"val_acc {epoch['val_accuracy']:.4f}  {speed:.0f} images/s"
            + (f"  {time_left} left" if number < epochs else "")
        )


def _make_early_end(options: Options, epochs: int) -> Callable[[Epoch], None]:
    """Return a function that raises Pruned or Paused if an epoch is to be the last.

    It asks the watcher after every epoch, but never ends a trial after its last one: that would
    save nothing.
    """
    watch = options.watch
    if watch is not None:
        ask_watcher = functools.partial(resolve_name(watch.function), *watch.args)

    def end_early(epoch: Epoch) -> None:
        reason = ask_watcher(epoch) if watch is not None else None
        if epoch["epoch"] >= epochs:
            return
        if reason:
            raise Pruned(reason)
        if 0 < options.pause_after_epoch <= epoch["epoch"]:
            raise Paused(epoch)

    return end_early
