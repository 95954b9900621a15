"""The best setting of a grid on validation, and ties for it."""

from study.job import Outcome
from study.search.best_setting import find_best_cell
from study.search.best_setting import find_best_settings
from study.search.grid_plan import Cell
from study.search.grid_plan import variant_setting

SETTINGS = [variant_setting(number) for number in range(1, 8)]


def test_best_setting_is_the_one_with_the_highest_mean() -> None:
    accuracies = {
        Cell(variant_setting(1), 0): 0.9,
        Cell(variant_setting(1), 1): 0.5,
        Cell(variant_setting(2), 0): 0.7,
        Cell(variant_setting(2), 1): 0.8,
    }
    assert find_best_settings(accuracies, SETTINGS) == [variant_setting(2)]


def test_settings_with_unequal_seeds_are_ranked_on_those_that_all_share() -> None:
    accuracies = {
        Cell(variant_setting(6), 0): 0.979,
        Cell(variant_setting(7), 0): 0.981,
        Cell(variant_setting(7), 1): 0.966,
    }
    assert find_best_settings(accuracies, SETTINGS) == [variant_setting(7)]


def test_settings_without_a_shared_seed_are_ranked_on_the_most_frequent_one() -> None:
    accuracies = {
        Cell(variant_setting(1), 0): 0.7,
        Cell(variant_setting(2), 0): 0.8,
        Cell(variant_setting(3), 1): 0.9,
    }
    assert find_best_settings(accuracies, SETTINGS) == [variant_setting(2)]


def test_settings_that_differ_by_rounding_tie_in_the_order_of_the_plan() -> None:
    accuracies = {
        Cell(variant_setting(3), 0): 0.1 + 0.2,
        Cell(variant_setting(2), 0): 0.3,
        Cell(variant_setting(1), 0): 0.2,
    }
    ties = [variant_setting(2), variant_setting(3)]
    assert find_best_settings(accuracies, SETTINGS) == ties


def test_best_cell_is_the_settings_best_seed_of_equal_ones_the_first() -> None:
    setting = variant_setting(2)
    values = {Cell(setting, 2): 0.8, Cell(setting, 1): 0.8, Cell(setting, 0): 0.7}
    finished = {cell: Outcome("r", value, 0.1, 1.0) for cell, value in values.items()}
    finished[Cell(variant_setting(1), 0)] = Outcome("r", 0.9, 0.1, 1.0)
    assert find_best_cell(finished, setting) == Cell(setting, 1)
