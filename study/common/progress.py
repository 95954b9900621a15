"""What a person watching a trial sees: a bar on a terminal, plain lines in a log file."""

import time

from rich.console import Console
from rich.progress import BarColumn
from rich.progress import Progress as Bars
from rich.progress import TextColumn

SECONDS_BETWEEN_LINES = 15.0  # in a log file


class Progress:
    """Lines on stderr; `label` (such as `[3/7] `) goes before each trial's."""

    def __init__(self, label: str = "", *, bars: bool = True) -> None:
        self.label = label
        self.bars = bars
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bars: Bars | None = None
        self._last = time.monotonic()
        self._began: dict[str, float] = {}

    def say(self, text: str) -> None:
        """One line that stays."""
        self.close()
        self.console.print(self.label + text, markup=False)

    def step(self, what: str, done: int, total: int) -> None:
        """How far something has come, in steps; with the time left, once that can be told."""
        if done <= 1 or what not in self._began:
            self._began[what] = time.monotonic()
            self._last = time.monotonic()
        if self.bars and self.console.is_terminal:
            self._draw(what, done, total)
        elif time.monotonic() - self._last > SECONDS_BETWEEN_LINES and done < total:
            self._last = time.monotonic()
            left = self._left(what, done, total)
            self.console.print(f"{self.label}{what} {done}/{total}{left}", markup=False)

    def close(self) -> None:
        """Take the bar away, if one is drawn."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _left(self, what: str, done: int, total: int) -> str:
        passed = time.monotonic() - self._began[what]
        return f", {duration(passed / done * (total - done))} left" if done > 1 else ""

    def _draw(self, what: str, done: int, total: int) -> None:
        text = f"{self.label}{what} {done}/{total}{self._left(what, done, total)}"
        if self._bars is None:
            columns = (BarColumn(24), TextColumn("{task.description}", markup=False))
            self._bars = Bars(*columns, console=self.console, transient=True)
            self._bars.add_task(text, total=total)
            self._bars.start()
        task = self._bars.task_ids[0]
        self._bars.update(task, description=text, completed=done, total=total)
        if done >= total:
            self.close()


def duration(seconds: float) -> str:
    """`42 s`, `3 min 5 s` or `2 h 4 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
