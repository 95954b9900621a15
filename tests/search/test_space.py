"""What a search may change: the seven variants lie in it, and every point is a valid config."""

import optuna
import pytest

from study.config.trial_config import recipe
from study.search.space import make_space
from study.variants import find_variant

SPACE = make_space(recipe("chest"))


def test_search_space_contains_the_seven_variants() -> None:
    configs = [SPACE.config(point) for point in SPACE.starts()]
    assert [find_variant(config) for config in configs] == [1, 2, 3, 4, 5, 6, 7]
    for point in SPACE.starts():
        optuna.create_trial(value=0.0, params=point, distributions=SPACE.free)  # checks the ranges


@pytest.mark.parametrize("dataset", ["chest", "blood", "demo"])
def test_every_point_of_the_search_space_is_a_valid_config(dataset: str) -> None:
    space = make_space(recipe(dataset))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(50):
        config = space.config(study.ask(space.free).params)
        assert config.image_size <= recipe(dataset).image_size
        assert config.replace(**space.point(recipe(dataset).as_dict())) == recipe(dataset)
        again = optuna.create_trial(  # as when its run is imported
            value=0.0, params=space.point(config.as_dict()), distributions=space.free
        )
        assert space.config(again.params) == config


def test_fields_without_effect_make_no_other_config() -> None:
    point = SPACE.starts()[0] | {"hidden_layers": 0}
    assert SPACE.config(point) == SPACE.config(point | {"dense_units": 99, "dropout": 0.2})


def test_fields_with_steps_take_round_values() -> None:
    steps = {"trainable": 10, "augment": 10, "label_smoothing": 20, "weight_decay": 100}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(50):
        config = SPACE.config(study.ask(SPACE.free).params)
        for name, parts in steps.items():
            assert getattr(config, name) == round(getattr(config, name) * parts) / parts


def test_fixed_field_is_not_searched() -> None:
    space = make_space(recipe("chest").replace(lr=1e-4), {"lr", "hidden_layers"})
    assert not {"lr", "hidden_layers"} & space.free.keys()
    assert [p["dense_units"] for p in space.starts()] == [8, 16, 32]
    assert space.shared_fields()["lr"] == 1e-4


def test_study_name_depends_on_settings_ranges_and_objective() -> None:
    other = recipe("chest").replace(epochs=3)
    names = {SPACE.name("val_loss"), SPACE.name("val_accuracy"), make_space(other).name("val_loss")}
    names.add(make_space(recipe("chest"), {"lr"}).name("val_loss"))
    assert len(names) == 4
    assert make_space(recipe("chest")).name("val_loss") in names
