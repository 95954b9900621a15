"""The plan of a search: what the flags may name, and how long it lasts.

This module knows nothing of Optuna.
"""

from dataclasses import dataclass

SAMPLER_NAMES = ("tpe", "random", "gp", "cmaes")  # the keys of `samplers.SAMPLERS`
PRUNER_NAMES = ("median", "hyperband", "none")  # the keys of `pruning.PRUNERS`
SEARCHED_FIELDS = (  # the keys of `space.make_ranges`
    "lr",
    "hidden_layers",
    "dense_units",
    "dropout",
    "trainable",
    "augment",
    "label_smoothing",
    "weight_decay",
    "class_weights",
    "head",
    "scaling",
    "image_size",
    "batch_size",
)
STAGNATION = 20  # a search counts as converged after this many trials without improvement


@dataclass(frozen=True)
class Bounds:
    """The limits of a search, which ends at the first that it reaches."""

    trials: int | None = None  # finished or pruned trials in the study, of all calls
    seconds: float | None = None  # of this call, after which no trial starts
    until_converged: bool = False  # whether it ends when the best has not changed for long


@dataclass(frozen=True)
class SearchPlan:
    """The length of a search, and its numbers of seeds."""

    bounds: Bounds
    seeds: int  # for each config, at most
    confirm: int  # fresh seeds for the best config
    register: bool = False  # register the best model of these fresh seeds
