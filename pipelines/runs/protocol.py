"""What must agree before two runs may share a row, and how to say it in plain words.

A protocol is every setting but those that the study varies (hidden layers, their units, the
learning rate) and those of which a row is the mean (the seed, and the fold of a cross-validation).
"""

from collections.abc import Sequence
from typing import Any

from pipelines.runs.finished import FinishedRun
from study.config import BACKBONES

VARIED = ("hidden_layers", "dense_units", "lr")
AVERAGED = ("seed", "fold")
# Settings that every table shows, so that they need no column of their own when they differ.
SHOWN = ("split", "folds", "weights", "image_size", "epochs", "backbone", "head")
WEIGHTS = {
    "imagenet": "ImageNet weights",
    "none": "no pretrained weights",
    "partial": "partial ImageNet weights",
    "file": "weights of an unknown file",
    "unknown": "weights not recorded",
}


def protocol(run: FinishedRun) -> dict[str, Any]:
    """Setting to plain value, the telling ones first; `weights` is the kind, paths are dropped."""
    settings = run.config.as_dict().items()
    fields = {name: value for name, value in settings if name not in (*VARIED, *AVERAGED)}
    fields |= {
        "dataset": run.config.dataset.split(":")[0],
        "weights": run.weights_kind,
        "weights_file": run.weights_file,
        "weights_digest": run.weights_digest,
        "data_digest": run.data_digest,
        "protocol_version": run.protocol_version,
    }
    return {name: fields.pop(name) for name in ("dataset", *SHOWN)} | fields


def differing(runs: Sequence[FinishedRun]) -> list[str]:
    """The settings that are not the same in all runs; `limit` also if any run used a subset."""
    seen: dict[str, set[Any]] = {}
    for run in runs:
        for name, value in protocol(run).items():
            seen.setdefault(name, set()).add(value)
    return [
        name
        for name, values in seen.items()
        if len(values) > 1 or (name == "limit" and values != {0})
    ]


def setting_text(name: str, value: Any) -> str:
    """One setting's value for a cell of its own column."""
    if name == "limit":
        return f"subset of about {value} images" if value else "all images"
    if name.endswith("_digest"):
        return str(value)[:12] or "not recorded"
    return f"{value:g}" if isinstance(value, float) else str(value)


def caption(run: FinishedRun, named: Sequence[str]) -> str:
    """One line that tells a run's protocol; `named` lists the further settings to name."""
    fields = protocol(run)
    parts = [
        BACKBONES[fields["backbone"]].title,
        split_text(run),
        weights_text(run),
        f"{fields['image_size']} x {fields['image_size']} pixels",
        f"at most {plural(fields['epochs'], 'epoch')}",
    ]
    for name in named:
        if name == "limit":
            parts.append(setting_text(name, fields[name]))
        elif name == "head" or name not in SHOWN:
            parts.append(f"{name.replace('_', ' ')} {setting_text(name, fields[name])}")
    return ", ".join(parts)


def weights_text(run: FinishedRun) -> str:
    """`ImageNet weights`, or `partial ImageNet weights (134 of 135 tensors)`."""
    text = WEIGHTS.get(run.weights_kind, run.weights_kind)
    equal, _, total = run.weights_published.partition("/")
    return (
        f"{text} ({equal} of {total} tensors)" if run.weights_kind == "partial" and total else text
    )


def split_text(run: FinishedRun) -> str:
    """`pooled split`, or `grouped split in 5 folds`."""
    folds = run.config.folds
    return f"{run.config.split} split" + f" in {folds} folds" * (folds > 0)


def plural(count: int, noun: str) -> str:
    """`1 run`, `14 runs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
