"""Config: what is refused and how, recipes, weights, and the fingerprint."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from study.common.errors import ConfigError
from study.config.backbones import BACKBONES
from study.config.fingerprint import fingerprint
from study.config.initial_weights import weights_kind
from study.config.knobs import AFFECTS
from study.config.names import make_trial_title
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


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        ({}, "blood · D(8) · 1e-5 · seed 0"),
        ({"hidden_layers": 2, "lr": 5e-5, "seed": 2}, "blood · D(8)·D(8) · 5e-5 · seed 2"),
        ({"hidden_layers": 0, "lr": 0.0003712}, "blood · F · 3.712e-4 · seed 0"),
        ({"head": "gap", "hidden_layers": 0, "lr": 0.01}, "blood · GAP · 1e-2 · seed 0"),
        ({"split": "grouped", "fold": 2, "folds": 5},
         "blood · D(8) · 1e-5 · seed 0 · fold 2/5 · split=grouped"),
        ({"dropout": 0.2, "limit": 80}, "blood · D(8) · 1e-5 · seed 0 · dropout=0.2 limit=80"),
        ({"weights": __file__}, "blood · D(8) · 1e-5 · seed 0 · weights=file"),
        ({"dropout": 0.2, "trainable": 0.5, "augment": 0.3, "label_smoothing": 0.05},
         "blood · D(8) · 1e-5 · seed 0 · dropout=0.2 trainable=0.5 augment=0.3 …"),
    ],
)  # fmt: skip
def test_title_names_what_differs_from_the_recipe(fields: dict[str, Any], title: str) -> None:
    config = recipe("blood").replace(**fields)
    assert make_trial_title(config) == title
    assert len(title) <= 80


def test_title_of_a_folder_has_its_name_and_not_its_path(tmp_path: Path) -> None:
    assert (
        make_trial_title(recipe(f"folder:{tmp_path}/my cells/"))
        == "my cells · D(8) · 1e-5 · seed 0"
    )


def test_title_of_a_long_folder_name_leaves_out_the_rest(tmp_path: Path) -> None:
    config = recipe(f"folder:{tmp_path / ('x' * 70)}").replace(dropout=0.2)
    assert make_trial_title(config) == f"{'x' * 70} · D(8) · 1e-5 · seed 0 …"


def test_fingerprint_without_folds_is_that_of_no_fold() -> None:
    plain = TrialConfig(split="grouped")
    others = {fingerprint(plain.replace(fold=k, folds=n), "d") for k, n in ((1, 5), (2, 5), (1, 4))}
    assert len(others | {fingerprint(plain, "d")}) == 4
    assert fingerprint(plain.replace(fold=0, folds=0), "d") == fingerprint(plain, "d")


@pytest.mark.parametrize(
    ("dataset", "start"), [("chest", "59f68ac0698b4967"), ("demo", "b2efbc5b965f3e1d")]
)
def test_fingerprint_of_a_recipe_is_that_of_protocol_version_2(dataset: str, start: str) -> None:
    assert fingerprint(recipe(dataset), "d").startswith(start)  # as of protocol version 2


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


@pytest.mark.parametrize(("name", "text"), [("lr", "abc"), ("epochs", "1.5"), ("seed", "")])
def test_parse_value_of_another_type_is_refused(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}={text!r} is not of type"):
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
        assert (config.head_notation, config.dropout) == ("F - D(8)", 0.5)
        assert config.weights == "imagenet"


def test_recipe_of_a_folder_is_that_of_chest() -> None:
    assert recipe("folder:x") == recipe("chest").replace(dataset="folder:x")


def test_head_notation_is_that_of_the_reports() -> None:
    config = TrialConfig(dense_units=16)
    assert config.replace(hidden_layers=0).head_notation == "F"
    assert config.replace(hidden_layers=2).head_notation == "F - D(16) - D(16)"
    assert config.replace(head="gap").head_notation == "GAP - D(16)"


@given(configs(), st.data())
def test_fingerprint_changes_with_any_field(config: TrialConfig, data: Any) -> None:
    name = data.draw(st.sampled_from(sorted(SPECS)))
    value = data.draw(values_of(name))
    assume(value != getattr(config, name))
    try:
        other = config.replace(**{name: value})
    except ConfigError:
        assume(False)
    assert fingerprint(config, "d") != fingerprint(other, "d")


@given(configs())
@settings(max_examples=20)
def test_fingerprint_is_64_hex_digits_and_depends_on_the_data(config: TrialConfig) -> None:
    key = fingerprint(config, "one")
    assert len(bytes.fromhex(key)) == 32
    assert key == fingerprint(TrialConfig(**config.as_dict()), "one")
    assert key != fingerprint(config, "other")


def test_fingerprint_does_not_depend_on_a_folders_path() -> None:
    keys = {fingerprint(recipe(f"folder:{path}"), "d") for path in ("a", "/b/c", "d:e")}
    assert len(keys) == 1
    assert fingerprint(recipe("chest"), "d") not in keys


@given(first=st.binary(max_size=30), second=st.binary(max_size=30))
@settings(max_examples=20)
def test_fingerprint_depends_on_the_bytes_of_a_weights_file(
    tmp_path_factory: pytest.TempPathFactory, first: bytes, second: bytes
) -> None:
    folder = tmp_path_factory.mktemp("weights")
    keys = []
    for name, content in (("a.h5", first), ("b.h5", first), ("c.h5", second)):
        (folder / name).write_bytes(content)
        keys.append(fingerprint(TrialConfig(weights=str(folder / name)), "d"))
    assert keys[0] == keys[1]
    assert (keys[0] == keys[2]) == (first == second)
    assert fingerprint(TrialConfig(), "d") not in keys


@pytest.mark.parametrize("kind", ["imagenet", "none"])
def test_weights_kind_of_named_weights_is_their_name(kind: str) -> None:
    assert weights_kind(TrialConfig(weights=kind)) == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mobilenet.partial.weights.h5", "partial"),
        ("partially.h5", "file"),
        ("imagenet.h5", "file"),
        ("mobilenet_1_0_224_tf_no_top.h5", "file"),
    ],
)
def test_weights_kind_of_an_unknown_file_is_never_imagenet(
    tmp_path: Path, name: str, kind: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"anything")
    assert weights_kind(TrialConfig(weights=str(path))) == kind


def test_weights_kind_ignores_the_name_of_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "a.partial.b" / "weights.h5"
    path.parent.mkdir()
    path.write_bytes(b"anything")
    assert weights_kind(TrialConfig(weights=str(path))) == "file"


@pytest.mark.parametrize("name", [spec.name for spec in dataclasses.fields(TrialConfig)])
def test_every_config_field_declares_what_it_affects(name: str) -> None:
    (spec,) = (spec for spec in dataclasses.fields(TrialConfig) if spec.name == name)
    affects = spec.metadata.get("affects", [])
    assert affects, f"{name} says not what it affects: declare it as knob(..., affects=...)"
    assert set(affects) <= set(AFFECTS)


def test_fields_affecting_the_backbone_are_those_that_build_it() -> None:
    assert fields_affecting("backbone") == (
        *("backbone", "alpha", "weights", "bn_momentum", "trainable", "image_size", "precision"),
    )


def test_published_weights_have_md5_digests() -> None:
    length = len(hashlib.md5(b"").hexdigest())
    for backbone in BACKBONES.values():
        assert backbone.published_md5
        assert all(len(bytes.fromhex(d)) * 2 == length for d in backbone.published_md5)
