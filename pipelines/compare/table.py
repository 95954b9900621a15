"""The comparison table: a row for each protocol and variant, every figure a mean over its runs."""

import math
import sys
from collections.abc import Mapping
from collections.abc import Sequence
from itertools import groupby
from statistics import fmean
from statistics import median
from typing import Any

import pandas as pd

from pipelines.compare.columns import BLOCK
from pipelines.compare.verdict import judge
from pipelines.compare.verdict import Verdict
from pipelines.runs.finished import FinishedRun
from pipelines.runs.protocol import caption
from pipelines.runs.protocol import differing
from pipelines.runs.protocol import protocol
from pipelines.runs.protocol import setting_text
from pipelines.runs.protocol import SHOWN
from pipelines.runs.protocol import VARIED
from pipelines.runs.protocol import weights_text
from study.config import BACKBONES
from study.reported import Reported
from study.reported import reported
from study.statistics.predictions import Tested
from study.variants import variant_of


def build_table(runs: Sequence[FinishedRun], tested: Mapping[str, Tested]) -> pd.DataFrame:
    """Runs of one data set to rows, unrounded; accuracies of the first columns in percent.

    One row for each (protocol, variant), and after the seven one for each further head and
    learning rate; blocks and rows are sorted. Figures are means over a row's runs (the learning
    time: the median); those on test images, of a cross-validation, are taken over the images of its
    folds together. Intervals and comparisons, within a block, follow from `tested`. Columns:
    `BLOCK`, those of `COLUMNS` (the reports' only where there is a report, `Folds` only where there
    are any), and one for each further setting that differs between runs.
    """
    named = differing(runs)
    table = pd.DataFrame(
        [
            _row(row, named, verdict)
            for block in blocks_of(runs)
            for row, verdict in zip(block, judge(block, tested), strict=True)
        ]
    )
    table["Variant"] = table["Variant"].astype("Int64")
    if not any(run.config.folds for run in runs):
        table = table.drop(columns="Folds")
    if not reported(runs[0].config.dataset):
        table = table.drop(columns=[title for title in table if _needs_report(str(title))])
    return table


def blocks_of(runs: Sequence[FinishedRun]) -> list[list[list[FinishedRun]]]:
    """The runs of each row, in the table's order, by block: rows of one protocol."""
    rows: dict[tuple[Any, ...], list[FinishedRun]] = {}
    for run in sorted(runs, key=_order):
        rows.setdefault(_row_key(run), []).append(run)
    ordered = [rows[key] for key in sorted(rows)]
    by_protocol = groupby(ordered, key=lambda row: protocol(row[0]))
    return [list(block) for _, block in by_protocol]


def _order(run: FinishedRun) -> tuple[Any, ...]:
    return run.config.seed, run.config.fold, run.started, run.run_id


def _needs_report(title: str) -> bool:
    return title.startswith("Reported") or title in ("Difference (points)", "In Interval")


def _row_key(run: FinishedRun) -> tuple[Any, ...]:
    swept = tuple(getattr(run.config, name) for name in VARIED)
    return (*protocol(run).values(), variant_of(run.config) or sys.maxsize, *swept)


def _row(runs: list[FinishedRun], named: list[str], verdict: Verdict) -> dict[str, Any]:
    config = runs[0].config
    row = {
        BLOCK: caption(runs[0], named),
        "Model": BACKBONES[config.backbone].title,
        "Hidden Layer": config.hidden_layers,
        "Dense Count": config.dense_units,
        "Learning Rate": config.lr,
        "Accuracy": 100 * _mean(runs, "test_accuracy"),
        "Learning Time(ms)": 1000 * median(_values(runs, "fit_seconds")),
        **_interval(verdict),
        **_beside(runs, verdict),
        **_against(verdict),
        **_settings(runs, named),
    }
    for part in ("Train", "Val", "Test"):
        for figure in ("Loss", "Accuracy"):
            row[f"{part} {figure}"] = _mean(runs, f"{part}_{figure}".lower())
    return row | {
        "Total Time(s)": _mean(runs, "total_seconds"),
        "Images per Second": _mean(runs, "images_per_second"),
        "Dead Units": _mean(runs, "dead_units"),
        "Run IDs": " ".join(run.run_id for run in runs),
    }


def _interval(verdict: Verdict) -> dict[str, Any]:
    found = verdict.accuracy
    by = "groups" if verdict.grouped else "images"
    return {
        "Low": 100 * found.low if found else None,
        "High": 100 * found.high if found else None,
        "By": "" if found is None else by + " and seeds" * (verdict.seeds > 1),
        "SD (points)": _points(verdict.deviation),
    }


def _against(verdict: Verdict) -> dict[str, Any]:
    gain = verdict.gain
    return {
        "Gain (points)": _points(gain.value if gain else None),
        "Gain Low": _points(gain.low if gain else None),
        "Gain High": _points(gain.high if gain else None),
        "p (Holm)": verdict.p,
        "P(better)": verdict.wins.value if verdict.wins else None,
        "Time Ratio": verdict.time_ratio,
    }


def _points(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _beside(runs: list[FinishedRun], verdict: Verdict) -> dict[str, Any]:
    variant = variant_of(runs[0].config)
    report = _report_of(runs[0])
    ours = _mean(runs, "test_accuracy")
    return {
        "Variant": variant,
        "Head": runs[0].config.head_notation,
        "Reported Accuracy": 100 * report.test_acc if report else None,
        "Difference (points)": 100 * (ours - report.test_acc) if report else None,
        "In Interval": _within(report, verdict),
        "Reported Learning Time(ms)": 1000 * report.fit_seconds if report else None,
    }


def _within(report: Reported | None, verdict: Verdict) -> str:
    if report is None or verdict.accuracy is None:
        return ""
    return "yes" if verdict.accuracy.low <= report.test_acc <= verdict.accuracy.high else "no"


def _report_of(run: FinishedRun) -> Reported | None:
    report = reported(run.config.dataset).get(variant_of(run.config) or 0)
    return report if report and report.backbone == run.config.backbone else None


def _settings(runs: list[FinishedRun], named: list[str]) -> dict[str, Any]:
    fields = protocol(runs[0])
    extra = [name for name in named if name not in SHOWN]
    return {
        "Seeds": _seeds(runs),
        "Folds": _folds(runs),
        "Split": fields["split"],
        "Weights": weights_text(runs[0]),
        "Image Size": fields["image_size"],
        "Epochs": fields["epochs"],
        **{name.replace("_", " ").title(): setting_text(name, fields[name]) for name in extra},
        "Train/Val/Test Images": _span([run.sizes for run in runs]),
        "Leak": _leak(runs),
        "Test Groups": _mean(runs, "test_groups"),
    }


def _seeds(runs: list[FinishedRun]) -> str:
    seeds = [str(run.config.seed) for run in runs]
    return " ".join(dict.fromkeys(seeds) if runs[0].config.folds else seeds)


def _folds(runs: list[FinishedRun]) -> str:
    """`1 2 3 of 5`; where not every seed has the same folds, `1 2 3, 1 2 of 5`."""
    folds = runs[0].config.folds
    of_seed: dict[int, list[str]] = {}
    for run in runs:
        of_seed.setdefault(run.config.seed, []).append(str(run.config.fold))
    listed = dict.fromkeys(" ".join(found) for found in of_seed.values())
    return f"{', '.join(listed)} of {folds}" if folds else ""


def _leak(runs: list[FinishedRun]) -> float:
    """The mean share of test images with a sibling in train; not a number if any is unknown."""
    known = [run.leaking for run in runs if run.leaking]
    return fmean(some / of for some, of in known) if len(known) == len(runs) else math.nan


def _values(runs: list[FinishedRun], metric: str) -> list[float]:
    return [_finite(run.metrics.get(metric, math.nan)) for run in runs]


def _mean(runs: list[FinishedRun], metric: str) -> float:
    values = _values(runs, metric)
    if runs[0].config.folds and metric in ("test_loss", "test_accuracy"):
        return fmean(values, [int(run.sizes.split("/")[-1]) for run in runs])
    return fmean(values)


def _finite(value: float) -> float:
    # MLflow's databases hold infinity as the largest float.
    return math.copysign(math.inf, value) if abs(value) >= sys.float_info.max else value


def _span(texts: list[str]) -> str:
    """Counts like `812/1168`, those that differ between the seeds as `798-812/1168`."""
    distinct = sorted(set(texts))
    parts = [text.split("/") for text in distinct]
    if len({len(part) for part in parts}) > 1 or not all(n.isdigit() for p in parts for n in p):
        return " or ".join(distinct)
    spans = [sorted({int(count) for count in counts}) for counts in zip(*parts, strict=True)]
    return "/".join(f"{s[0]}-{s[-1]}" if len(s) > 1 else str(s[0]) for s in spans)
