"""Pass jobs to the rivals' processes and results back, without any framework."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from itertools import pairwise
from pathlib import Path

from study.config import TrialConfig


@dataclass
class Grid:
    """What was measured while a grid trained, variant by variant."""

    steps: int = 0  # of the optimizer, in all
    epochs: list[list[tuple[float, float]]] = field(default_factory=list)  # (its end in s, loss)
    test_accuracy: list[float] = field(default_factory=list)

    def begin(self) -> None:
        """Begin a new variant."""
        self.epochs.append([])

    def epoch(self, loss: float) -> None:
        """Record the end of an epoch, validation included, with its training loss."""
        self.epochs[-1].append((time.time(), loss))

    def epoch_seconds(self) -> list[float]:
        """Return the seconds between the ends of successive epochs of each variant."""
        return [b - a for ends in self.epochs for (a, _), (b, _) in pairwise(ends)]


def ask(configs: list[TrialConfig], images: Path, file: Path) -> None:
    """Write a rival's job: configs, and a folder with train, val and test images."""
    job = {"images": str(images), "configs": [config.as_dict() for config in configs]}
    file.write_text(json.dumps(job))


def answer(train: Callable[[list[TrialConfig], Path, Grid], None]) -> None:
    """Run a rival's process, started by `python -m MODULE ... JOB ANSWER`."""
    job = json.loads(Path(sys.argv[-2]).read_text())
    grid = Grid()
    train([TrialConfig(**fields) for fields in job["configs"]], Path(job["images"]), grid)
    Path(sys.argv[-1]).write_text(json.dumps(asdict(grid)))
