"""Give a grid's trials their fingerprints and points in Optuna's search space."""

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence

from optuna.distributions import BaseDistribution
from optuna.distributions import CategoricalDistribution
from optuna.distributions import FloatDistribution
from optuna.distributions import IntDistribution

from study.common.errors import ConfigError
from study.config.sweep import Value
from study.config.trial_config import TrialConfig
from study.search.grid_plan import Cell
from study.search.grid_plan import describe_setting
from study.search.grid_plan import GridPlan

FILE = "file"  # any weights file, as Optuna knows it


@dataclasses.dataclass(frozen=True)
class Grid:
    """A fixed set of configs to train, and the name under which Optuna knows it."""

    name: str
    plan: GridPlan
    configs: dict[Cell, TrialConfig]
    keys: dict[Cell, str]  # fingerprints

    @property
    def base(self) -> TrialConfig:
        """Return the config that the cells change."""
        return self.plan.base

    def point(self, cell: Cell) -> dict[str, Value]:
        """Return a cell's point in the search space."""
        values = {**dict(cell.setting), "seed": cell.seed, "fold": cell.fold}
        return {name: _as_category(name, values[name]) for name in self.plan.space}

    def ranges(self) -> dict[str, BaseDistribution]:
        """Return the search space as Optuna's distributions."""
        return {name: _make_range(name, values) for name, values in self.plan.space.items()}


def build_grid(name: str, plan: GridPlan, digest: str) -> Grid:
    """Return the grid of a plan.

    Args:
        name: of the grid in Optuna.
        plan: of the grid.
        digest: the digest of the data, for the split of the base config.
    """
    configs = plan.make_configs()
    keys = plan.make_keys(configs, digest)
    _check_different(keys)
    return Grid(name, plan, configs, keys)


def _check_different(keys: Mapping[Cell, str]) -> None:
    """Check that no two cells are the same config.

    Raises:
        ConfigError: two are, as with copies of a weights file.
    """
    cells_by_key: dict[str, Cell] = {}
    for cell, key in keys.items():
        other = cells_by_key.setdefault(key, cell)
        if other is not cell:
            raise ConfigError(
                f"{describe_setting(other.setting)} and {describe_setting(cell.setting)} are the "
                "same config: leave one of them out"
            )


def _make_range(name: str, values: Sequence[Value]) -> BaseDistribution:
    """Return the Optuna distribution of a field, of variants, seeds or folds.

    A range may grow in later calls, as with more seeds. A set of categories may not, so it holds
    all that the field allows.
    """
    numbers = [value for value in values if not isinstance(value, str)]
    if not numbers:
        return CategoricalDistribution(_list_categories(name))
    if any(isinstance(number, float) for number in numbers):
        return FloatDistribution(min(numbers), max(numbers))
    return IntDistribution(int(min(numbers)), int(max(numbers)))


def _list_categories(name: str) -> tuple[str, ...]:
    """Return the values of a text field as Optuna knows them."""
    (spec,) = (spec for spec in dataclasses.fields(TrialConfig) if spec.name == name)
    return tuple(spec.metadata.get("choices", ("imagenet", "none", FILE)))


def _as_category(name: str, value: Value) -> Value:
    """Return a value as Optuna knows it, which cannot tell weights files apart.

    It need not: a trial is known by its fingerprint.
    """
    return FILE if name == "weights" and value not in ("imagenet", "none") else value
