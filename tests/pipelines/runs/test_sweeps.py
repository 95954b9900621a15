"""Sweeps, read from the parent runs in a real store."""

import dataclasses

import pytest
from mlflow.tracking import MlflowClient

from pipelines.page.export_report import build_report
from pipelines.page.export_table import build_page
from pipelines.page.render import print_page
from pipelines.page.render import render_csv
from pipelines.page.render import render_html
from pipelines.page.render import render_markdown
from pipelines.page.report_page import render_report
from pipelines.runs.predictions import read_predictions
from pipelines.runs.read_runs import read_runs
from pipelines.runs.sweeps import read_sweeps
from pipelines.runs.table_runs import select_table_runs
from study.config.sweep import Sweep
from tests.support.store import log_run
from tests.support.store import log_sweep

SWEEP = Sweep({"lr": (1e-5, 1e-4), "dropout": (0.5, 0.2)}, {"lr": 1e-5, "dropout": 0.5})
ACCURACIES = {(1e-5, 0.5): 0.7, (1e-5, 0.2): 0.7, (1e-4, 0.5): 0.95, (1e-4, 0.2): 0.9}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A sweep of chest of two seeds, one of demo, and a run of a search that is in the first."""
    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder}/mlflow.db"
    client = MlflowClient(uri)
    place = client.create_experiment("study", artifact_location=str(folder))
    log_sweep(client, place, SWEEP, ACCURACIES, seeds=2)
    fields = {"lr": 1e-4, "dropout": 0.2, "seed": 2}
    log_run(client, place, variant=None, fields=fields, tags={"role": "search"})
    log_run(client, place, variant=None, fields={**fields, "lr": 2e-4}, tags={"role": "search"})
    log_sweep(client, place, SWEEP, {(1e-5, 0.5): 0.7}, dataset="demo", seeds=1)
    broken = client.create_run(place, tags={"study": "x", "sweep": "{no JSON"})
    client.log_param(broken.info.run_id, "dataset", "chest")
    return uri


@pytest.fixture(autouse=True)
def use_store(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)


def test_sweeps_of_a_data_set_are_read_and_broken_ones_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (logged,) = read_sweeps(read_runs("chest"))
    assert logged.sweep == SWEEP
    assert logged.shared["split"] == "pooled"
    assert not {"lr", "dropout", "seed", "fold", "dataset"}.intersection(logged.shared)
    assert "has no table of its sweep: its tag sweep" in capsys.readouterr().err


def test_sweep_of_another_experiment_is_left_out() -> None:
    assert read_sweeps(read_runs("chest", "study"), "study") != []
    assert read_sweeps(read_runs("chest", "study"), "Default") == []


def test_run_of_a_search_belongs_to_the_table_where_it_is_in_a_sweep() -> None:
    runs = read_runs("chest")
    selected = select_table_runs(runs, read_sweeps(runs))
    assert [run.config.lr for run in selected if run.role] == [1e-4]


def test_pages_show_the_swept_fields_and_both_comparisons(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = read_runs("chest")
    sweeps = read_sweeps(runs)
    runs = select_table_runs(runs, sweeps)
    page = build_page(runs, read_predictions(runs), sweeps)
    markdown = render_markdown(page)
    assert "| lr | dropout | Accuracy (95 % interval) |" in markdown
    assert "Points from best (95 % interval) | Adjusted p, best |" in markdown
    assert "## Sweep of lr and dropout: MobileNet, pooled split" in markdown
    assert "Config lr=1e-4 dropout=0.5 is the best on validation" in markdown
    assert "lr: 1e-4 is better than 1e-5 by" in markdown
    header = render_csv(page).splitlines()[0].split(",")
    for title in ("Dropout", "Best on Validation", "Lead (points)", "p of Lead (Holm)"):
        assert title in header
    html = render_html(page)
    assert html.count("<caption>") == 2
    assert "best on validation</td>" in html
    print_page(page)
    printed = capsys.readouterr().out
    assert max(len(line) for line in printed.splitlines()) <= 120
    assert "best on validation" in printed


def test_report_of_a_sweep_answers_for_its_fields() -> None:
    built = build_report("chest")
    titles = [chart.title for chart in built.charts]
    assert "The effect of each setting" in titles
    assert "The effect of each factor" not in titles
    text = render_report(built).split("<script>")[0]
    assert "and do lr and dropout make a difference?" in text
    assert "<strong>Better than chance?</strong> Yes. The best on validation, config lr=" in text
    assert "<strong>Best config?</strong>" in text
    assert "MobileNet, fine-tuned on chest," in text
    rows = [
        dataclasses.replace(
            row, runs=[dataclasses.replace(run, weights_kind="none") for run in row.runs]
        )
        for row in built.rows
    ]
    text = render_report(dataclasses.replace(built, rows=rows)).split("<script>")[0]
    assert "MobileNet, trained from random weights on chest," in text
    assert "What each setting changes" in text
    assert "What does the number of hidden layers change?" not in text
