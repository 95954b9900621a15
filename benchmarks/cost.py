"""Estimate what a study costs in hours, workers, money, storage and server load.

    python -m benchmarks.cost
    python -m benchmarks.cost --device "my GPU" 1200 0.90 --trials 500

Arithmetic alone, for chest by the reports' protocol: 3,750 training images, 30 epochs, 224 px.
Speeds and prices are ASSUMPTIONS: put in your own. A speed is what runs record as
`images_per_second`; sizes and rates of the servers are those that benchmarks.load measured.
"""

import argparse
import math
from dataclasses import dataclass

IMAGES, EPOCHS = 3750, 30
SAMPLE = 10  # s between two system metrics of a run, MLflow's default
SAMPLED = 8  # of them; a GPU has 4 more
REQUESTS = 48  # to MLflow of a trial, without its system metrics
# Measured by benchmarks.load, in bytes
MLFLOW, OPTUNA, FILES = 86_000, 12_000, 95_000  # of a trial, without its system metrics
POINT = 365  # of one figure of one sample, with its index
DAY = 24 * 3600.0  # s
DEVICES = [["2 CPU cores", "30", "0.10"], ["a GPU", "1000", "1.00"]]  # ASSUMPTIONS, not figures
TRIALS = [10, 1_000, 100_000]


@dataclass(frozen=True)
class Study:
    """A number of trials on workers of one kind.

    speed: images a second; price: of an hour of one worker; wall: s that it shall take.
    """

    trials: int
    speed: float
    price: float
    wall: float

    @property
    def seconds(self) -> float:
        """Seconds that a trial trains."""
        return IMAGES * EPOCHS / self.speed

    @property
    def hours(self) -> float:
        """Hours that one worker needs for all trials."""
        return self.trials * self.seconds / 3600

    @property
    def workers(self) -> int:
        """Workers needed to finish in time, as a trial cannot be divided."""
        return math.ceil(self.trials / max(1, self.wall // self.seconds))

    @property
    def lasts(self) -> float:
        """Seconds from start to end with that many workers."""
        return math.ceil(self.trials / self.workers) * self.seconds

    @property
    def samples(self) -> float:
        """Samples of system metrics in all trials."""
        return self.trials * self.seconds / SAMPLE

    @property
    def requests(self) -> float:
        """Requests per second to the MLflow server."""
        return (self.trials * REQUESTS + self.samples) / self.lasts

    def rows(self, capacity: float) -> dict[str, str]:
        """List the figures to print, by name.

        Args:
            capacity: requests per second that one core of the MLflow server takes.
        """
        sampled = self.samples * SAMPLED * POINT
        return {
            "trials": f"{self.trials:,}",
            "a trial": _duration(self.seconds),
            "hours of a worker": f"{self.hours:,.1f}",
            "workers": f"{self.workers:,}",
            "done after": _duration(self.lasts),
            "money": f"{self.hours * self.price:,.2f}",
            "database of MLflow": _size(self.trials * MLFLOW + sampled),
            "of it system metrics": _size(sampled),
            "database of Optuna": _size(self.trials * OPTUNA),
            "artifacts": _size(self.trials * FILES),
            "requests to MLflow a second": f"{self.requests:,.1f}",
            "cores of its server": f"{self.requests / capacity:,.2f}",
            "claims a minute": f"{60 * self.trials / self.lasts:,.1f}",
        }


def _duration(seconds: float) -> str:
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3 * 3600 else f"{seconds / 3600:.1f} h"


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def table(studies: list[Study], capacity: float) -> str:
    """Format the studies as a Markdown table, one column each."""
    columns = [study.rows(capacity) for study in studies]
    lines = [[name, *(column[name] for column in columns)] for name in columns[0]]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--device", nargs=3, action="append", metavar=("NAME", "SPEED", "PRICE"),
        help="a worker's images a second, and the price of its hour; may be repeated")  # fmt: skip
    add("--trials", type=int, nargs="+", default=TRIALS, metavar="N")
    add("--days", type=float, default=1.0, metavar="D", help="that the study shall take [1]")
    add("--capacity", type=float, default=90.0, metavar="R",
        help="requests a second that a core of the MLflow server takes [90]")  # fmt: skip
    args = parser.parse_args()
    for name, speed, price in args.device or DEVICES:
        studies = [Study(n, float(speed), float(price), args.days * DAY) for n in args.trials]
        print(f"{name}: {speed} images a second at {price} an hour (assumed)\n")
        print(table(studies, args.capacity), end="\n\n")


if __name__ == "__main__":
    main()
