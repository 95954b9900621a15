"""Plan the trials of a grid over the variants, and name the grid.

This module knows nothing of Optuna.
"""

import argparse
import hashlib
import json
from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

from study.common.command import parse_count
from study.common.command import Parser
from study.config.initial_weights import weights_kind
from study.config.names import data_name
from study.config.names import MAX_STUDY_DATASET_LENGTH
from study.config.names import shorten_name
from study.config.trial_config import TrialConfig
from study.flags import config_from_flags
from study.variants import variant_fields
from study.variants import VARIANTS

BY_VARIANT = ("hidden_layers", "dense_units", "lr")  # the fields that a variant sets
MAX_SEEDS = 1000


class Cell(NamedTuple):
    """One trial of a grid, where variant 0 is the base config unchanged."""

    variant: int
    seed: int
    fold: int = 0

    def __str__(self) -> str:
        subject = f"variant {self.variant}" if self.variant else "the config"
        fold = f" and fold {self.fold}" if self.fold > 0 else ""
        return f"{subject} with seed {self.seed}{fold}"


def add_seeds_flag(parser: Parser) -> None:
    """Add the flag `--seeds`, the number of trainings of each variant."""
    parser.add_argument(
        "--seeds", metavar="N", help="train each variant with N seeds, from --seed on [default: 1]"
    )


def plan_grid(args: argparse.Namespace) -> tuple[TrialConfig, dict[str, list[int]]]:
    """Return the base config and the search space that the parsed flags name.

    Raises:
        ConfigError: a value is unknown, out of range, or contradicts another.
    """
    every_fold = args.fold is None and args.folds not in (None, "0")
    if every_fold:
        args.fold = "1"
    base = config_from_flags(args)
    seeds = None if args.seeds is None else parse_count("seeds", args.seeds, MAX_SEEDS)
    return base, search_space(base, seeds, every_fold=every_fold)


def search_space(
    base: TrialConfig, seeds: int | None = None, *, every_fold: bool = False
) -> dict[str, list[int]]:
    """Return the values of `variant`, `seed` and `fold` that differ between trials.

    Args:
        base: the config that the variants change.
        seeds: the number of seeds of each variant, from that of `base` on. None keeps its one.
        every_fold: whether each fold of `base` is the test set in turn.
    """
    space = {"variant": [variant.number for variant in VARIANTS]}
    if seeds is not None:
        space["seed"] = [base.seed + i for i in range(seeds)]
    if every_fold:
        space["fold"] = list(range(1, base.folds + 1))
    return space


def make_configs(base: TrialConfig, space: Mapping[str, list[int]]) -> dict[Cell, TrialConfig]:
    """Return `base`, changed to each point of the search space."""
    points = [dict(zip(space, values, strict=True)) for values in product(*space.values())]
    cells = [_make_cell(base, point) for point in points]
    return {cell: _make_config(base, cell) for cell in cells}


def _make_cell(base: TrialConfig, point: Mapping[str, int]) -> Cell:
    return Cell(point.get("variant", 0), point.get("seed", base.seed), point.get("fold", base.fold))


def _make_config(base: TrialConfig, cell: Cell) -> TrialConfig:
    fields = variant_fields(cell.variant, base) if cell.variant else {}
    return base.replace(seed=cell.seed, fold=cell.fold, **fields)


def shared_fields(base: TrialConfig) -> dict[str, str | int | float]:
    """Return the fields that all trials of a grid have in common."""
    varying_fields = (*BY_VARIANT, "seed", "fold")
    return {name: value for name, value in base.as_dict().items() if name not in varying_fields}


def grid_name(base: TrialConfig, digest: str) -> str:
    """Return the name of a grid, which differs between data sets and between settings."""
    # A file with the published weights is the same start as Keras' download of them.
    weights = {"weights": "imagenet"} if weights_kind(base) == "imagenet" else {}
    settings = json.dumps([shared_fields(base) | weights, digest], sort_keys=True)
    settings_hash = hashlib.sha256(settings.encode()).hexdigest()[:8]
    dataset = shorten_name(base.dataset, MAX_STUDY_DATASET_LENGTH)
    return f"grid-{dataset}-{base.image_size}px-{base.epochs}ep-{settings_hash}"


def parent_run_title(kind: str, base: TrialConfig, digest: str) -> str:
    """Return a parent run's name, as `blood · 7 variants · pooled split · 30 epochs`."""
    epochs = "1 epoch" if base.epochs == 1 else f"{base.epochs} epochs"
    return f"{data_name(base.dataset, digest)} · {kind} · {describe_split(base)} · {epochs}"


def describe_split(base: TrialConfig) -> str:
    """Describe the split, as `grouped split in 5 folds`, or without the folds."""
    folds = f" in {base.folds} folds" if base.folds > 0 else ""
    return f"{base.split} split{folds}"
