"""A model card says what a reader of the model must know, and nothing of somebody's machine."""

from typing import Any

from mlflow.entities import Metric
from mlflow.entities import Param
from mlflow.entities import Run
from mlflow.entities import RunData
from mlflow.entities import RunInfo
from mlflow.entities import RunTag

from study.config.trial_config import recipe
from study.serving.model_card import format_card
from study.serving.registry import MAX_DESCRIPTION_CHARACTERS
from study.statistics.intervals import Estimate

FIGURES = {"test_accuracy": 0.98765, "test_loss": 0.1, "val_accuracy": 0.97, "epochs_run": 30.0}
TAGS = {
    **{"weights_kind": "imagenet", "code_version": "v1", "data_digest": "d1", "split": "pooled"},
    **{"sizes": "8007/2000/2500", "leak": "2500/2500", "skipped": "0"},
}


def make_card(dataset: str = "blood", classes: int = 3, **changes: Any) -> str:
    """The card of a run with these tags, metrics and params besides the usual."""
    params = recipe(dataset).as_dict() | changes.pop("params", {})
    figures = FIGURES | {"test_groups": 313.0} | changes.pop("figures", {})
    data = RunData(
        [Metric(name, value, 0, 0) for name, value in figures.items() if value is not None],
        [Param(name, str(value)) for name, value in params.items()],
        [RunTag(name, value) for name, value in (TAGS | changes).items()],
    )
    info = RunInfo("run1", "1", "me", "FINISHED", 0, 0, "active")
    return format_card(
        Run(info, data),
        [f"C{i}" for i in range(classes)],
        "the best of 7",
        Estimate(0.98765, 0.97, 0.99),
    )


def test_model_card_states_data_weights_and_accuracy() -> None:
    text = make_card()
    assert text.startswith("# blood: InceptionV3 for 3 classes\n\n**Not a medical device.**")
    for fact in (
        *("C0, C1, C2", "Keras' published ImageNet weights", "Chosen as the best of 7", "`run1`"),
        *("digest `d1`", "Split `pooled`: 8007/2000/2500", "Leak: 2500 of 2500", "313 such groups"),
        "Test accuracy 0.9877, loss 0.1000 (2500 images of 313 groups)",
        "0.9700 to 0.9900",
        *("Validation accuracy 0.9700 (2000 images)", "test accuracy partly measures memory"),
    ):
        assert fact in text
    assert "synthetic" not in text
    assert "subset" not in text


def test_model_card_of_unknown_groups_says_unknown() -> None:
    text = make_card(leak="unknown", figures={"test_groups": None})
    assert "Leak: unknown" in text
    assert "(2500 images)" in text
    assert "memory" not in text


def test_card_calls_the_leak_of_near_duplicates_the_least() -> None:
    text = make_card(leak="at least 3/80", figures={"test_groups": None})
    assert "Leak: at least 3 of 80 test images" in text
    assert "memory" in text


def test_model_card_states_the_limits_of_its_run() -> None:
    assert "memory" not in make_card(leak="0/2500")
    assert "3 files of the data set could not be read" in make_card(skipped="3")
    assert "only part of the ImageNet weights" in make_card(weights_kind="partial")
    assert "subset of about 90 images" in make_card(params={"limit": 90})
    assert "fold 2 of 5" in make_card(params={"fold": 2, "folds": 5})
    assert "**synthetic**" in make_card("demo")


def test_model_card_contains_no_path() -> None:
    text = make_card("folder:/home/me/cells", params={"weights": "/home/me/w.h5"})
    assert text.startswith("# cells-d1: MobileNet")
    assert "/home" not in text


def test_model_card_of_many_classes_names_the_first() -> None:
    text = make_card(classes=1000)
    assert "C19 and 980 more" in text
    assert len(text) < MAX_DESCRIPTION_CHARACTERS
