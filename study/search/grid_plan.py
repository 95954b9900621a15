"""Plan the trials of a grid, and name the grid.

A grid trains a base config at each combination of swept values, each with the same seeds and folds.
The seven variants are the sweep of `variant`. This module knows nothing of Optuna.
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any
from typing import NamedTuple

from study.common.command import parse_count
from study.common.command import Parser
from study.config.initial_weights import weights_kind
from study.config.names import data_name
from study.config.names import MAX_STUDY_DATASET_LENGTH
from study.config.names import shorten_name
from study.config.sweep import format_value
from study.config.sweep import Sweep
from study.config.sweep import Value
from study.config.trial_config import TrialConfig
from study.flags import config_from_flags
from study.variants import variant_fields
from study.variants import VARIANTS

VARIANT = "variant"  # the swept name of the seven variants, which is no field of a config
BY_VARIANT = ("hidden_layers", "dense_units", "lr")  # the fields that a variant sets
MAX_SEEDS = 1000

# The values of the swept fields, in the order of the sweep. That of the base config is empty.
Setting = tuple[tuple[str, Value], ...]


class Cell(NamedTuple):
    """One trial of a grid: a setting of the swept fields with a seed and a fold."""

    setting: Setting
    seed: int
    fold: int = 0

    def __str__(self) -> str:
        fold = f" and fold {self.fold}" if self.fold > 0 else ""
        return f"{describe_setting(self.setting)} with seed {self.seed}{fold}"


def describe_setting(setting: Setting) -> str:
    """Describe a setting, as `variant 3`, or as `lr=1e-5 head=gap`."""
    if not setting:
        return "the config"
    values = dict(setting)
    if VARIANT in values:
        return f"{VARIANT} {values[VARIANT]}"
    return " ".join(f"{name}={format_value(value)}" for name, value in setting)


def variant_setting(number: int) -> Setting:
    """Return the setting of a variant, 1 to 7."""
    return ((VARIANT, number),)


VARIANT_SWEEP = Sweep(
    {VARIANT: tuple(variant.number for variant in VARIANTS)}, {VARIANT: VARIANTS[0].number}
)


@dataclass(frozen=True)
class GridPlan:
    """The trials that the flags ask for: a base config, and what is changed in it.

    `seeds` and `folds` are None if all trials have those of the base config.
    """

    base: TrialConfig
    sweep: Sweep
    seeds: Sequence[int] | None = None
    folds: Sequence[int] | None = None

    @property
    def space(self) -> dict[str, Sequence[Value]]:
        """Return the values of all that differs between trials, by name."""
        space: dict[str, Sequence[Value]] = dict(self.sweep.fields)
        if self.seeds is not None:
            space["seed"] = self.seeds
        if self.folds is not None:
            space["fold"] = self.folds
        return space

    @property
    def settings(self) -> list[Setting]:
        """Return all combinations of the swept values."""
        fields = self.sweep.fields
        return [tuple(zip(fields, values, strict=True)) for values in product(*fields.values())]

    @property
    def baseline(self) -> Setting:
        """Return the setting that the others are compared with."""
        return tuple((name, self.sweep.baseline[name]) for name in self.sweep.fields)

    def make_configs(self) -> dict[Cell, TrialConfig]:
        """Return the config of each trial."""
        seeds = [self.base.seed] if self.seeds is None else self.seeds
        folds = [self.base.fold] if self.folds is None else self.folds
        cells = [Cell(*values) for values in product(self.settings, seeds, folds)]
        return {cell: self._make_config(cell) for cell in cells}

    def _make_config(self, cell: Cell) -> TrialConfig:
        changes: dict[str, Any] = dict(cell.setting)
        if VARIANT in changes:
            changes = variant_fields(changes[VARIANT], self.base)
        return self.base.replace(seed=cell.seed, fold=cell.fold, **changes)

    def shared_fields(self) -> dict[str, str | int | float]:
        """Return the fields that all trials have in common."""
        swept_fields = BY_VARIANT if VARIANT in self.sweep.fields else self.sweep.fields
        return {
            name: value
            for name, value in self.base.as_dict().items()
            if name not in (*swept_fields, "seed", "fold")
        }

    def name(self, digest: str) -> str:
        """Return the grid's name, which differs between data sets and between settings."""
        fields = self.shared_fields()
        # A file with the published weights is the same start as Keras' download of them.
        weights = {"weights": "imagenet"} if weights_kind(self.base) == "imagenet" else {}
        settings = json.dumps([fields | weights, digest], sort_keys=True)
        settings_hash = hashlib.sha256(settings.encode()).hexdigest()[:8]
        dataset = shorten_name(self.base.dataset, MAX_STUDY_DATASET_LENGTH)
        return f"grid-{dataset}-{self.base.image_size}px-{self.base.epochs}ep-{settings_hash}"

    def describe_sweep(self) -> str:
        """Describe the settings, as `7 variants` or `3 lr x 2 head`."""
        if VARIANT in self.sweep.fields:
            return f"{len(VARIANTS)} variants"
        return " x ".join(f"{len(values)} {name}" for name, values in self.sweep.fields.items())


def add_seeds_flag(parser: Parser) -> None:
    """Add the flag `--seeds`, the number of trainings of each config."""
    parser.add_argument(
        "--seeds", metavar="N", help="train each variant with N seeds, from --seed on [default: 1]"
    )


def plan_grid(args: argparse.Namespace) -> GridPlan:
    """Return the plan that the parsed flags name.

    Raises:
        ConfigError: a value is unknown, out of range, or contradicts another.
    """
    every_fold = args.fold is None and args.folds not in (None, "0")
    if every_fold:
        args.fold = "1"
    base = config_from_flags(args)
    seeds = None if args.seeds is None else parse_count("seeds", args.seeds, MAX_SEEDS)
    return plan_variants(base, seeds, every_fold=every_fold)


def plan_variants(
    base: TrialConfig, seeds: int | None = None, *, every_fold: bool = False
) -> GridPlan:
    """Return the plan of the seven variants.

    Args:
        base: the config that the variants change.
        seeds: the number of seeds of each variant, from that of `base` on. None keeps its one.
        every_fold: whether each fold of `base` is the test set in turn.
    """
    return make_plan(base, VARIANT_SWEEP, seeds, every_fold=every_fold)


def make_plan(
    base: TrialConfig, sweep: Sweep, seeds: int | None = None, *, every_fold: bool = False
) -> GridPlan:
    """Return the plan of a sweep, with arguments as in `plan_variants`."""
    return GridPlan(
        base,
        sweep,
        None if seeds is None else range(base.seed, base.seed + seeds),
        range(1, base.folds + 1) if every_fold else None,
    )


def parent_run_title(kind: str, base: TrialConfig) -> str:
    """Return a parent run's name, as `blood · 7 variants · pooled split · 30 epochs`."""
    epochs = "1 epoch" if base.epochs == 1 else f"{base.epochs} epochs"
    return f"{data_name(base.dataset)} · {kind} · {describe_split(base)} · {epochs}"


def describe_split(base: TrialConfig) -> str:
    """Describe the split, as `grouped split in 5 folds`, or without the folds."""
    folds = f" in {base.folds} folds" if base.folds > 0 else ""
    return f"{base.split} split{folds}"
