"""Write the files that a finished trial leaves beside its metrics.

Knows nothing of MLflow.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.config.trial_config import TrialConfig
from study.data.names import escape_name
from study.data.prepare import Data
from study.data.split import Split

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Epochs = Sequence[dict[str, float]]


def write_artifacts(
    folder: Path,
    config: TrialConfig,
    data: Data,
    split: Split,
    history: Epochs,
    probabilities: dict[str, NDArray[np.float32]],
) -> None:
    """Write the files of a finished trial.

    They are config.json, history.csv, predictions.parquet and curves.png, and skipped.csv if images
    were skipped.

    Args:
        folder: where to write; it exists.
        config: the trial.
        data: its images.
        split: its rows.
        history: one dict for each epoch.
        probabilities: for `val` and `test`, (n, classes) in the order of the split's rows.
    """
    text = json.dumps(config.as_dict(), indent=2)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")
    pd.DataFrame(list(history)).to_csv(folder / "history.csv", index=False)
    tabulate_predictions(data, split, probabilities).to_parquet(
        folder / "predictions.parquet", index=False
    )
    draw_curves(history).savefig(folder / "curves.png", dpi=110)
    if data.skipped:
        rows = [(escape_name(image), reason) for image, reason in data.skipped]
        skipped = pd.DataFrame(rows, columns=["image", "reason"])
        skipped.to_csv(folder / "skipped.csv", index=False)


def tabulate_predictions(
    data: Data, split: Split, probabilities: dict[str, NDArray[np.float32]]
) -> pd.DataFrame:
    """Return a table with one row for each image of val and test.

    Columns: image (as `escape_name` writes it), split, label, group (a patient or an original;
    empty if groups are not known for the data set), and `p_<class>` for each class.
    """
    tables = []
    for part, values in probabilities.items():
        rows = getattr(split, part)
        table = pd.DataFrame(values, columns=[f"p_{name}" for name in data.classes])
        table.insert(0, "image", [escape_name(data.images[row]) for row in rows])
        table.insert(1, "split", part)
        table.insert(2, "label", [data.classes[data.y[row]] for row in rows])
        groups = [data.groups[row] for row in rows] if data.groups else None
        table.insert(3, "group", pd.Series(groups, dtype="str", index=table.index))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def draw_curves(history: Epochs) -> "Figure":
    """Draw loss and accuracy over epochs, side by side, for train and validation."""
    from matplotlib.figure import Figure  # imported late: it takes a second

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    table = pd.DataFrame(list(history))
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(table["epoch"], table[name], marker="o", markersize=3, label="train")
        axes.plot(table["epoch"], table[f"val_{name}"], marker="o", markersize=3, label="val")
        axes.set(xlabel="epoch", title=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    return figure
