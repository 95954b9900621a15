"""Build the comparison table: a row for each protocol and variant.

Figures are means over the runs of a row, but for the learning time, which is the median.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from pipelines.compare.blocks import Block
from pipelines.compare.blocks import list_runs
from pipelines.compare.blocks import Row
from pipelines.compare.columns import AGAINST_BEST
from pipelines.compare.columns import COLUMNS
from pipelines.compare.columns import REPORT
from pipelines.compare.row_figures import average_metric
from pipelines.compare.row_figures import average_share
from pipelines.compare.row_figures import compute_median_fit_seconds
from pipelines.compare.row_figures import format_counts
from pipelines.compare.row_figures import format_folds
from pipelines.compare.row_figures import format_seeds
from pipelines.compare.verdict import Verdict
from pipelines.runs.finished_run import FinishedRun
from pipelines.runs.protocol import ALWAYS_SHOWN
from pipelines.runs.protocol import describe_weights
from pipelines.runs.protocol import find_differing_settings
from pipelines.runs.protocol import format_setting
from pipelines.runs.protocol import protocol
from study.common.folder_names import is_folder_name
from study.common.folder_names import make_folder_name
from study.common.paths import resolve_folder
from study.config.backbones import BACKBONES
from study.reported import read_reported


def build_table(blocks: Sequence[Block]) -> pd.DataFrame:
    """Build the table of one data set's blocks, unrounded.

    There is one line for each row of each block. Figures are means over a row's runs, but the
    learning time is the median, and an accuracy with an interval is over the runs that this is
    based on: those with predictions. In a cross-validation, figures on test images are taken over
    the images of its folds together. The accuracies of the first columns are in percent.

    The columns are those of `COLUMNS`, and one for each further setting that differs between runs.
    Those about a report are there only where there is a report, `Folds` only where there are any,
    `Not Compared` only where a row is not, and those about the best on validation only where there
    is a sweep.
    """
    runs = list_runs(blocks)
    named = find_differing_settings(runs)
    table = pd.DataFrame([_build_line(row, named) for block in blocks for row in block.rows])
    table["Variant"] = table["Variant"].astype("Int64")
    if not any(run.config.folds for run in runs):
        table = table.drop(columns="Folds")
    if not table["Not Compared"].any():
        table = table.drop(columns="Not Compared")
    if not any(block.sweep for block in blocks):
        table = _drop_group(table, AGAINST_BEST)
    if not read_reported(runs[0].config.dataset):
        table = _drop_group(table, REPORT)
    return table


def _drop_group(table: pd.DataFrame, group: str) -> pd.DataFrame:
    return table.drop(columns=[column.title for column in COLUMNS if column.group == group])


def _build_line(row: Row, named: list[str]) -> dict[str, Any]:
    runs = row.runs
    config = row.config
    line = {
        "Model": BACKBONES[config.backbone].title,
        "Hidden Layer": config.hidden_layers,
        "Dense Count": config.dense_units,
        "Learning Rate": config.lr,
        "Accuracy": 100 * _get_accuracy(row),
        "Learning Time(ms)": 1000 * compute_median_fit_seconds(runs),
        **_build_interval_cells(row),
        **_build_report_cells(row),
        **_build_comparison_cells(row.verdict),
        **_build_best_cells(row),
        **_build_setting_cells(runs, named),
    }
    for part in ("Train", "Val", "Test"):
        for metric in ("Loss", "Accuracy"):
            line[f"{part} {metric}"] = average_metric(runs, f"{part}_{metric}".lower())
    return line | {
        "Total Time(s)": average_metric(runs, "total_seconds"),
        "Images per Second": average_metric(runs, "images_per_second"),
        "Dead Units": average_metric(runs, "dead_units"),
        "Run IDs": " ".join(run.run_id for run in runs),
        "dataset": _name_dataset(config.dataset),
        "weights_digest": runs[0].weights_digest,
    }


def _name_dataset(dataset: str) -> str:
    """Name the data set as the configs do, but without the path of a folder.

    A folder is `folder:NAME`, because its path stays private.
    """
    if not is_folder_name(dataset):
        return dataset
    return make_folder_name(resolve_folder(dataset).name)


def _get_accuracy(row: Row) -> float:
    """Return the accuracy that the interval is about, or the mean over all runs without one."""
    if row.verdict.accuracy is not None:
        return row.verdict.accuracy.value
    return average_metric(row.runs, "test_accuracy")


def _build_interval_cells(row: Row) -> dict[str, Any]:
    verdict = row.verdict
    accuracy = verdict.accuracy
    units = "groups" if verdict.grouped else "images"
    if verdict.seeds > 1:
        units = f"{units} and seeds"
    if verdict.seeds < row.trained_seeds:
        units = f"{units}, of {verdict.seeds} of {row.trained_seeds} seeds"
    return {
        "Low": 100 * accuracy.low if accuracy else None,
        "High": 100 * accuracy.high if accuracy else None,
        "By": units if accuracy else "",
        "SD (points)": _to_points(verdict.deviation),
    }


def _build_comparison_cells(verdict: Verdict) -> dict[str, Any]:
    gain = verdict.gain
    wins = verdict.wins
    return {
        "Gain (points)": _to_points(gain.value if gain else None),
        "Gain Low": _to_points(gain.low if gain else None),
        "Gain High": _to_points(gain.high if gain else None),
        "p (Holm)": verdict.p,
        "Seeds Compared": str(verdict.pairs) if gain else "",
        "Detectable (points)": _to_points(verdict.power.smallest if verdict.power else None),
        "P(better)": wins.value if wins else None,
        "P(better) Low": wins.low if wins else None,
        "P(better) High": wins.high if wins else None,
        "Time Ratio": verdict.time_ratio,
        "Not Compared": verdict.obstacle,
    }


def _build_best_cells(row: Row) -> dict[str, Any]:
    lead = row.verdict.lead
    return {
        "Best on Validation": _format_is_best(row),
        "Lead (points)": _to_points(lead.value if lead else None),
        "Lead Low": _to_points(lead.low if lead else None),
        "Lead High": _to_points(lead.high if lead else None),
        "p of Lead (Holm)": row.verdict.lead_p,
    }


def _format_is_best(row: Row) -> str:
    """Write whether a row is the best on validation, or tied with the first of the best."""
    if row.cell is None or not (row.cell.is_best or row.cell.is_tied):
        return ""
    return "yes" if row.cell.is_best else "tied"


def _to_points(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _build_report_cells(row: Row) -> dict[str, Any]:
    report = row.report
    return {
        "Variant": row.variant,
        "Head": row.config.head_notation,
        "Reported Accuracy": 100 * report.test_acc if report else None,
        "Difference (points)": 100 * (_get_accuracy(row) - report.test_acc) if report else None,
        "In Interval": _format_in_interval(row),
        "Reported Learning Time(ms)": 1000 * report.fit_seconds if report else None,
    }


def _format_in_interval(row: Row) -> str:
    if row.is_reproduced is None:
        return ""
    return "yes" if row.is_reproduced else "no"


def _build_setting_cells(runs: list[FinishedRun], named: list[str]) -> dict[str, Any]:
    fields = protocol(runs[0])
    extra_names = [name for name in named if name not in ALWAYS_SHOWN]
    return {
        "Seeds": format_seeds(runs),
        "Folds": format_folds(runs),
        "Split": fields["split"],
        "Weights": describe_weights(runs[0]),
        "Image Size": fields["image_size"],
        "Epochs": fields["epochs"],
        **{
            name.replace("_", " ").title(): format_setting(name, fields[name])
            for name in extra_names
        },
        "Train/Val/Test Images": format_counts([run.sizes for run in runs]),
        "Leak": average_share([run.leaking for run in runs]),
        "Leak at Least": average_share([run.least_leaking for run in runs]),
        "Test Groups per Run": average_metric(runs, "test_groups"),
    }
