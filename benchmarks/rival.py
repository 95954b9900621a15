"""What a rival of `benchmarks.rivals` is given, and what it tells; knows no framework."""

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
    """What a grid showed while it trained, variant by variant."""

    steps: int = 0  # of the optimizer, in all
    epochs: list[list[tuple[float, float]]] = field(default_factory=list)  # (its end in s, loss)
    test_accuracy: list[float] = field(default_factory=list)

    def begin(self) -> None:
        """A new variant's turn."""
        self.epochs.append([])

    def epoch(self, loss: float) -> None:
        """The variant ended an epoch, validation included, with this loss on train."""
        self.epochs[-1].append((time.time(), loss))

    def epoch_seconds(self) -> list[float]:
        """From each epoch's end to that of the next, so without a variant's first."""
        return [b - a for ends in self.epochs for (a, _), (b, _) in pairwise(ends)]


def ask(configs: list[TrialConfig], images: Path, file: Path) -> None:
    """Write what a rival is to train: configs, and images in train, val and test folders."""
    job = {"images": str(images), "configs": [config.as_dict() for config in configs]}
    file.write_text(json.dumps(job))


def answer(train: Callable[[list[TrialConfig], Path, Grid], None]) -> None:
    """A rival's process: `python -m MODULE ... JOB ANSWER`."""
    job = json.loads(Path(sys.argv[-2]).read_text())
    grid = Grid()
    train([TrialConfig(**fields) for fields in job["configs"]], Path(job["images"]), grid)
    Path(sys.argv[-1]).write_text(json.dumps(asdict(grid)))
