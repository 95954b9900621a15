"""Which trials a study of the variants is made of, and what it is called. Knows no Optuna."""

import argparse
import hashlib
import json
from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

from study.common.command import Parser
from study.common.errors import ConfigError
from study.config import data_name
from study.config import TrialConfig
from study.config import weights_kind
from study.flags import config_from
from study.variants import variant_fields
from study.variants import VARIANTS

BY_VARIANT = ("hidden_layers", "dense_units", "lr")
MAX_SEEDS = 1000


class Cell(NamedTuple):
    """One trial of a grid; variant 0 is the base as it stands."""

    variant: int
    seed: int
    fold: int = 0

    def __str__(self) -> str:
        what = f"variant {self.variant}" if self.variant else "the config"
        return f"{what} with seed {self.seed}" + f" and fold {self.fold}" * (self.fold > 0)


def add_seeds_flag(parser: Parser) -> None:
    """`--seeds`, how many trainings of each variant."""
    parser.add_argument(
        "--seeds", metavar="N", help="train each variant with N seeds, from --seed on [default: 1]"
    )


def planned(args: argparse.Namespace) -> tuple[TrialConfig, dict[str, list[int]]]:
    """The base config and the search space that the parsed flags name.

    Raises:
        ConfigError: a value is unknown, out of range, or contradicts another.
    """
    every_fold = args.fold is None and args.folds not in (None, "0")
    if every_fold:
        args.fold = "1"
    base = config_from(args)
    if args.seeds is not None and not (
        args.seeds.isdecimal() and 1 <= int(args.seeds) <= MAX_SEEDS
    ):
        raise ConfigError(f"seeds={args.seeds!r} is out of range: use 1 to {MAX_SEEDS}")
    seeds = None if args.seeds is None else int(args.seeds)
    return base, search_space(base, seeds, every_fold=every_fold)


def search_space(
    base: TrialConfig, seeds: int | None = None, *, every_fold: bool = False
) -> dict[str, list[int]]:
    """The seven variants, with `seeds` seeds each from `base`'s on, and with each of its folds."""
    space = {"variant": [variant.number for variant in VARIANTS]}
    if seeds is not None:
        space["seed"] = [base.seed + i for i in range(seeds)]
    if every_fold:
        space["fold"] = list(range(1, base.folds + 1))
    return space


def configs_of(base: TrialConfig, space: Mapping[str, list[int]]) -> dict[Cell, TrialConfig]:
    """`base`, changed to each point of the search space."""
    points = [dict(zip(space, values, strict=True)) for values in product(*space.values())]
    cells = [_cell(base, point) for point in points]
    return {cell: _config(base, cell) for cell in cells}


def _cell(base: TrialConfig, point: Mapping[str, int]) -> Cell:
    return Cell(point.get("variant", 0), point.get("seed", base.seed), point.get("fold", base.fold))


def _config(base: TrialConfig, cell: Cell) -> TrialConfig:
    fields = variant_fields(cell.variant, base) if cell.variant else {}
    return base.replace(seed=cell.seed, fold=cell.fold, **fields)


def shared(base: TrialConfig) -> dict[str, str | int | float]:
    """The fields that all trials of a grid have in common."""
    return {k: v for k, v in base.as_dict().items() if k not in (*BY_VARIANT, "seed", "fold")}


def grid_name(base: TrialConfig, digest: str) -> str:
    """A grid's name, one for each data set and settings."""
    # a file with the published weights is the same start as Keras' download of them
    weights = {"weights": "imagenet"} if weights_kind(base) == "imagenet" else {}
    settings = json.dumps([shared(base) | weights, digest], sort_keys=True)
    mark = hashlib.sha256(settings.encode()).hexdigest()[:8]
    return f"grid-{base.dataset}-{base.image_size}px-{base.epochs}ep-{mark}"


def title(kind: str, base: TrialConfig) -> str:
    """A parent run's name, as `blood · 7 variants · pooled split · 30 epochs`."""
    epochs = "1 epoch" if base.epochs == 1 else f"{base.epochs} epochs"
    return f"{data_name(base.dataset)} · {kind} · {split_of(base)} · {epochs}"


def split_of(base: TrialConfig) -> str:
    """`grouped split in 5 folds`, or without the folds."""
    return f"{base.split} split" + f" in {base.folds} folds" * (base.folds > 0)
