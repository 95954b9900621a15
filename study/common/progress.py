"""A trial's progress, as a bar on a terminal or as plain lines in a log file."""

import time
from typing import NoReturn

from rich.console import Console
from rich.progress import BarColumn
from rich.progress import Progress as Bars
from rich.progress import TextColumn

SECONDS_BETWEEN_LINES = 15.0  # in a log file


class OutputConsole(Console):
    """A console that stops the command as Ctrl-C does when its reader has gone.

    Rich would end the process instead, which a trial's run takes for a failure.
    """

    def on_broken_pipe(self) -> NoReturn:
        """Write nothing more, and raise KeyboardInterrupt."""
        self.quiet = True
        raise KeyboardInterrupt


class Progress:
    """A writer of progress to stderr.

    `label` (such as `[3/7] `) goes before each line. Bars are drawn on a terminal only.
    """

    def __init__(self, label: str = "", *, bars: bool = True) -> None:
        self.label = label
        self.bars = bars
        self.console = OutputConsole(stderr=True, highlight=False, soft_wrap=True)
        self._bar: Bars | None = None
        self._last_line_time = time.monotonic()
        self._start_times: dict[str, float] = {}

    def say(self, text: str) -> None:
        """Print one line that stays."""
        self.close()
        self.console.print(self.label + text, markup=False)

    def step(self, what: str, done: int, total: int) -> None:
        """Show that `done` of `total` steps are over.

        From the second step on, it shows the time left, too.
        """
        if done <= 1 or what not in self._start_times:
            self._start_times[what] = time.monotonic()
            self._last_line_time = time.monotonic()
        if self.bars and self.console.is_terminal:
            self._draw_bar(what, done, total)
        elif time.monotonic() - self._last_line_time > SECONDS_BETWEEN_LINES and done < total:
            self._last_line_time = time.monotonic()
            time_left = self._format_time_left(what, done, total)
            self.console.print(f"{self.label}{what} {done}/{total}{time_left}", markup=False)

    def close(self) -> None:
        """Remove the bar, if one is drawn."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _format_time_left(self, what: str, done: int, total: int) -> str:
        seconds = time.monotonic() - self._start_times[what]
        return f", {format_duration(seconds / done * (total - done))} left" if done > 1 else ""

    def _draw_bar(self, what: str, done: int, total: int) -> None:
        text = f"{self.label}{what} {done}/{total}{self._format_time_left(what, done, total)}"
        if self._bar is None:
            columns = (BarColumn(24), TextColumn("{task.description}", markup=False))
            self._bar = Bars(*columns, console=self.console, transient=True)
            self._bar.add_task(text, total=total)
            self._bar.start()
        task = self._bar.task_ids[0]
        self._bar.update(task, description=text, completed=done, total=total)
        if done >= total:
            self.close()


def format_duration(seconds: float) -> str:
    """Format seconds as `42 s`, `3 min 5 s` or `2 h 4 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
