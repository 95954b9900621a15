import pytest

from study.config.trial_config import recipe
from study.reported import read_reported
from study.reported import TEST_IMAGES
from study.variants import variant_fields
from study.variants import VARIANTS

REPORTS = ("chest", "blood")


@pytest.mark.parametrize("dataset", REPORTS)
def test_each_report_has_the_seven_variants(dataset: str) -> None:
    assert list(read_reported(dataset)) == [variant.number for variant in VARIANTS]


@pytest.mark.parametrize("dataset", ["demo", "folder:somewhere", ""])
def test_data_set_without_a_report_has_no_reported_figures(dataset: str) -> None:
    assert read_reported(dataset) == {}


@pytest.mark.parametrize("dataset", REPORTS)
def test_every_test_accuracy_is_a_count_of_the_test_images(dataset: str) -> None:
    total = TEST_IMAGES[dataset]
    for row in read_reported(dataset).values():
        assert round(round(row.test_acc * total) / total, 4) == row.test_acc


@pytest.mark.parametrize("dataset", REPORTS)
def test_rows_describe_the_same_variants_as_the_code(dataset: str) -> None:
    base = recipe(dataset)
    for number, row in read_reported(dataset).items():
        assert row.backbone == base.backbone
        assert variant_fields(number, base) == {
            "hidden_layers": row.hidden_layers,
            "dense_units": row.dense_units,
            "lr": row.learning_rate,
        }


def test_reported_figures_follow_the_logs_not_the_misprints() -> None:
    blood = read_reported("blood")
    assert blood[6].test_acc == 0.9984
    assert blood[6].test_acc == max(row.test_acc for row in blood.values())
    assert blood[6].table_acc_percent == 82.52
    assert "training accuracy" in blood[6].note
    assert blood[1].fit_seconds == 3200.448415


@pytest.mark.parametrize("dataset", REPORTS)
def test_reported_figures_are_in_their_ranges(dataset: str) -> None:
    for row in read_reported(dataset).values():
        assert all(0 < value <= 1 for value in (row.train_acc, row.val_acc, row.test_acc))
        assert all(value > 0 for value in (row.train_loss, row.val_loss, row.test_loss))
        assert 1000 < row.fit_seconds < 4000
