"""Protocol of a run: the settings that runs in one row of a table share.

This module also describes it in words.

A protocol is every setting but those that the study varies (hidden layers, their units, the
learning rate) and those of which a row is the mean (the seed, and the fold of a cross-validation).
"""

from collections.abc import Collection
from collections.abc import Sequence
from typing import Any

from pipelines.runs.finished_run import FinishedRun
from study.common.folder_names import drop_folder_path
from study.common.words import pluralize
from study.config.backbones import BACKBONES
from study.config.names import describe_split

VARIED = ("hidden_layers", "dense_units", "lr")
AVERAGED = ("seed", "fold")
# Every table shows these settings, so they need no column of their own where they differ.
ALWAYS_SHOWN = ("split", "folds", "weights", "image_size", "epochs", "backbone", "head")
WEIGHTS = {
    "imagenet": "ImageNet weights",
    "none": "no pretrained weights",
    "partial": "partial ImageNet weights",
    "file": "weights of an unknown file",
    "unknown": "weights not recorded",
}


def protocol(run: FinishedRun) -> dict[str, Any]:
    """Return the settings of a run's protocol with plain values.

    The most informative settings come first. `weights` is the kind of weights, and paths are left
    out.
    """
    settings = run.config.as_dict().items()
    fields = {name: value for name, value in settings if name not in (*VARIED, *AVERAGED)}
    fields |= {
        "dataset": drop_folder_path(run.config.dataset),
        "weights": run.weights_kind,
        "weights_file": run.weights_file,
        "weights_digest": run.weights_digest,
        "data_digest": run.data_digest,
        "protocol_version": run.protocol_version,
    }
    return {name: fields.pop(name) for name in ("dataset", *ALWAYS_SHOWN)} | fields


def find_differing_settings(runs: Sequence[FinishedRun]) -> list[str]:
    """List the settings that are not the same in all runs.

    `limit` is among them also if any run used a subset.
    """
    values_by_name: dict[str, set[Any]] = {}
    for run in runs:
        for name, value in protocol(run).items():
            values_by_name.setdefault(name, set()).add(value)
    return [
        name
        for name, values in values_by_name.items()
        if len(values) > 1 or (name == "limit" and values != {0})
    ]


def may_differ(name: str, swept: Collection[str]) -> bool:
    """Return whether a setting may differ between the rows of a sweep of some fields.

    The digest of the data covers the groups of the images only where the split uses them.
    """
    if name == "data_digest":
        return "split" in swept
    return name in swept or ("weights" in swept and name.startswith("weights_"))


def format_setting(name: str, value: Any) -> str:
    """Format the value of one setting for a cell of its own column."""
    if name == "limit":
        return f"subset of about {value} images" if value else "all images"
    if name.endswith("_digest"):
        return str(value)[:12] or "not recorded"
    return f"{value:g}" if isinstance(value, float) else str(value)


def describe_protocol(run: FinishedRun, named: Sequence[str], swept: Collection[str] = ()) -> str:
    """Describe the protocol of a run in one line.

    Args:
        run: any run of the protocol.
        named: the further settings to name.
        swept: the settings that differ between the rows of a sweep, which are left out.
    """
    fields = protocol(run)
    parts = {
        "backbone": BACKBONES[fields["backbone"]].title,
        "split": describe_split(run.config),
        "weights": describe_weights(run),
        "image_size": f"{fields['image_size']} x {fields['image_size']} pixels",
        "epochs": f"at most {pluralize(fields['epochs'], 'epoch')}",
    }
    for name in named:
        if name == "head" or name not in ALWAYS_SHOWN:
            parts[name] = describe_settings(run, [name])
    return ", ".join(text for name, text in parts.items() if not may_differ(name, swept))


def describe_settings(run: FinishedRun, names: Sequence[str]) -> str:
    """Describe some settings of a run, as `dropout 0.2, batch size 40`."""
    fields = protocol(run)
    return ", ".join(
        text if name == "limit" else f"{name.replace('_', ' ')} {text}"
        for name in names
        for text in [format_setting(name, fields[name])]
    )


def describe_weights(run: FinishedRun) -> str:
    """Describe the weights that a run started from.

    Examples: `ImageNet weights`, `partial ImageNet weights (134 of 135 tensors)`.
    """
    text = WEIGHTS.get(run.weights_kind, run.weights_kind)
    equal, _, total = run.weights_published.partition("/")
    has_counts = run.weights_kind == "partial" and bool(total)
    return f"{text} ({equal} of {total} tensors)" if has_counts else text


def format_share(some: Sequence[FinishedRun], runs: Sequence[FinishedRun]) -> str:
    """Return how many of the runs some are, as `all runs` or `2 of 7 runs`."""
    return "all runs" if len(some) == len(runs) else f"{len(some)} of {pluralize(len(runs), 'run')}"
