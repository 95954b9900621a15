"""The figures of the table: each beside those of the same runs."""

import dataclasses

import pytest

from pipelines.compare.block_builder import build_blocks
from pipelines.compare.cautions import list_cautions
from pipelines.compare.short_table import select_short_columns
from pipelines.compare.short_table import write_short_rows
from pipelines.compare.table import build_table
from pipelines.runs.finished_run import FinishedRun
from pipelines.runs.predictions import Predictions
from tests.pipelines.compare.test_block_verdicts import make_run
from tests.pipelines.compare.test_sweep import count_right

RIGHT = (180, 184, 196)  # of 200 test images, for seeds 0 to 2


def make_seeds() -> list[FinishedRun]:
    """Three runs of variant 1."""
    runs = [make_run(1, seed) for seed in range(3)]
    return [
        dataclasses.replace(run, metrics=run.metrics | {"test_accuracy": right / 200})
        for run, right in zip(runs, RIGHT, strict=True)
    ]


def test_accuracy_and_its_interval_are_of_the_runs_with_predictions() -> None:
    runs = make_seeds()
    counts = {runs[2].run_id: count_right(runs[2], RIGHT[2])}
    (block,) = build_blocks(runs, counts)
    table = build_table([block])
    (line,) = table.to_dict("records")
    accuracy = 100 * counts[runs[2].run_id].accuracy
    assert line["Accuracy"] == pytest.approx(accuracy)
    assert line["Low"] < line["Accuracy"] < line["High"]
    assert line["Difference (points)"] == pytest.approx(accuracy - 97.26, abs=0.005)
    assert line["By"] == "images, of 1 of 3 seeds"
    columns = select_short_columns(block, table)
    (texts,) = write_short_rows(block, table, columns)
    cells = dict(zip([column.title for column in columns], texts, strict=True))
    assert cells["Accuracy (95 % interval)"].startswith(f"{accuracy:.1f} % (")
    assert cells["Seeds"] == "1 of 3"
    cautions = list_cautions([block], Predictions(counts))
    assert any(line.startswith("One seed: the intervals cover") for line in cautions)


def test_accuracy_without_predictions_is_the_mean_over_all_runs() -> None:
    (block,) = build_blocks(make_seeds(), {})
    table = build_table([block])
    assert table["Accuracy"].tolist() == pytest.approx([100 * sum(RIGHT) / 600])
    (texts,) = write_short_rows(block, table, select_short_columns(block, table))
    assert "93.3 %" in texts
    assert "3" in texts


def test_chance_to_win_from_two_seeds_has_its_wide_interval() -> None:
    runs = [make_run(variant, seed) for variant in (1, 2) for seed in (0, 1)]
    rights = (140, 142, 180, 182)
    counts = {run.run_id: count_right(run, right) for run, right in zip(runs, rights, strict=True)}
    line = build_table(build_blocks(runs, counts)).to_dict("records")[1]
    # Wilson's interval of two wins in two seeds
    wins = [line[f"P(better){end}"] for end in ("", " Low", " High")]
    assert wins == pytest.approx([1, 0.342, 1], abs=0.001)
    assert line["Seeds Compared"] == "2"


def test_learning_time_is_the_median_of_the_runs_that_logged_it() -> None:
    runs = make_seeds()
    lacking = {name: value for name, value in runs[1].metrics.items() if name != "fit_seconds"}
    runs[1] = dataclasses.replace(runs[1], metrics=lacking)
    for ordered in (runs, runs[::-1]):
        table = build_table(build_blocks(ordered, {}))
        assert table["Learning Time(ms)"].tolist() == [101_000]
