"""Find the best setting of a grid on validation, or the settings that tie for it."""

from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence
from statistics import fmean

from study.job import Outcome
from study.search.grid_plan import Cell
from study.search.grid_plan import Setting
from study.statistics.ties import find_highest

Draw = tuple[int, int]  # seed and fold


def mean_by_setting(accuracies: Mapping[Cell, float]) -> dict[Setting, float]:
    """Return the mean accuracy of each setting."""
    by_setting: dict[Setting, list[float]] = {}
    for cell, accuracy in accuracies.items():
        by_setting.setdefault(cell.setting, []).append(accuracy)
    return {setting: fmean(values) for setting, values in sorted(by_setting.items())}


def find_best_settings(
    accuracies: Mapping[Cell, float], settings: Sequence[Setting]
) -> list[Setting]:
    """Find the setting with the highest mean accuracy, or those that tie for it.

    The means are over the seeds and folds that all settings share, because one seed may be easier
    than another. Where they share none, as in a grid that has just begun, only the settings with
    the most frequent seed and fold count.

    Args:
        accuracies: on validation, of each finished cell. There must be one of these settings.
        settings: in the order of the plan, which is that of the result.
    """
    draws: dict[Setting, set[Draw]] = {setting: set() for setting in settings}
    for cell in accuracies:
        draws[cell.setting].add((cell.seed, cell.fold))
    counts = Counter(draw for own in draws.values() for draw in own)
    most_frequent = max(sorted(counts), key=counts.__getitem__)
    ranked_settings = [setting for setting in settings if most_frequent in draws[setting]]
    shared = set.intersection(*(draws[setting] for setting in ranked_settings))
    means = [
        fmean(accuracies[Cell(setting, *draw)] for draw in shared) for setting in ranked_settings
    ]
    return [ranked_settings[index] for index in find_highest(means)]


def find_best_cell(finished: Mapping[Cell, Outcome], setting: Setting) -> Cell:
    """Find the cell of a setting that is best on validation, of equal ones the first seed."""
    cells = sorted(cell for cell in finished if cell.setting == setting)
    return max(cells, key=lambda cell: finished[cell].val_accuracy)
