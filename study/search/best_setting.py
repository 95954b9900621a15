"""Find the best setting of a grid on validation, or the settings that tie for it."""

from collections.abc import Mapping
from collections.abc import Sequence
from statistics import fmean

from study.job import Outcome
from study.search.grid_plan import Cell
from study.search.grid_plan import Setting
from study.statistics.ties import find_highest


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

    Args:
        accuracies: on validation, of each finished cell.
        settings: in the order of the plan, which is that of the result.
    """
    means = mean_by_setting(accuracies)
    known_settings = [setting for setting in settings if setting in means]
    indices = find_highest([means[setting] for setting in known_settings])
    return [known_settings[index] for index in indices]


def find_best_cell(finished: Mapping[Cell, Outcome], setting: Setting) -> Cell:
    """Find the cell of a setting that is best on validation, of equal ones the first seed."""
    cells = sorted(cell for cell in finished if cell.setting == setting)
    return max(cells, key=lambda cell: finished[cell].val_accuracy)
