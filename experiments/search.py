"""Count the epochs that a search needs to beat the seven variants.

    DATA_DIR=../shared/data python -m experiments.search --weights FILE --out search.csv

Trains the grid, and then searches twice from a copy of the grid's folder, whose runs both searches
take over: at random without pruning, and by TPE with median pruning. The epochs of the grid count,
too. `reach` and `pass` are the epochs until a new config is as good as the best variant on
validation, and until one is better. `equal` is the best score within the epochs of the shorter
search.
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
from mlflow.tracking import MlflowClient

from benchmarks.settings import run_module
from study.common.command import run_command
from study.tracking import queries
from study.variants import VARIANTS

EPOCHS = 5
METRIC = "val_accuracy"
# A trial takes seconds with these. If image size and batch size were searched, each new value would
# cost decoding and compiling.
FIXED = ("--alpha", "0.25", "--image-size", "64", "--batch-size", "16")
METHODS = {
    "grid": ("study.grid",),
    "random": ("study.tpe", "--sampler", "random", "--pruner", "none", "--confirm", "0"),
    "tpe": ("study.tpe", "--sampler", "tpe", "--pruner", "median", "--confirm", "0"),
}


@dataclass(frozen=True)
class TrainedConfig:
    """A config that was trained to its end, or until it was pruned."""

    epochs: int
    seconds: float  # from the run's start to its end
    score: float | None  # on validation; None if pruned


@dataclass(frozen=True)
class SearchResult:
    """The trials of one method in the order of training, the variants first."""

    method: str
    repeat: int
    trained: list[TrainedConfig]
    cpu_seconds: float  # of the command and its processes, without the variants'

    @property
    def goal(self) -> float:
        """Return the score of the best variant."""
        return self.find_best_score(self.trained[: len(VARIANTS)])

    def find_best_score(self, trained: list[TrainedConfig]) -> float:
        """Return the highest score."""
        return max(each.score for each in trained if each.score is not None)

    def sum_cost_until(self, suffices: Callable[[float], bool], skip: int) -> tuple[float, float]:
        """Return the epochs and seconds until a score suffices, or inf if none does.

        Args:
            suffices: of a score.
            skip: how many of the first trials have scores that do not count.
        """
        for number, each in enumerate(self.trained):
            if number >= skip and each.score is not None and suffices(each.score):
                trials = self.trained[: number + 1]
                epochs = sum(trial.epochs for trial in trials)
                return epochs, sum(trial.seconds for trial in trials)
        return math.inf, math.inf

    def find_best_score_within(self, epochs: int) -> float:
        """Return the best score of the trials that ended within `epochs` epochs."""
        ends = accumulate(each.epochs for each in self.trained)
        trials = [trial for trial, end in zip(self.trained, ends, strict=True) if end <= epochs]
        return self.find_best_score(trials)

    def make_row(self, equal_epochs: int) -> dict[str, Any]:
        """Return a row of the table, counted from the first variant on."""
        skip = 0 if self.method == "grid" else len(VARIANTS)
        epochs_to_reach, _ = self.sum_cost_until(lambda score: score >= self.goal, skip)
        epochs_to_pass, seconds_to_pass = self.sum_cost_until(lambda score: score > self.goal, skip)
        return {
            "repeat": self.repeat,
            "method": self.method,
            "trials": len(self.trained),
            "pruned": sum(each.score is None for each in self.trained),
            "epochs": sum(each.epochs for each in self.trained),
            "epochs_to_reach": epochs_to_reach,
            "epochs_to_pass": epochs_to_pass,
            "seconds_to_pass": round(seconds_to_pass, 1),
            "best": self.find_best_score(self.trained),
            "equal_epochs": equal_epochs,
            "best_at_equal_epochs": self.find_best_score_within(equal_epochs),
            "seconds": round(sum(each.seconds for each in self.trained), 1),
            "cpu_seconds": round(self.cpu_seconds, 1),
        }


def read_trials(folder: Path) -> list[TrainedConfig]:
    """Read the trials from the MLflow file of a folder, earliest first."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    runs = [run for run in queries.search_runs(client, "") if "fingerprint" in run.data.tags]
    return [
        TrainedConfig(
            len(queries.fetch_curve(client, run.info.run_id, METRIC)),
            (run.info.end_time - run.info.start_time) / 1000,
            run.data.metrics[METRIC] if "finished" in run.data.tags else None,
        )
        for run in runs
    ]


def search_once(repeat: int, args: argparse.Namespace, root: Path) -> list[SearchResult]:
    """Run the grid, then both searches from copies of its runs, all with one seed."""
    flags = ["--dataset", args.dataset, "--split", "grouped", "--seed", str(repeat), *FIXED]
    flags += ["--limit", str(args.limit), "--epochs", str(EPOCHS)]
    weights = args.weights if args.weights == "none" else str(Path(args.weights).resolve())
    flags += ["--weights", weights]
    results = []
    for method, (module, *more) in METHODS.items():
        folder = root / f"{method}-{repeat}"
        if method == "grid":
            folder.mkdir()
        else:
            shutil.copytree(root / f"grid-{repeat}", folder)
            more += ["--trials", str(args.trials)]
        seconds = run_module(module, [*flags, *more], folder, root / "cache")
        results.append(SearchResult(method, repeat, read_trials(folder), seconds))
    return results


def print_rows(rows: list[dict[str, Any]]) -> None:
    """Print rows of the table below their headings."""
    print(
        f"{'':8}{'trials':>7}{'pruned':>7}{'epochs':>7}{'reach':>7}{'pass':>7}{'s':>7}"
        f"{'best':>8}{'equal':>8}{'s in all':>9}{'CPU s':>7}"
    )
    for row in rows:
        print(
            f"{row['method']:8}{row['trials']:7g}{row['pruned']:7g}"
            f"{row['epochs']:7g}{row['epochs_to_reach']:7g}{row['epochs_to_pass']:7g}"
            f"{row['seconds_to_pass']:7.0f}{row['best']:8.4f}{row['best_at_equal_epochs']:8.4f}"
            f"{row['seconds']:9.0f}{row['cpu_seconds']:7.0f}"
        )


def compute_medians(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each method with the medians over the repeats."""
    names = [name for name in rows[0] if name not in ("repeat", "method")]
    medians = []
    for method in METHODS:
        own_rows = [row for row in rows if row["method"] == method]
        figures = {name: statistics.median(row[name] for row in own_rows) for name in names}
        medians.append({"method": method} | figures)
    return medians


def compare_methods(args: argparse.Namespace) -> None:
    """Run all repeats, and print each, their medians, and the ratios of the searches."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as root:
        for repeat in range(args.repeats):
            results = search_once(repeat, args, Path(root))
            equal_epochs = min(
                sum(trial.epochs for trial in result.trained) for result in results[1:]
            )
            new_rows = [result.make_row(equal_epochs) for result in results]
            rows += new_rows
            print(f"repeat {repeat}: the best variant has {results[0].goal:.4f}")
            print_rows(new_rows)
            if args.out:
                pd.DataFrame(rows).to_csv(args.out, index=False)
    print(f"medians of {args.repeats}")
    medians = compute_medians(rows)
    print_rows(medians)
    _print_ratios(*medians)


def _print_ratios(grid: dict[str, Any], random: dict[str, Any], tpe: dict[str, Any]) -> None:
    """Print the ratios of TPE to random search, with and without the variants' cost."""
    variant_costs = {
        "epochs_to_reach": grid["epochs"],
        "epochs_to_pass": grid["epochs"],
        "seconds_to_pass": grid["seconds"],
        "epochs": grid["epochs"],
        "seconds": grid["seconds"],
    }
    print("tpe / random, with the variants, and without them")
    for name, cost in variant_costs.items():
        ratio = tpe[name] / random[name]
        ratio_without = (tpe[name] - cost) / (random[name] - cost)
        print(f"  {name:16}{ratio:7.2f}{ratio_without:7.2f}")


def main() -> None:
    """Run the command."""
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
    compare_methods(parser.parse_args())


if __name__ == "__main__":
    sys.exit(run_command(main))
