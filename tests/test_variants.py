"""The seven variants: what each changes, and that a config is recognized again."""

import pytest

from study.common.errors import ConfigError
from study.config.trial_config import recipe
from study.config.trial_config import RECIPES
from study.variants import find_variant
from study.variants import format_command
from study.variants import resolve_config
from study.variants import variant_fields
from study.variants import VARIANTS

NUMBERS = [variant.number for variant in VARIANTS]
EVERYWHERE = [*RECIPES, "folder:somewhere"]


def test_variants_are_numbered_1_to_7() -> None:
    assert NUMBERS == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("dataset", EVERYWHERE)
@pytest.mark.parametrize("number", NUMBERS)
def test_variant_is_recognized(dataset: str, number: int) -> None:
    config = resolve_config(dataset, number, {})
    assert find_variant(config) == number
    assert find_variant(config.replace(seed=3, image_size=96, epochs=2)) == number


@pytest.mark.parametrize("dataset", EVERYWHERE)
def test_first_variant_is_the_recipe(dataset: str) -> None:
    assert resolve_config(dataset, 1, {}) == resolve_config(dataset, None, {}) == recipe(dataset)


@pytest.mark.parametrize("dataset", EVERYWHERE)
def test_each_variant_changes_one_thing(dataset: str) -> None:
    base = recipe(dataset).as_dict()
    for number in NUMBERS[1:]:
        changed = resolve_config(dataset, number, {}).as_dict()
        assert sum(changed[name] != base[name] for name in base) == 1


def test_flag_overrides_the_variant_and_the_variant_the_recipe() -> None:
    config = resolve_config("chest", 5, {"dense_units": 64, "epochs": 2})
    assert (config.hidden_layers, config.dense_units, config.epochs) == (3, 64, 2)
    assert find_variant(config) is None


def test_config_equal_to_a_variant_is_recognized() -> None:
    assert find_variant(resolve_config("chest", None, {"lr": 1e-4})) == 7
    assert find_variant(resolve_config("chest", 7, {"lr": 1e-5})) == 1


def test_learning_rate_of_a_variant_follows_the_base() -> None:
    base = recipe("chest").replace(lr=2e-4)
    assert variant_fields(6, base)["lr"] == 1e-3


@pytest.mark.parametrize("number", [0, 8, -1])
def test_unknown_variant_is_refused(number: int) -> None:
    with pytest.raises(ConfigError, match=rf"^variant={number} is unknown: use 1 to 7$"):
        resolve_config("demo", number, {})


def test_command_of_a_config_names_what_differs_from_the_recipe() -> None:
    config = recipe("folder:my images").replace(lr=3.1e-5, seed=4)
    assert format_command(config) == (
        "python -m study.train --dataset 'folder:my images' --lr 3.1e-05 --seed 4"
    )
