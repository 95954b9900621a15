"""Name trials and data sets within the lengths that MLflow and Optuna accept."""

import hashlib
from pathlib import PurePath
from typing import Any

from study.config.initial_weights import starts_from_published
from study.config.trial_config import TrialConfig

MAX_TITLE_LENGTH = 80  # characters
MAX_DATA_NAME_LENGTH = 100  # characters; MLflow has room for titles of 250
# Characters of a data set's name in the name of an experiment or a study. MLflow has room for 256
# in all, and Optuna for 512.
MAX_EXPERIMENT_LENGTH = 250
MAX_STUDY_DATASET_LENGTH = 400
# Fields that a title always shows, in its own notation
TITLE_FIELDS = ("head", "hidden_layers", "dense_units", "lr", "seed", "fold", "folds")


def make_trial_title(config: TrialConfig) -> str:
    """Return a trial's name, such as `blood · D(8)·D(8) · 1e-5 · seed 2 · fold 1/5`.

    Other differences from the recipe follow, such as ` · dropout=0.2`, as far as they fit into
    `MAX_TITLE_LENGTH`. Published weights count as no difference, even if they come from a file.
    """
    pooling = ["GAP"] if config.head == "gap" else []
    head = pooling + [f"D({config.dense_units})"] * config.hidden_layers
    digits, _, power = f"{config.lr:.3e}".partition("e")
    rate = f"{float(digits):g}e{int(power)}"
    title = f"{data_name(config.dataset)} · {'·'.join(head) or 'F'} · {rate} · seed {config.seed}"
    if config.folds > 0:
        title += f" · fold {config.fold}/{config.folds}"
    hidden_fields = {"weights"} if starts_from_published(config) else set()
    differences = config.differences()
    return _append_differences(
        title, {name: value for name, value in differences.items() if name not in hidden_fields}
    )


def data_name(dataset: str) -> str:
    """Return a data set's short name: `blood`, or the last part of a `folder:PATH`."""
    kind, _, path = dataset.partition(":")
    name = PurePath(path.strip()).name or "folder" if kind == "folder" else dataset
    return shorten_name(name, MAX_DATA_NAME_LENGTH)


def shorten_name(name: str, limit: int) -> str:
    """Return a name cut to `limit` characters, of which the last 8 are a hash."""
    if len(name) <= limit:
        return name
    content = name.encode(errors="surrogateescape")
    return f"{name[: limit - 9]}-{hashlib.sha256(content).hexdigest()[:8]}"


def _append_differences(title: str, differences: dict[str, Any]) -> str:
    """Append as many differences to a title as fit, and ` …` if some do not."""
    parts = [
        # the path of a weights file is private, and titles are not
        f"{name}={'file' if name == 'weights' and value != 'none' else value}"
        for name, value in differences.items()
        if name not in TITLE_FIELDS
    ]
    for number, part in enumerate(parts, start=1):
        longer_title = f"{title}{' · ' if number == 1 else ' '}{part}"
        is_last = number == len(parts)
        # unless it is the last part, ` …` must still fit
        if len(longer_title) > (MAX_TITLE_LENGTH if is_last else MAX_TITLE_LENGTH - 2):
            return f"{title} …"
        title = longer_title
    return title
