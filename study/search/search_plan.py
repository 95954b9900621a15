"""The plan of a search: what the flags may name, and how it is run.

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
    """The options of a search, apart from the fields of its configs."""

    bounds: Bounds
    objective: str  # the validation figure to judge by: accuracy, balanced_accuracy, auc or loss
    sampler: str  # one of `SAMPLER_NAMES`
    pruner: str  # one of `PRUNER_NAMES`
    seeds: int  # for each config, at most
    confirm: int  # fresh seeds for the best config and the start
    use_cache: bool = True
    log_model: bool = False
    register: bool = False  # register the best model of the fresh seeds
    force: bool = False  # register it even if the win did not repeat
    model_name: str | None = None  # in the registry; None takes that of the data set
