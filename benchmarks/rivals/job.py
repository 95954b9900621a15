"""Pass jobs to the rivals' processes, and their results back.

No framework is imported here.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from itertools import pairwise
from pathlib import Path

from study.config.trial_config import TrialConfig


@dataclass
class Grid:
    """The measurements of a grid, variant by variant."""

    steps: int = 0  # of the optimizer, over all variants
    epochs: list[list[tuple[float, float]]] = field(
        default_factory=list
    )  # (end in seconds since 1970, loss)
    test_accuracy: list[float] = field(default_factory=list)

    def begin_variant(self) -> None:
        """Begin a new variant."""
        self.epochs.append([])

    def add_epoch(self, loss: float) -> None:
        """Record the end of an epoch, validation included, with its training loss."""
        self.epochs[-1].append((time.time(), loss))

    def list_epoch_seconds(self) -> list[float]:
        """Return the seconds between the ends of successive epochs of each variant."""
        return [
            later - earlier
            for epochs in self.epochs
            for (earlier, _), (later, _) in pairwise(epochs)
        ]


def write_job(configs: list[TrialConfig], images: Path, file: Path) -> None:
    """Write a rival's job: its configs, and the folder of its images."""
    job = {"images": str(images), "configs": [config.as_dict() for config in configs]}
    file.write_text(json.dumps(job))


def run_job(train: Callable[[list[TrialConfig], Path, Grid], None]) -> None:
    """Run the job that this process was started for."""
    job = json.loads(Path(sys.argv[-2]).read_text())
    grid = Grid()
    train([TrialConfig(**fields) for fields in job["configs"]], Path(job["images"]), grid)
    Path(sys.argv[-1]).write_text(json.dumps(asdict(grid)))
