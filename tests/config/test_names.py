"""The titles of trials."""

from pathlib import Path
from typing import Any

import pytest

from study.config.names import make_trial_title
from study.config.trial_config import recipe

DIGEST = "3f2a9c" + "0" * 58


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        ({}, "blood · D(8) · 1e-5 · seed 0"),
        ({"hidden_layers": 2, "lr": 5e-5, "seed": 2}, "blood · D(8)·D(8) · 5e-5 · seed 2"),
        ({"hidden_layers": 0, "lr": 0.0003712}, "blood · F · 3.712e-4 · seed 0"),
        ({"head": "gap", "hidden_layers": 0, "lr": 0.01}, "blood · GAP · 1e-2 · seed 0"),
        ({"split": "grouped", "fold": 2, "folds": 5},
         "blood · D(8) · 1e-5 · seed 0 · fold 2/5 · split=grouped"),
        ({"split": "grouped", "dropout": 0.2},
         "blood · D(8) · 1e-5 · seed 0 · split=grouped · dropout=0.2"),
        ({"split": "grouped", "dropout": 0.2, "trainable": 0.5, "augment": 0.3},
         "blood · D(8) · 1e-5 · seed 0 · split=grouped · dropout=0.2 trainable=0.5 …"),
        ({"dropout": 0.2, "limit": 80}, "blood · D(8) · 1e-5 · seed 0 · dropout=0.2 limit=80"),
        ({"weights": __file__}, "blood · D(8) · 1e-5 · seed 0 · weights=file"),
        ({"dropout": 0.2, "trainable": 0.5, "augment": 0.3, "label_smoothing": 0.05},
         "blood · D(8) · 1e-5 · seed 0 · dropout=0.2 trainable=0.5 augment=0.3 …"),
    ],
)  # fmt: skip
def test_title_names_what_differs_from_the_recipe(fields: dict[str, Any], title: str) -> None:
    config = recipe("blood").replace(**fields)
    assert make_trial_title(config, DIGEST) == title
    assert len(title) <= 80


def test_title_of_a_folder_has_its_name_and_not_its_path(tmp_path: Path) -> None:
    config = recipe(f"folder:{tmp_path}/my cells/")
    assert make_trial_title(config, DIGEST) == "my-cells-3f2a9c · D(8) · 1e-5 · seed 0"


def test_title_of_a_long_folder_name_leaves_out_the_rest(tmp_path: Path) -> None:
    config = recipe(f"folder:{tmp_path / ('x' * 70)}").replace(dropout=0.2)
    assert make_trial_title(config, DIGEST) == f"{'x' * 70}-3f2a9c · D(8) · 1e-5 · seed 0 …"


def test_title_always_names_another_split(tmp_path: Path) -> None:
    config = recipe(f"folder:{tmp_path / ('x' * 70)}").replace(split="official", dropout=0.2)
    assert make_trial_title(config, DIGEST).endswith(" · seed 0 · split=official …")
