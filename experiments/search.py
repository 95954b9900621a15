"""Count the epochs that a search needs to beat the seven variants.

    DATA_DIR=../shared/data python -m experiments.search --weights FILE --out search.csv

Trains the grid, and then searches twice from a copy of the grid's folder, whose runs both searches
take over: at random without pruning, and by TPE with median pruning. All count epochs from the
grid's first; `reach` and `pass` are those until a new config is as good as the best variant, or
better, on validation. `equal` is the best score within the epochs of the shorter search.
"""

import argparse
import math
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pandas as pd
from dotenv import load_dotenv
from mlflow.tracking import MlflowClient

from benchmarks.settings import run_module
from study.common.command import run_command
from study.tracking import queries
from study.variants import VARIANTS

EPOCHS = 5
METRIC = "val_accuracy"
# small enough for seconds a trial; searching these two would decode and compile anew
FIXED = ("--alpha", "0.25", "--image-size", "64", "--batch-size", "16")
METHODS = {
    "grid": ("study.grid",),
    "random": ("study.tpe", "--sampler", "random", "--pruner", "none", "--confirm", "0"),
    "tpe": ("study.tpe", "--sampler", "tpe", "--pruner", "median", "--confirm", "0"),
}


@dataclass(frozen=True)
class Trained:
    """One config that was trained, to its end or until it was pruned."""

    epochs: int
    seconds: float  # from the run's start to its end
    score: float | None  # on validation; None if pruned


@dataclass(frozen=True)
class Searched:
    """The trials of one way of searching, in order of time, the variants first."""

    method: str
    repeat: int
    trained: list[Trained]
    cpu_seconds: float  # of the command and its processes, without the variants'

    @property
    def goal(self) -> float:
        """Score of the best variant."""
        return self.best(self.trained[: len(VARIANTS)])

    def best(self, trained: list[Trained]) -> float:
        """Return the highest score."""
        return max(t.score for t in trained if t.score is not None)

    def until(self, good: Callable[[float], bool], skip: int) -> tuple[float, float]:
        """Return the epochs and seconds until a score is good, or inf if none is.

        Args:
            good: whether a score suffices.
            skip: the first trials, whose scores do not count.
        """
        for n, each in enumerate(self.trained):
            if n >= skip and each.score is not None and good(each.score):
                part = self.trained[: n + 1]
                return sum(t.epochs for t in part), sum(t.seconds for t in part)
        return math.inf, math.inf

    def within(self, epochs: int) -> float:
        """Return the best score of the trials that ended within `epochs` epochs."""
        ends = list(accumulate(each.epochs for each in self.trained))
        return self.best([t for t, end in zip(self.trained, ends, strict=True) if end <= epochs])

    def row(self, equal: int) -> dict[str, Any]:
        """Make a line of the table, counted from the first variant's start."""
        skip = 0 if self.method == "grid" else len(VARIANTS)
        reached, _ = self.until(lambda score: score >= self.goal, skip)
        passed, seconds = self.until(lambda score: score > self.goal, skip)
        return {
            "repeat": self.repeat,
            "method": self.method,
            "trials": len(self.trained),
            "pruned": sum(each.score is None for each in self.trained),
            "epochs": sum(each.epochs for each in self.trained),
            "epochs_to_reach": reached,
            "epochs_to_pass": passed,
            "seconds_to_pass": round(seconds, 1),
            "best": self.best(self.trained),
            "equal_epochs": equal,
            "best_at_equal_epochs": self.within(equal),
            "seconds": round(sum(each.seconds for each in self.trained), 1),
            "cpu_seconds": round(self.cpu_seconds, 1),
        }


def trained(folder: Path) -> list[Trained]:
    """Read the trials from the MLflow file of a folder, earliest first."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    runs = [run for run in queries.search_runs(client, "") if "fingerprint" in run.data.tags]
    return [
        Trained(
            len(queries.fetch_curve(client, run.info.run_id, METRIC)),
            (run.info.end_time - run.info.start_time) / 1000,
            run.data.metrics[METRIC] if "finished" in run.data.tags else None,
        )
        for run in runs
    ]


def search_once(repeat: int, args: argparse.Namespace, root: Path) -> list[Searched]:
    """Run the grid, then both searches from copies of its runs, all with one seed."""
    flags = [*("--dataset", args.dataset, "--split", "grouped", "--seed", str(repeat)), *FIXED]
    flags += ["--limit", str(args.limit), "--epochs", str(EPOCHS)]
    weights = args.weights if args.weights == "none" else str(Path(args.weights).resolve())
    flags += ["--weights", weights]
    found = []
    for method, (module, *more) in METHODS.items():
        folder = root / f"{method}-{repeat}"
        if method == "grid":
            folder.mkdir()
        else:
            shutil.copytree(root / f"grid-{repeat}", folder)
            more += ["--trials", str(args.trials)]
        seconds = run_module(module, [*flags, *more], folder, root / "cache")
        found.append(Searched(method, repeat, trained(folder), seconds))
    return found


def show(rows: list[dict[str, Any]]) -> None:
    print(f"{'':8}{'trials':>7}{'pruned':>7}{'epochs':>7}{'reach':>7}{'pass':>7}{'s':>7}"
          f"{'best':>8}{'equal':>8}{'s in all':>9}{'CPU s':>7}")  # fmt: skip
    for row in rows:
        print(
            f"{row['method']:8}{row['trials']:7g}{row['pruned']:7g}"
            f"{row['epochs']:7g}{row['epochs_to_reach']:7g}{row['epochs_to_pass']:7g}"
            f"{row['seconds_to_pass']:7.0f}{row['best']:8.4f}{row['best_at_equal_epochs']:8.4f}"
            f"{row['seconds']:9.0f}{row['cpu_seconds']:7.0f}"
        )


def middle(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compute the medians over the repeats, by method."""
    numbers = [name for name in rows[0] if name not in ("repeat", "method")]
    return [
        {"method": method}
        | {n: statistics.median(r[n] for r in rows if r["method"] == method) for n in numbers}
        for method in METHODS
    ]


def compare(args: argparse.Namespace) -> None:
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as root:
        for repeat in range(args.repeats):
            found = search_once(repeat, args, Path(root))
            equal = min(sum(t.epochs for t in each.trained) for each in found[1:])
            new = [each.row(equal) for each in found]
            rows += new
            print(f"repeat {repeat}: the best variant has {found[0].goal:.4f}")
            show(new)
            if args.out:
                pd.DataFrame(rows).to_csv(args.out, index=False)
    print(f"medians of {args.repeats}")
    grid, random_, tpe = median = middle(rows)
    show(median)
    epochs, seconds = grid["epochs"], grid["seconds"]
    before = {"epochs_to_reach": epochs, "epochs_to_pass": epochs, "seconds_to_pass": seconds,
              "epochs": epochs, "seconds": seconds}  # fmt: skip
    print("tpe / random, from zero, and from the end of the variants on")
    for name, start in before.items():
        rest = (tpe[name] - start) / (random_[name] - start)
        print(f"  {name:16}{tpe[name] / random_[name]:7.2f}{rest:7.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--dataset", default="chest", help="default: chest, from DATA_DIR")
    add("--weights", default="none", help="of MobileNet, alpha 0.25: none or FILE [default: none]")
    add("--limit", type=int, default=400, help="images [default: 400]")
    add("--trials", type=int, default=24, help="of each search, variants included [default: 24]")
    add("--repeats", type=int, default=3, help="each with a seed of its own [default: 3]")
    add("--out", type=Path, metavar="CSV", help="also write the table there")
    compare(parser.parse_args())


if __name__ == "__main__":
    load_dotenv(".env")
    sys.exit(run_command(main))
