"""The report: one page, from runs in a real store, that says what the table says."""

import csv
import dataclasses
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from pipelines import report
from pipelines.compare.block_builder import build_blocks
from pipelines.compare.blocks import find_baseline
from pipelines.compare.blocks import Row
from pipelines.compare.reflection import answer_questions
from pipelines.compare.reflection import summarize_study
from pipelines.compare.verdict import Verdict
from pipelines.page.charts import draw_accuracy_charts
from pipelines.page.diagnostics import draw_diagnostics
from pipelines.page.export_report import build_report
from pipelines.page.render import render_csv
from pipelines.page.report_page import render_report
from pipelines.page.report_page import Report
from pipelines.runs.predictions import Answers
from pipelines.runs.predictions import read_predictions
from study.common.command import run_command
from study.statistics.intervals import Estimate
from study.variants import resolve_config
from tests.pipelines.compare.test_block_verdicts import make_run
from tests.support.store import log_run
from tests.support.store import write_chest_study

SEEDS = 14  # 98 runs


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """98 runs of chest, of which variant 5 is poor; and a search of demo, with its starts."""
    folder = tmp_path_factory.mktemp("mlflow")
    uri = write_chest_study(folder, SEEDS)
    client = MlflowClient(uri)
    place = client.create_experiment("search", artifact_location=str(folder))
    log_run(client, place, variant=1, fields={"split": "grouped"})
    log_run(client, place, "demo", 1, metrics={"val_accuracy": 0.5}, tags={"role": "search"})
    for k in range(1, 12):
        fields = {"lr": 1e-3 * 1.2**k, "dropout": 0.05 * k}
        log_run(client, place, "demo", None, fields=fields, tags={"role": "search"},
                metrics={"val_accuracy": 0.6 + k / 100})  # fmt: skip
    return uri


@pytest.fixture(scope="module")
def chest(store: str) -> Report:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", store)
        return build_report("chest")


@pytest.fixture(scope="module")
def page(chest: Report) -> str:
    return render_report(chest)


def test_report_says_whether_a_search_found_better(client: MlflowClient, tmp_path: Path) -> None:
    place = client.create_experiment("search", artifact_location=str(tmp_path))
    tags = {"role": "confirm", "mlflow.parentRunId": "the search"}
    for seed in (1, 2, 3):
        for fields, share in (({}, 0.7), ({"dropout": 0.2}, 0.9)):
            fields = {"seed": seed, **fields}
            log_run(client, place, fields=fields, tags=tags, metrics={"test_accuracy": share})
    page = render_report(build_report("chest"))
    answer = page.split("<strong>Did a search find better?</strong> ")[1].split("</p>")[0]
    assert answer.startswith("Yes. With the same three fresh seeds, variant 1 is right on 70.0")
    assert " with dropout 0.2, on 90.0" in answer
    assert "Best of a search, with fresh seeds: MobileNet" in page


def test_report_rendered_twice_is_the_same_bytes(chest: Report, page: str) -> None:
    assert render_report(chest) == page


def test_report_of_98_runs_is_below_6_megabytes(page: str) -> None:
    assert len(page.encode()) < 6e6


def test_report_fetches_nothing(page: str) -> None:
    tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page)
    assert set(tags) == {"<script>"}
    assert "@import" not in page.split("<script>")[0]


def test_report_shows_the_protocol_with_most_variants(chest: Report, page: str) -> None:
    assert [row.variant for row in chest.rows] == [1, 2, 3, 4, 5, 6, 7]
    assert {run.config.split for row in chest.rows for run in row.runs} == {"pooled"}
    captions = re.findall(r"<caption>([^<]*)", page)
    assert ["pooled" in captions[0], "grouped" in captions[2]] == [True, True]


def test_report_has_every_chart_with_its_words(chest: Report, page: str) -> None:
    figures = json.loads(page.split("const FIGURES = ")[1].split(";</script>")[0])
    titles = [chart.title for chart in chest.charts]
    assert titles == [
        *("Test accuracy", "Loss and accuracy over epochs", "Accuracy against learning time"),
        *("The effect of each factor", "Confusion matrices", "Recall of each class"),
        *("ROC curves", "Reliability", "Dead hidden units"),
    ]
    assert len(figures) == len(titles)
    for chart in chest.charts:
        assert chart.words
        assert f">{chart.title}</h2>" in page
    for figure in figures:
        assert figure["data"]


def test_confusion_matrices_name_both_axes_and_all_predicted_classes(chest: Report) -> None:
    (chart,) = [chart for chart in chest.charts if chart.title == "Confusion matrices"]
    texts = [annotation.text for annotation in chart.figure.layout.annotations]
    assert {"predicted class, in % of the true class", "true class"} <= set(texts)
    shown = [axis.showticklabels for axis in chart.figure.select_xaxes()]
    assert False not in shown


def test_accuracy_chart_says_what_the_table_says(chest: Report) -> None:
    run_id = chest.rows[0].runs[0].run_id
    rows = csv.DictReader(io.StringIO(render_csv(chest.page)))
    row = next(row for row in rows if run_id in row["Run IDs"])
    figures = [f"{float(row[title]):.1f}" for title in ("Accuracy", "Low", "High")]
    assert "{} % ({} to {})".format(*figures) in chest.charts[0].words


def test_reflection_names_the_significant_differences(chest: Report) -> None:
    difference, others = summarize_study(chest.rows)
    assert difference.startswith(
        "Variant 5 is significantly less accurate than the baseline, by 25.0 points ("
    )
    assert others == "The other five do not differ significantly from it."
    layers, units, rates = (" ".join(lines) for lines in answer_questions(chest.rows).values())
    assert "With 2 hidden layers instead of 1, there is no evidence of a difference" in layers
    assert "With 3 hidden layers instead of 1, accuracy is worse (-25.0 points" in layers
    assert units.count("no evidence of a difference") == 2
    assert rates.count("no evidence of a difference") == 2
    assert "a learning rate of 5e-5 instead of 1e-5" in rates


def a_row(variant: int, value: float, p: float, pairs: int = 2) -> Row:
    config = resolve_config("chest", variant, {})
    run = dataclasses.replace(make_run(variant), config=config)
    gain = None if variant == 1 else Estimate(value, value - 0.01, value + 0.01, p)
    accuracy = Estimate(0.976, 0.97, 0.98)
    return Row([run], Verdict(accuracy, gain=gain, p=gain and p, pairs=pairs))


@pytest.mark.parametrize(
    ("rows", "sentences"),
    [
        (
            [(2, 0.01, 0.8), (3, -0.01, 0.314)],
            [
                "Neither of the two variants differs significantly from the baseline (smallest "
                "adjusted p = 0.31)."
            ],
        ),
        (
            [(2, 0.01, 0.8)],
            ["Variant 2 does not differ significantly from the baseline (adjusted p = 0.8)."],
        ),
        (
            [(2, 0.03, 0.01), (3, -0.03, 0.01), (4, -0.05, 0.01), (5, 0.001, 0.9)],
            [
                "Variant 2 is significantly more accurate than the baseline, by 3.0 points (2.0 to "
                "4.0).",
                "Variants 3 and 4 are significantly less accurate than the baseline, by 3.0 points "
                "(2.0 to 4.0) and 5.0 points (4.0 to 6.0).",
                "The other one does not differ significantly from it.",
            ],
        ),
        (
            [(2, -0.02, 0.01), (3, -0.03, 0.01, 1), (4, -0.05, 0.01, 1)],
            [
                "Variant 2 is significantly less accurate than the baseline, by 2.0 points (1.0 to "
                "3.0).",
                "On the one seed compared, variants 3 and 4 were significantly less accurate than "
                "the baseline, by 3.0 points (2.0 to 4.0) and 5.0 points (4.0 to 6.0).",
                "Another seed may show otherwise.",
            ],
        ),
    ],
)
def test_summary_groups_variants_by_the_direction_of_their_difference(
    rows: list[tuple[int, float, float]], sentences: list[str]
) -> None:
    assert summarize_study([a_row(1, 0, 1), *(a_row(*row) for row in rows)]) == sentences


def test_reflection_on_one_seed_makes_no_claim_for_others(chest: Report) -> None:
    runs = [row.runs[0] for row in chest.rows]
    (block,) = build_blocks(runs, read_predictions(runs).counts)
    layers = " ".join(answer_questions(block.rows)["What does the number of hidden layers change?"])
    assert "this one training was worse" in layers
    assert "Another seed may show otherwise" in layers


def test_reflection_names_the_adjustment_where_it_alone_hides_a_difference() -> None:
    row = a_row(2, -0.03, 0.092)
    gain = Estimate(-0.03, -0.04, -0.02, 0.0153)
    row = dataclasses.replace(row, verdict=dataclasses.replace(row.verdict, gain=gain))
    rows = [a_row(1, 0, 1), row, *(a_row(variant, -0.01, 1) for variant in (3, 4, 5, 6, 7))]
    assert answer_questions(rows)["What does the number of dense units change?"][0] == (
        "With 16 dense units instead of 8, the difference is not significant after adjustment for "
        "six comparisons (-3.0 points, 95 % interval -4.0 to -2.0, adjusted p = 0.092)."
    )


def test_report_says_once_that_intervals_of_differences_are_not_adjusted(page: str) -> None:
    assert page.count("Intervals of differences are not adjusted.") == 1
    assert "p is adjusted by Holm&#39;s method; intervals of differences are not adjusted." in page


def test_reflection_without_the_base_compares_nothing(chest: Report) -> None:
    rows = [row for row in chest.rows if row is not find_baseline(chest.rows)]
    assert answer_questions(rows) == {}
    assert summarize_study(rows)[0].startswith("No comparison is possible")


def test_misprints_of_the_original_report_are_listed(page: str) -> None:
    assert "the table repeats variant 5 (96.50)" in page


def test_report_of_a_search_charts_what_mattered(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    found = build_report("demo")
    assert [row.variant for row in found.rows] == [1]
    titles = [chart.title for chart in found.charts]
    assert titles[-1] == "The search's trials (12)"
    assert "Best validation accuracy, 0.7100" in found.charts[-1].words


def test_report_without_runs_is_refused_in_one_line(
    store: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    flags = ["--dataset", "blood", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["report", *flags])
    assert run_command(report.main) == 2
    assert len(capsys.readouterr().err.splitlines()) <= 2
    assert not (tmp_path / "out").exists()


ONE_CLASS = Answers(("a", "b"), np.zeros(20, int), np.tile([0.6, 0.4], (20, 1)))
DIVERGED = Answers(("a", "b"), np.arange(20) % 2, np.full((20, 2), np.nan))
ALL_RIGHT = Answers(("a", "b", "c"), np.arange(30) % 3, np.eye(3)[np.arange(30) % 3])


@pytest.mark.parametrize("answers", [ONE_CLASS, DIVERGED, ALL_RIGHT, None])
def test_row_with_degenerate_predictions_is_drawn(chest: Report, answers: Answers | None) -> None:
    by_run = [answers] if answers else []
    row = dataclasses.replace(chest.rows[1], answers_by_run=by_run, curves=[], verdict=Verdict())
    rows = [chest.rows[0], row]
    drawn = [*draw_accuracy_charts(rows), *draw_diagnostics(rows)]
    text = render_report(dataclasses.replace(chest, rows=rows, charts=drawn))
    json.loads(text.split("const FIGURES = ")[1].split(";</script>")[0])
    assert len(drawn) >= 8
    alone = [*draw_accuracy_charts([row]), *draw_diagnostics([row])]
    assert "Test accuracy" not in [chart.title for chart in alone]
