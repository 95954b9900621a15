"""Flags for the fields of a config, and the data set that they name, however its path is typed."""

from pathlib import Path

import pytest

from study.common.errors import ConfigError
from study.common.errors import StudyError
from study.common.parser import Parser
from study.config.fingerprint import fingerprint
from study.config.names import make_trial_title
from study.config.names import MAX_EXPERIMENT_LENGTH
from study.config.names import shorten_name
from study.config.trial_config import recipe
from study.config.trial_config import TrialConfig
from study.data.prepare import compute_data_digest
from study.flags import add_config_flags
from study.flags import add_variant_flag
from study.flags import config_from_flags
from study.search.grid_plan import plan_variants
from study.search.space import make_space
from study.variants import resolve_config
from tests.support.commands import run_here
from tests.support.images import class_folders


def parse_flags(*words: str) -> TrialConfig:
    parser = Parser("A test.", "study.train")
    add_variant_flag(parser)
    add_config_flags(parser)
    return config_from_flags(parser.parse_args(words))


def test_command_without_flags_uses_the_demo_recipe() -> None:
    assert parse_flags() == recipe("demo")


def test_config_flags_set_the_fields_of_their_names() -> None:
    config = parse_flags("--dataset", "chest", "--variant", "2", "--lr", "3e-4", "--batch-size=8")
    assert config == resolve_config("chest", 2, {"lr": 3e-4, "batch_size": 8})


def test_underscore_in_a_flag_name_counts_as_a_dash() -> None:
    config = parse_flags("--image_size", "96", "--dataset=folder:a_b", "--dense_units=16")
    dataset = f"folder:{Path('a_b').absolute()}"
    assert config == resolve_config(dataset, None, {"image_size": 96, "dense_units": 16})


def test_every_field_has_a_flag_that_sets_it() -> None:
    config = resolve_config(
        "chest", 7, {"seed": 3, "scaling": "backbone", "precision": "mixed_bfloat16"}
    )
    words = [f"--{name}={value}" for name, value in config.as_dict().items()]
    assert parse_flags(*words) == config


def test_flag_of_a_left_out_field_is_refused() -> None:
    parser = Parser("A test.", "study.train")
    add_config_flags(parser, leave_out=("lr",))
    with pytest.raises(StudyError, match="--lr"):
        parser.parse_args(["--lr", "1"])


def test_variant_that_is_no_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="variant='two'"):
        parse_flags("--variant", "two")


def parse_dataset(dataset: str) -> str:
    return parse_flags("--dataset", dataset).dataset


def test_folder_is_the_same_data_set_however_its_path_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = class_folders(tmp_path.resolve() / "my images", {"a": 1, "b": 1})
    (tmp_path / "link").symlink_to(root)
    monkeypatch.chdir(tmp_path)
    typed = ["my images", "./my images/", "my images/../my images", "link", str(root) + "/"]
    assert {parse_dataset(f"folder:{path}") for path in typed} == {f"folder:{root}"}
    assert parse_dataset("demo") == "demo"


@pytest.mark.parametrize("name", ["it's", "a b", "50%20off", "no#1", "x,y", "[1]"])
def test_odd_characters_in_a_path_stay(tmp_path: Path, name: str) -> None:
    root = class_folders(tmp_path.resolve() / name, {"a": 1, "b": 1})
    dataset = parse_dataset(f"folder:{root}")
    assert dataset == f"folder:{root}"
    assert len(fingerprint(recipe(dataset), compute_data_digest(dataset))) == 64


def test_writes_into_the_data_set_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = class_folders(tmp_path.resolve() / "set", {"a": 1, "b": 1})
    monkeypatch.chdir(tmp_path)
    parse_dataset(f"folder:{root}")
    assert capsys.readouterr().err == ""
    monkeypatch.chdir(root)
    parse_dataset("folder:.")
    assert f"writes into the data set, {root / 'exports'}, {root / 'mlflow.db'}" in (
        capsys.readouterr().err
    )


def test_long_paths_fit_into_the_names_that_databases_hold() -> None:
    base = recipe("folder:/" + "/".join(["x" * 60] * 12))
    other = base.replace(dataset=base.dataset + "y")
    for names in (
        [shorten_name(config.dataset, MAX_EXPERIMENT_LENGTH) for config in (base, other)],
        [plan_variants(config).name("0" * 64) for config in (base, other)],
        [make_space(config).name() for config in (base, other)],
    ):
        assert max(len(name) for name in names) <= 512
        assert len(set(names)) == 2
    assert len(shorten_name(base.dataset, MAX_EXPERIMENT_LENGTH)) == 250
    assert len(make_trial_title(recipe("folder:/" + "x" * 240), "0" * 64)) < 200
    assert shorten_name("folder:/data", MAX_EXPERIMENT_LENGTH) == "folder:/data"


def test_path_alone_is_the_folder_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = class_folders(tmp_path.resolve() / "cells", {"a": 1, "b": 1})
    monkeypatch.chdir(tmp_path)
    for path in ("cells", "./cells", "cells/", str(root), "folder:cells"):
        assert parse_dataset(path) == f"folder:{root}"
    with pytest.raises(ConfigError, match="is unknown"):
        parse_dataset("x" * 5000)
    assert parse_dataset("./no-such") == f"folder:{tmp_path.resolve()}/no-such"


def test_known_name_is_no_path_although_a_folder_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_dataset("demo") == "demo"
    assert parse_dataset("./demo") == f"folder:{tmp_path.resolve()}/demo"


@pytest.mark.parametrize("module", ["study.train", "study.grid", "study.offline"])
def test_help_lists_the_heads_and_rates_of_the_variants(module: str, tmp_path: Path) -> None:
    done = run_here(module, "--help", cwd=tmp_path)
    lines = done.stdout.splitlines()[-7:]
    assert [line.split()[:4] for line in lines][3:6] == [
        ["4", "D(8)·D(8)", "lr", "1e-5,"],
        ["5", "D(8)·D(8)·D(8)", "lr", "1e-5,"],
        ["6", "D(8)", "lr", "5e-5,"],
    ]
    assert lines[-1].endswith("lr 1e-4, 1e-2 for demo")
