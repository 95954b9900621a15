"""Config: what is refused and how, and the recipes."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.common.errors import ConfigError
from study.config.backbones import BACKBONES
from study.config.knobs import AFFECTS
from study.config.trial_config import fields_affecting
from study.config.trial_config import parse_value
from study.config.trial_config import recipe
from study.config.trial_config import RECIPES
from study.config.trial_config import TrialConfig

SPECS = {spec.name: spec for spec in dataclasses.fields(TrialConfig)}
LIMITED = [name for name, spec in SPECS.items() if "low" in spec.metadata]
CHOSEN = [name for name, spec in SPECS.items() if "choices" in spec.metadata]


def refusal_of(**fields: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        TrialConfig(**fields)
    message = str(caught.value)
    assert "\n" not in message
    return message


def values_of(name: str) -> st.SearchStrategy[Any]:
    """Allowed values of a field, whatever the others are."""
    spec = SPECS[name]
    if name == "dataset":
        return st.sampled_from(sorted(RECIPES))
    if name == "weights":
        return st.sampled_from(("imagenet", "none"))
    if "choices" in spec.metadata:
        return st.sampled_from(spec.metadata["choices"])
    low, high = spec.metadata["low"], spec.metadata["high"]
    return st.integers(low, high) if type(spec.default) is int else st.floats(low, high)


@st.composite
def configs(draw: st.DrawFn) -> TrialConfig:
    fields = {name: draw(values_of(name)) for name in SPECS}
    if fields["backbone"] != "mobilenet":
        fields["alpha"] = 1.0
    folded = fields["split"] == "grouped" and fields["folds"] > 1
    fields["folds"] = fields["folds"] if folded else 0
    fields["fold"] = draw(st.integers(1, fields["folds"])) if folded else 0
    fields["image_size"] = max(fields["image_size"], BACKBONES[fields["backbone"]].min_image_size)
    return TrialConfig(**fields)


@pytest.mark.parametrize("name", LIMITED)
def test_value_out_of_range_is_refused_with_the_range(name: str) -> None:
    low, high = SPECS[name].metadata["low"], SPECS[name].metadata["high"]
    for value in (low - 1, high + 1):
        message = refusal_of(**{name: value})
        assert message.startswith(f"{name}={value} ")
        assert str(low) in message
        assert str(high) in message


@pytest.mark.parametrize("name", [n for n in LIMITED if type(SPECS[n].default) is float])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_value_that_is_no_number_is_refused(name: str, value: float) -> None:
    assert refusal_of(**{name: value}).startswith(f"{name}=")


@pytest.mark.parametrize("name", CHOSEN)
def test_unknown_choice_is_refused_with_the_choices(name: str) -> None:
    value = "other" if type(SPECS[name].default) is str else 0.3
    message = refusal_of(**{name: value})
    assert message.startswith(f"{name}={value!r} ")
    assert all(str(choice) in message for choice in SPECS[name].metadata["choices"])


@pytest.mark.parametrize("name", SPECS)
def test_value_of_another_type_is_refused(name: str) -> None:
    assert refusal_of(**{name: None}).startswith(f"{name}=None is not of type ")


def test_truth_value_for_a_number_is_refused() -> None:
    assert "epochs=True" in refusal_of(epochs=True)


@pytest.mark.parametrize("name", BACKBONES)
def test_image_too_small_for_the_backbone_is_refused(name: str) -> None:
    least = BACKBONES[name].min_image_size
    assert TrialConfig(backbone=name, image_size=least).image_size == least
    message = refusal_of(backbone=name, image_size=least - 1)
    assert f"image_size={least - 1}" in message
    assert str(least) in message


def test_unknown_dataset_is_refused_with_the_known() -> None:
    for value in ("mnist", "", "Demo"):
        message = refusal_of(dataset=value)
        assert message.startswith("dataset=")
        assert all(name in message for name in (*RECIPES, "folder:PATH"))


def test_folder_dataset_without_a_path_is_refused() -> None:
    for value in ("folder", "folder:", "folder: "):
        assert "folder:PATH" in refusal_of(dataset=value)


def test_alpha_for_another_backbone_than_mobilenet_is_refused() -> None:
    assert refusal_of(backbone="vgg16", alpha=0.5).startswith("alpha=0.5 ")


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        ({"folds": 5}, "add fold=1 (to 5)"),
        ({"fold": 2}, "add folds, such as folds=5"),
        ({"fold": 6, "folds": 5}, "use 1 to 5"),
        ({"fold": 1, "folds": 1}, "use 2 to 1000"),
        ({"fold": 2, "folds": 5, "split": "pooled"}, "set split=grouped"),
        ({"fold": 2, "folds": 5, "split": "official"}, "set split=grouped"),
        ({"folds": 5, "split": "pooled"}, "set split=grouped"),
    ],
)
def test_incomplete_fold_fields_are_refused_with_what_to_write(
    fields: dict[str, Any], advice: str
) -> None:
    message = refusal_of(**{"split": "grouped", **fields})
    assert message.startswith("fold")
    assert advice in message


def test_missing_weights_file_is_refused(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.h5")
    assert refusal_of(weights=missing).startswith("weights: ")
    assert missing in refusal_of(weights=missing)
    assert refusal_of(weights=str(tmp_path)).startswith("weights: ")


def test_replace_with_a_bad_value_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^lr="):
        TrialConfig().replace(lr=0.0)


def test_parse_value_gives_the_fields_type() -> None:
    assert parse_value("lr", "5e-5") == 5e-5
    assert parse_value("epochs", "3") == 3
    assert parse_value("dataset", "folder:a b") == "folder:a b"


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [("lr", "abc", "number"), ("epochs", "1.5", "whole number"), ("seed", "", "whole number")],
)
def test_parse_value_of_another_type_is_refused(name: str, text: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}={text!r} is not a {kind}"):
        parse_value(name, text)


def test_parse_value_of_an_unknown_field_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^momentum is not a field"):
        parse_value("momentum", "1")


@given(configs())
def test_parse_value_of_a_formatted_value_gives_it_back(config: TrialConfig) -> None:
    back = {name: parse_value(name, str(value)) for name, value in config.as_dict().items()}
    assert TrialConfig(**back) == config


@pytest.mark.parametrize("dataset", [*RECIPES, "folder:somewhere"])
def test_recipe_is_a_valid_config_of_its_dataset(dataset: str) -> None:
    assert recipe(dataset).dataset == dataset


def test_recipes_follow_the_reports_protocol() -> None:
    chest, blood = recipe("chest"), recipe("blood")
    assert (chest.backbone, blood.backbone) == ("mobilenet", "inception_v3")
    for config in (chest, blood):
        assert (config.image_size, config.batch_size, config.epochs) == (224, 32, 30)
        assert (config.lr, config.split, config.scaling) == (1e-5, "pooled", "1/255")
        assert (config.head_notation, config.dropout) == ("D(8)", 0.5)
        assert config.weights == "imagenet"


def test_recipe_of_a_folder_is_that_of_chest() -> None:
    assert recipe("folder:x") == recipe("chest").replace(dataset="folder:x")


def test_head_notation_is_that_of_the_names_of_runs() -> None:
    config = TrialConfig(dense_units=16)
    assert config.replace(hidden_layers=0).head_notation == "F"
    assert config.replace(hidden_layers=2).head_notation == "D(16)·D(16)"
    assert config.replace(head="gap").head_notation == "GAP·D(16)"


@pytest.mark.parametrize("name", [spec.name for spec in dataclasses.fields(TrialConfig)])
def test_every_config_field_declares_what_it_affects(name: str) -> None:
    (spec,) = (spec for spec in dataclasses.fields(TrialConfig) if spec.name == name)
    affects = spec.metadata.get("affects", [])
    assert affects, f"{name} does not say what it affects: declare it as knob(..., affects=...)"
    assert set(affects) <= set(AFFECTS)


def test_fields_affecting_the_backbone_are_those_that_build_it() -> None:
    assert fields_affecting("backbone") == (
        *("backbone", "alpha", "weights", "bn_momentum", "trainable", "image_size", "precision"),
    )
