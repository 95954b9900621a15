"""Plan the trials of a grid, and name the grid.

A grid trains a base config at each combination of swept values, each with the same seeds and folds.
The seven variants are the sweep of `variant`. This module knows nothing of Optuna.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from collections.abc import Sequence
from itertools import product
from typing import Any
from typing import NamedTuple

from study.common.errors import ConfigError
from study.common.words import pluralize
from study.config.dataset_names import data_name
from study.config.fingerprint import fingerprint
from study.config.initial_weights import weights_kind
from study.config.names import describe_split
from study.config.names import MAX_STUDY_DATASET_LENGTH
from study.config.names import select_named_fields
from study.config.names import shorten_name
from study.config.sweep import format_value
from study.config.sweep import Sweep
from study.config.sweep import Value
from study.config.trial_config import TrialConfig
from study.data.prepare import compute_data_digest
from study.data.prepare import compute_name_digest
from study.variants import variant_fields
from study.variants import VARIANTS

VARIANT = "variant"  # the swept name of the seven variants, which is no field of a config
BY_VARIANT = ("hidden_layers", "dense_units", "lr")  # the fields that a variant sets

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


@dataclasses.dataclass(frozen=True)
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
    def own_sweep(self) -> Sweep | None:
        """Return the sweep, or None if it is that of the seven variants."""
        return None if VARIANT in self.sweep.fields else self.sweep

    @property
    def noun(self) -> str:
        """Return what a setting is called."""
        return "variant" if self.own_sweep is None else "config"

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
        try:
            return self.base.replace(seed=cell.seed, fold=cell.fold, **changes)
        except ConfigError as error:
            raise ConfigError(
                f"{describe_setting(cell.setting)} is not possible: {error}"
            ) from None

    def make_keys(self, configs: Mapping[Cell, TrialConfig], digest: str) -> dict[Cell, str]:
        """Return the fingerprint of each trial.

        Args:
            configs: of the trials, as `make_configs` returns them.
            digest: the digest of the data, for the split of the base config.

        Raises:
            DataError: the data set cannot be found.
        """
        digests = {self.base.split: digest}
        for config in configs.values():
            if config.split not in digests:
                digests[config.split] = compute_data_digest(config.dataset, config.split)
        return {
            cell: fingerprint(config, digests[config.split]) for cell, config in configs.items()
        }

    def shared_fields(self) -> dict[str, str | int | float]:
        """Return the fields that all trials have in common."""
        swept_fields = BY_VARIANT if self.own_sweep is None else tuple(self.sweep.fields)
        return {
            name: value
            for name, value in self.base.as_dict().items()
            if name not in (*swept_fields, "seed", "fold")
        }

    def name(self, digest: str) -> str:
        """Return the grid's name, which differs between data sets and between settings."""
        fields = select_named_fields(self.shared_fields())
        # A file with the published weights is the same start as Keras' download of them.
        if "weights" in fields and weights_kind(self.base) == "imagenet":
            fields["weights"] = "imagenet"
        # The swept values do not count, so that a later call may add some.
        swept_fields = [] if self.own_sweep is None else [sorted(self.sweep.fields)]
        content = json.dumps([fields, digest, *swept_fields], sort_keys=True)
        content_hash = hashlib.sha256(content.encode()).hexdigest()[:8]
        words = ["grid", shorten_name(self.base.dataset, MAX_STUDY_DATASET_LENGTH)]
        if "image_size" in fields:
            words.append(f"{self.base.image_size}px")
        if "epochs" in fields:
            words.append(f"{self.base.epochs}ep")
        return "-".join([*words, content_hash])

    def describe_sweep(self) -> str:
        """Describe the settings, as `7 variants` or `3 lr x 2 head`."""
        if self.own_sweep is None:
            return f"{len(VARIANTS)} variants"
        return " x ".join(f"{len(values)} {name}" for name, values in self.sweep.fields.items())

    def describe_size(self) -> str:
        """Describe the number of trials, as `12 trials: 3 lr x 2 head x 2 seeds`."""
        counts = {"seeds": len(self.seeds or [0]), "folds": len(self.folds or [0])}
        words = [f"{count} {name}" for name, count in counts.items() if count > 1]
        total = len(self.settings) * math.prod(counts.values())
        return f"{pluralize(total, 'trial')}: {' x '.join([self.describe_sweep(), *words])}"

    def title(self, *, fast: bool = False) -> str:
        """Return the parent run's name.

        An example is `blood · 7 variants · pooled split · 30 epochs`.
        """
        swept_fields = list(self.sweep.fields)
        if self.own_sweep is None:
            kind = f"{self.describe_sweep()}{', fast' if fast else ''}"
        else:
            kind = f"{'fast sweep' if fast else 'sweep'} of {', '.join(swept_fields)}"
        return parent_run_title(kind, self.base, swept_fields)


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


def parent_run_title(kind: str, base: TrialConfig, swept_fields: Sequence[str] = ()) -> str:
    """Return a parent run's name, as `blood · search · grouped split · 30 epochs`.

    The split and the epochs are left out where they are swept.
    """
    epochs = "1 epoch" if base.epochs == 1 else f"{base.epochs} epochs"
    words = {"split": describe_split(base), "epochs": epochs}
    shown_words = [text for name, text in words.items() if name not in swept_fields]
    return " · ".join(
        [data_name(base.dataset, compute_name_digest(base.dataset)), kind, *shown_words]
    )
