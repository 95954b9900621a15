"""Estimate what each field of a sweep changes, averaged over the other fields."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace

from statsmodels.stats.multitest import multipletests

from pipelines.compare.pairing import align_counts
from pipelines.compare.pairing import CountsByRun
from pipelines.compare.pairing import list_seeds
from pipelines.compare.pairing import pair_runs
from pipelines.compare.pairing import select_whole_seeds
from pipelines.runs.finished_run import FinishedRun
from study.config.sweep import Sweep
from study.config.sweep import Value
from study.statistics.intervals import Estimate
from study.statistics.intervals import estimate_accuracy

Cells = Mapping[tuple[Value, ...], Sequence[FinishedRun]]


@dataclass(frozen=True)
class Level:
    """One value of a swept field, with its mean over the other fields.

    accuracy: with its interval.
    gain: accuracy minus that of the baseline's value, with the p of this pair. None of that value.
    p: the p of the gain, adjusted by Holm's method over the contrasts of all fields.
    """

    value: Value
    accuracy: Estimate
    gain: Estimate | None = None
    p: float | None = None


@dataclass(frozen=True)
class MainEffect:
    """The effect of one swept field.

    others: the fields that the means are over.
    cells: how many cells each mean is over.
    is_one_seed: whether each cell counts with one seed, and without folds.
    levels: the values of the field, in the order of the sweep.
    """

    field: str
    baseline: Value
    others: tuple[str, ...]
    cells: int
    levels: list[Level]
    is_one_seed: bool = False


def estimate_main_effects(
    sweep: Sweep, cells: Cells, counts_by_run: CountsByRun
) -> list[MainEffect]:
    """Estimate the main effect of each field of a sweep of two fields or more.

    The contrasts are paired by image, by seed and by the values of the other fields. Only the
    balanced part of the grid counts: the combinations of other values with which each value of the
    field was trained, with the seeds that all of these cells share.

    Returns:
        The effects of the fields that have such a combination, and the same test images for each
        value. Empty for a sweep of one field, whose contrasts are the rows of the table.
    """
    if len(sweep.fields) < 2:
        return []
    whole_cells = {
        cell: whole_runs
        for cell, runs in cells.items()
        if (whole_runs := select_whole_seeds(run for run in runs if run.run_id in counts_by_run))
    }
    effects = [
        effect
        for name in sweep.fields
        if (effect := _estimate_effect(name, sweep, whole_cells, counts_by_run)) is not None
    ]
    return _adjust(effects)


def _estimate_effect(
    name: str, sweep: Sweep, cells: Cells, counts_by_run: CountsByRun
) -> MainEffect | None:
    position = list(sweep.fields).index(name)
    baseline = sweep.baseline[name]
    cells_by_value: dict[Value, dict[tuple[Value, ...], Sequence[FinishedRun]]] = {}
    for cell, runs in cells.items():
        others = (*cell[:position], *cell[position + 1 :])
        cells_by_value.setdefault(cell[position], {})[others] = runs
    if len(cells_by_value) < 2 or baseline not in cells_by_value:
        return None
    balanced = set.intersection(*(set(cells) for cells in cells_by_value.values()))
    runs_by_value = _select_shared_seeds(
        {value: [cells[others] for others in balanced] for value, cells in cells_by_value.items()}
    )
    if not runs_by_value[baseline]:
        return None
    levels = [
        _estimate_level(value, runs_by_value[value], runs_by_value[baseline], counts_by_run)
        for value in sweep.fields[name]
        if value in runs_by_value
    ]
    levels = [level if level.value != baseline else replace(level, gain=None) for level in levels]
    if all(level.gain is None for level in levels):
        return None
    other_names = tuple(other for other in sweep.fields if other != name)
    seeds = list_seeds(runs_by_value[baseline])
    is_one_seed = len(seeds) == 1 and not runs_by_value[baseline][0].config.folds
    return MainEffect(name, baseline, other_names, len(balanced), levels, is_one_seed)


def _select_shared_seeds(
    cells_by_value: Mapping[Value, Sequence[Sequence[FinishedRun]]],
) -> dict[Value, list[FinishedRun]]:
    """Select the runs of the seeds that all cells have, as one list for each value."""
    seeds_of_cells = [set(list_seeds(cell)) for cells in cells_by_value.values() for cell in cells]
    shared_seeds = set.intersection(*seeds_of_cells) if seeds_of_cells else set()
    return {
        value: [run for cell in cells for run in cell if run.config.seed in shared_seeds]
        for value, cells in cells_by_value.items()
    }


def _estimate_level(
    value: Value,
    runs: Sequence[FinishedRun],
    base: Sequence[FinishedRun],
    counts_by_run: CountsByRun,
) -> Level:
    (counts,) = align_counts([runs], list_seeds(runs), counts_by_run)
    pairs = pair_runs(runs, base, counts_by_run)
    return Level(value, estimate_accuracy(counts), pairs.estimate_gain() if pairs else None)


def _adjust(effects: list[MainEffect]) -> list[MainEffect]:
    """Adjust p by Holm's method over the contrasts of all fields."""
    p_values = [level.gain.p for effect in effects for level in effect.levels if level.gain]
    if not p_values:
        return []
    adjusted = iter(multipletests(p_values, method="holm")[1].tolist())
    return [
        replace(
            effect,
            levels=[
                replace(level, p=next(adjusted)) if level.gain else level for level in effect.levels
            ],
        )
        for effect in effects
    ]
