import csv
import io
import re
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from pipelines.compare.block_builder import build_blocks
from pipelines.compare.cautions import list_cautions
from pipelines.compare.columns import format_cells
from pipelines.compare.columns import select_columns
from pipelines.compare.short_table import SHORT_COLUMNS
from pipelines.compare.statement import describe_runs
from pipelines.compare.table import build_table
from pipelines.export import main
from pipelines.page import export_table
from pipelines.page.export_table import default_folder
from pipelines.page.files import ExportError
from pipelines.page.files import write_files
from pipelines.page.latex import render_latex
from pipelines.page.render import Page
from pipelines.page.render import render_csv
from pipelines.page.render import render_html
from pipelines.page.render import render_markdown
from pipelines.runs.finished_run import FinishedRun
from pipelines.runs.finished_run import NoRunsError
from pipelines.runs.predictions import Predictions
from pipelines.runs.predictions import read_predictions
from pipelines.runs.read_runs import read_runs
from pipelines.runs.table_runs import select_table_runs
from study.common.command import run_command
from study.common.errors import StudyError
from study.common.errors import TrackingError
from study.config.trial_config import recipe
from tests.support.commands import run_here
from tests.support.store import final_metrics
from tests.support.store import log_run
from tests.support.store import PARTIAL

ROOT = Path(__file__).parents[2]
SMALL = {"image_size": 96, "epochs": 4}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with the seven chest variants, two seeds each, and what must not mislead."""
    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(uri)
    study = client.create_experiment("study", artifact_location=str(folder))
    spare = client.create_experiment("spare", artifact_location=str(folder))
    for number in range(1, 8):
        for seed in (1, 0):
            spelled = {"weights": PARTIAL} | ({"lr": "5e-5"} if number == 6 and seed else {})
            log_run(client, study, variant=number, fields={**SMALL, "seed": seed}, params=spelled)
    partial = {"params": {"weights": PARTIAL}, "fields": SMALL}
    wrong = {"metrics": {"test_accuracy": 0.5}}
    log_run(client, study, **partial, **wrong, started=2_000)  # the same again, later
    log_run(client, study, **partial, **wrong, status="FAILED", tags={"finished": ""})
    log_run(client, study, **partial, **wrong, tags={"finished": ""})  # a study's parent
    dropped = {"fields": {**SMALL, "dropout": 0.2}, "params": {"weights": PARTIAL}}
    log_run(client, study, **dropped)
    log_run(client, study, variant=2, **dropped)
    searched = {"fields": {**SMALL, "dense_units": 64, "lr": 3.71234567e-4}}
    log_run(client, study, variant=None, **searched, params={"weights": PARTIAL})
    log_run(client, spare, "demo", 6, tags={"leak": "0/120", "sizes": "384/96/120"})
    return uri


@pytest.fixture
def here(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_run(variant_fields: dict[str, object] | None = None, **more: object) -> FinishedRun:
    config = recipe("chest").replace(**(variant_fields or {}))
    values = {
        "run_id": "r",
        "artifact_uri": "",
        "started": 0,
        "config": config,
        "weights_kind": "imagenet",
        "weights_file": "",
        "data_digest": "d",
        "protocol_version": "2",
        "fingerprint": "f",
        "sizes": "3750/936/1170",
        "leak": "0/1170",
        "metrics": final_metrics(config.seed),
    }
    return FinishedRun(**(values | more))  # type: ignore[arg-type]


def build_page(dataset: str) -> Page:
    """What the command writes."""
    runs = select_table_runs(read_runs(dataset))
    return export_table.build_page(runs, read_predictions(runs))


def table_of(runs: list[FinishedRun]) -> pd.DataFrame:
    """Without predictions."""
    return build_table(build_blocks(runs, {}))


def protocols_of(runs: list[FinishedRun]) -> list[str]:
    """What each block of the table has in common."""
    return [block.title for block in build_blocks(runs, {})]


def warnings_of(runs: list[FinishedRun]) -> list[str]:
    """Cautions of runs with predictions, but for that about single seeds."""
    lines = list_cautions(build_blocks(runs, {}), Predictions())
    return [line for line in lines if not line.startswith("One seed")]


def test_export_command_writes_four_files_and_prints_the_table(here: Path, store: str) -> None:
    settings = {"MLFLOW_TRACKING_URI": store, "MLFLOW_EXPERIMENT_NAME": "spare"}
    done = run_here("pipelines.export", "--dataset", "chest", cwd=here, **settings)
    assert done.returncode == 0, done.stderr
    assert max(len(line) for line in done.stdout.splitlines()) <= 120
    assert "\x1b" not in done.stdout
    assert done.stdout.splitlines()[-1].endswith(str(Path("exports", "chest")))
    assert "test images have a sibling in train" in done.stdout
    folder = here / "exports" / "chest"
    assert sorted(path.name for path in folder.iterdir()) == [
        "comparison.csv",
        "comparison.html",
        "comparison.md",
        "comparison.tex",
    ]
    page = build_page("chest")
    assert (folder / "comparison.csv").read_bytes() == render_csv(page).encode()
    assert (folder / "comparison.md").read_bytes() == render_markdown(page).encode()
    assert (folder / "comparison.html").read_bytes() == render_html(page).encode()
    assert b"\r" not in (folder / "comparison.csv").read_bytes()


@pytest.mark.usefixtures("here")
def test_csv_has_the_reports_columns_and_the_seven_variants_first() -> None:
    frame = pd.read_csv(io.StringIO(render_csv(build_page("chest"))))
    assert list(frame.columns[:6]) == [
        "Model",
        "Hidden Layer",
        "Dense Count",
        "Learning Rate",
        "Accuracy",
        "Learning Time(ms)",
    ]
    block = frame[frame["Dropout"] == 0.5]
    assert list(block["Variant"])[:7] == [1, 2, 3, 4, 5, 6, 7]
    assert list(block["Seeds"])[:7] == ["0 1"] * 7
    assert pd.isna(block["Variant"].iloc[7])
    assert set(block["Model"]) == {"MobileNet"}
    first = block.iloc[0]
    assert first["Accuracy"] == 96.5
    assert first["Reported Accuracy"] == 97.26
    assert first["Difference (points)"] == -0.76
    assert first["Learning Time(ms)"] == 1_201_000
    assert first["Reported Learning Time(ms)"] == 2315143.337
    assert first["Weights"] == "partial ImageNet weights"
    assert first["Leak"] == 0.6952
    assert first["Test Groups per Run"] == 1000.5
    assert first["Test Accuracy"] == 0.965
    assert len(first["Run IDs"].split()) == 2


@pytest.mark.usefixtures("here")
def test_learning_rates_are_written_as_in_the_reports() -> None:
    rows = list(csv.DictReader(io.StringIO(render_csv(build_page("chest")))))
    rates = [row["Learning Rate"] for row in rows if row["Dropout"] == "0.5"]
    assert rates == ["1e-5"] * 5 + ["5e-5", "1e-4", "3.71234567e-4"]
    assert "3.712e-4" in render_markdown(build_page("chest"))


@pytest.mark.usefixtures("here")
def test_runs_with_another_dropout_are_a_block_of_their_own() -> None:
    page = build_page("chest")
    blocks = {block.title: list(rows["Variant"].dropna()) for block, rows in page.list_tables()}
    assert [name.rsplit(", ", 1)[1] for name in blocks] == ["dropout 0.2", "dropout 0.5"]
    assert list(blocks.values()) == [[1, 2], [1, 2, 3, 4, 5, 6, 7]]


@pytest.mark.usefixtures("here")
def test_failed_parent_and_repeated_runs_are_left_out() -> None:
    runs = read_runs("chest")
    assert len(runs) == 7 * 2 + 2 + 1
    assert min(run.metrics["test_accuracy"] for run in runs) == 0.96


@pytest.mark.usefixtures("here")
def test_statement_says_what_was_run() -> None:
    text = render_markdown(build_page("chest"))
    paragraph = text.split("\n\n")[1]
    for words in (
        "chest",
        "partial ImageNet weights",
        "pooled split",
        "96 x 96 pixels",
        "at most 4 epochs",
        "17 runs",
        "the protocol is not the report's",
        "dropout 0.2 and 0.5",
    ):
        assert words in paragraph
    assert "all runs, test images have a sibling in train" in text.split("\n\n")[2]
    assert "up to 812 of 1168" in text


@pytest.mark.usefixtures("here")
def test_demo_is_called_synthetic_and_has_no_reported_columns() -> None:
    page = build_page("demo")
    assert "synthetic" in page.statement
    assert [line[:8] for line in page.cautions] == ["One seed"]
    assert not [title for title in page.table.columns if "eported" in str(title)]
    assert list(page.table["Variant"]) == [6]


@pytest.mark.usefixtures("here")
def test_html_is_self_contained_and_accessible() -> None:
    text = render_html(build_page("chest"))
    assert not re.search(r"https?://|<script|<link|@import|url\(|src=", text)
    assert text.count("<caption>") == text.count("<table>") == 4
    assert 'scope="row"' in text
    assert 'scope="col"' in text
    assert "prefers-color-scheme" in text
    assert "@media print" in text


@pytest.mark.usefixtures("here")
def test_named_experiment_limits_the_runs() -> None:
    assert len(read_runs("demo", "spare")) == 1
    with pytest.raises(NoRunsError, match="in experiment 'study'"):
        read_runs("demo", "study")
    with pytest.raises(TrackingError, match=r"no active experiment 'studdy'.*spare, study"):
        read_runs("demo", "studdy")


@pytest.mark.usefixtures("here")
def test_runs_on_several_pages_of_a_search_are_all_read(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_runs("chest")
    monkeypatch.setattr("pipelines.runs.read_runs.PAGE", 5)
    assert read_runs("chest") == whole


def failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says of a failure; run in this process, since imports take seconds."""
    monkeypatch.setattr(sys, "argv", ["export", "--dataset", "chest"])
    assert run_command(main) == 2
    message = capsys.readouterr().err
    assert len(message.splitlines()) <= 2
    return message


def test_missing_database_is_not_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    message = failure(monkeypatch, capsys)
    assert message.startswith("error: no runs yet: mlflow.db does not exist")
    assert list(tmp_path.iterdir()) == []


def test_absent_server_is_an_error_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("MLFLOW_TRACKING_URI=http://somebody:secret@127.0.0.1:9\n")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    message = failure(monkeypatch, capsys)
    assert message.startswith("error: no MLflow at http://127.0.0.1:9")
    assert "MLFLOW_TRACKING_URI" in message
    assert "secret" not in message


@pytest.mark.parametrize("content", [b"", b"no database"])
def test_file_that_is_no_database_is_refused_and_unchanged(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "other.db"
    path.write_bytes(content)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    with pytest.raises(TrackingError):
        read_runs("chest")
    assert path.read_bytes() == content


def test_unwritable_folder_is_an_error(here: Path) -> None:
    (here / "taken").write_text("a file")
    with pytest.raises(ExportError, match="--out"):
        write_files(build_page("demo"), here / "taken")


def test_default_folders_of_folders_with_one_name_differ(tmp_path: Path) -> None:
    runs = [make_run({"dataset": f"folder:{tmp_path}/{n}/pets"}) for n in "12"]
    runs = [replace(run, name_digest=n * 64) for n, run in zip("12", runs, strict=True)]
    folders = [default_folder(export_table.build_page([run], Predictions())) for run in runs]
    assert folders == [Path("exports", "pets-111111"), Path("exports", "pets-222222")]


def test_means_do_not_depend_on_the_order_of_runs() -> None:
    runs = [make_run({"seed": seed}, run_id=f"r{seed}", fingerprint=str(seed)) for seed in range(5)]
    assert table_of(runs).equals(table_of(runs[::-1]))
    assert table_of(runs)["Seeds"].tolist() == ["0 1 2 3 4"]


def texts_of(table: pd.DataFrame, title: str, *, page: bool) -> list[str]:
    """A column as it is written."""
    columns = select_columns(table)
    place = [column.title for column in columns].index(title)
    return [row[place] for row in format_cells(table, columns, page=page)]


def test_leak_is_the_mean_share_of_test_images() -> None:
    table = table_of([make_run({"seed": k}, leak=f"{446 + k}/1168") for k in range(3)])
    assert texts_of(table, "Leak", page=False) == ["0.3827"]
    assert texts_of(table, "Leak", page=True) == ["38.3 %"]
    none = table_of([make_run(leak="0/1170")])
    assert texts_of(none, "Leak", page=True) == ["0.0 %"]


def test_leak_of_which_a_part_is_known_is_at_least_that() -> None:
    table = table_of([make_run(leak="at least 3/80"), make_run({"seed": 1}, leak="5/80")])
    assert texts_of(table, "Leak", page=False) == ["unknown"]
    assert texts_of(table, "Leak at Least", page=False) == ["0.0500"]
    (line,) = table.to_dict("records")
    assert SHORT_COLUMNS[-1].write(line) == "at least 5.0 %"


def test_leak_and_groups_of_a_run_without_groups_are_unknown() -> None:
    figures = {name: v for name, v in final_metrics(0).items() if name != "test_groups"}
    runs = [make_run(), make_run({"seed": 1}, leak="unknown", metrics=figures)]
    for some in (runs, runs[1:]):
        for page in (True, False):
            assert texts_of(table_of(some), "Leak", page=page) == ["unknown"]
            assert texts_of(table_of(some), "Test Groups per Run", page=page) == ["unknown"]


def test_test_groups_are_the_mean_over_seeds() -> None:
    runs = [make_run({"seed": k}, metrics={**final_metrics(k), "test_groups": 8.0}) for k in (0, 1)]
    assert texts_of(table_of(runs), "Test Groups per Run", page=False) == ["8"]
    assert texts_of(
        table_of([make_run(), make_run({"seed": 1})]), "Test Groups per Run", page=False
    ) == ["1000.5"]


def test_runs_of_two_protocol_versions_share_no_row() -> None:
    blocks = protocols_of([make_run(), make_run({"seed": 1}, protocol_version="1")])
    assert [block.rsplit(", ", 1)[1] for block in blocks] == [
        "protocol version 1",
        "protocol version 2",
    ]


def make_run_of_fold(fold: int, seed: int = 0, **more: object) -> FinishedRun:
    fields = {"split": "grouped", "fold": fold, "folds": 3, "seed": seed}
    return make_run(fields, run_id=f"{seed}-{fold}", **more)


def test_folds_share_a_row_weighted_by_test_images() -> None:
    runs = [
        make_run_of_fold(
            fold, sizes=f"60/10/{tested}", metrics={**final_metrics(0), "test_accuracy": right}
        )
        for fold, tested, right in ((1, 50, 1.0), (3, 30, 0.0), (2, 20, 0.5))
    ]
    runs.append(make_run({"split": "grouped"}))
    table = table_of(runs)
    assert texts_of(table, "Folds", page=False) == ["", "1 2 3 of 3"]
    assert texts_of(table, "Seeds", page=False) == ["0", "0"]
    assert table["Test Accuracy"].tolist()[1] == pytest.approx(0.6)
    assert table["Accuracy"].tolist()[1] == pytest.approx(60)
    assert table["Learning Time(ms)"].tolist()[1] == pytest.approx(1_200_500)
    assert table["Run IDs"].tolist()[1] == "0-1 0-2 0-3"
    assert ["in 3 folds" in name for name in protocols_of(runs)] == [False, True]


def test_missing_folds_are_named_and_warned_of() -> None:
    whole = [make_run_of_fold(fold, seed) for seed in (0, 1) for fold in (1, 2, 3)]
    assert table_of(whole)["Folds"].tolist() == ["1 2 3 of 3"]
    assert table_of(whole)["Seeds"].tolist() == ["0 1"]
    assert table_of(whole[:-1])["Folds"].tolist() == ["1 2 3, 1 2 of 3"]
    assert "1 of 2 cross-validations" in warnings_of(whole[:-1])[-1]
    assert not [line for line in warnings_of(whole) if "cross-validations" in line]


def test_statement_names_the_folds() -> None:
    text = describe_runs([make_run_of_fold(1), make_run()], 2)
    assert "grouped split in 3 folds and pooled split" in text
    assert "each image is tested once per seed" in text
    assert "folds" not in describe_runs([make_run()], 1)


def test_table_without_folds_has_no_column_for_them() -> None:
    assert "Folds" not in table_of([make_run()])


def test_diverged_losses_are_shown_as_nan_and_infinity() -> None:
    losses = {"test_loss": float("nan"), "train_loss": sys.float_info.max}
    row = table_of([make_run(metrics=final_metrics(0) | losses)]).iloc[0]
    assert pd.isna(row["Test Loss"])
    assert row["Train Loss"] == float("inf")


def test_difference_that_rounds_to_zero_is_not_negative() -> None:
    figures = final_metrics(0) | {"test_accuracy": 0.97259}
    table = table_of([make_run(metrics=figures)])
    assert texts_of(table, "Difference (points)", page=False) == ["+0.00"]


def test_statement_says_whether_runs_follow_the_reports_protocol() -> None:
    assert "This is the report's protocol" in describe_runs([make_run()], 1)
    assert warnings_of([make_run()]) == []
    mixed = [make_run(), make_run({"epochs": 2})]
    assert "In 1 of 2 runs, the protocol is not the report's (different: epochs)" in describe_runs(
        mixed, 2
    )


def test_few_missing_test_images_still_follow_the_reports_protocol() -> None:
    nearly, fewer = (make_run(sizes=sizes) for sizes in ("3738/934/1168", "3000/750/1150"))
    assert "as far as it is known, on 1168 test images instead of 1170." in describe_runs(
        [nearly], 1
    )
    assert "the protocol is not the report's (different: test images)" in describe_runs([fewer], 1)


def test_unknown_leak_is_a_warning() -> None:
    assert "unknown how many" in warnings_of([make_run(leak="unknown")])[0]


def test_markup_in_names_stays_text() -> None:
    run = make_run({})
    words = (
        "folder a|b<i>&",
        describe_runs([run], 1),
        [],
        build_blocks([run], {}),
        ["a *note*"],
    )
    page = Page(*words)
    assert "folder a\\|b\\<i\\>&" in render_markdown(page)
    assert "<i>" not in render_markdown(page).replace("\\<i\\>", "")
    assert "folder a|b&lt;i&gt;&amp;" in render_html(page)


def test_another_backbone_has_no_reported_figure() -> None:
    row = table_of([make_run({"backbone": "resnet50"})]).iloc[0]
    assert row["Variant"] == 1
    assert pd.isna(row["Reported Accuracy"])


def test_table_names_a_subset_and_the_weights() -> None:
    subset = table_of([make_run({"limit": 600})])
    assert subset["Limit"].tolist() == ["subset of about 600 images"]
    assert "subset of about 600 images" in protocols_of([make_run({"limit": 600})])[0]
    random = table_of([make_run(), make_run(weights_kind="none", run_id="s")])
    assert random["Weights"].tolist() == ["ImageNet weights", "no pretrained weights"]


def test_two_weights_files_of_one_name_share_no_row() -> None:
    file = {"weights_kind": "partial", "weights_file": "w.h5", "weights_published": "134/135"}
    runs = [make_run(**file, run_id=digest, weights_digest=digest * 64) for digest in "ab"]
    table = table_of(runs)
    assert table["Weights"].tolist() == ["partial ImageNet weights (134 of 135 tensors)"] * 2
    assert sorted(table["Weights Digest"]) == ["a" * 12, "b" * 12]
    assert len(table_of([runs[0], make_run(**file, run_id="c", weights_digest="a" * 64)])) == 1


def test_unknown_data_set_is_refused() -> None:
    with pytest.raises(StudyError, match="unknown"):
        recipe("chess")


TITLES = [
    *("Variant", "Head", "Rate", "Accuracy (95 % interval)", "Reported"),
    *("Points from baseline (95 % interval)", "Adjusted p", "Seeds", "Learning time"),
    "Sibling in training",
]


@pytest.mark.usefixtures("here")
def test_markdown_html_and_latex_have_the_columns_for_readers() -> None:
    page = build_page("chest")
    markdown = render_markdown(page)
    assert f"| {' | '.join(TITLES)} |" in markdown
    line = next(text for text in markdown.splitlines() if text.startswith("| 3 | "))
    cells = line.removeprefix("| ").removesuffix(" |").split(" | ")
    assert (*cells[:3], cells[4], *cells[7:]) == (
        *("3", "D(32)", "1e-5", "98.0 %", "2", "20 min", "69.5 %"),
    )
    assert re.fullmatch(r"96\.5 % \(\d+\.\d to \d+\.\d\)", cells[3])
    assert re.fullmatch(r"[+-]\d\.\d \([+-]\d+\.\d to [+-]\d+\.\d\)", cells[5])
    latex = " & ".join(cells).replace("%", r"\%")
    assert latex in render_latex(page)
    html = render_html(page).replace("\N{NO-BREAK SPACE}", " ")
    assert all(f">{cell}</t" in html for cell in cells)


@pytest.mark.usefixtures("here")
def test_html_opens_the_other_columns_of_each_table_without_a_script() -> None:
    page = build_page("chest")
    html = render_html(page)
    details = re.findall(r"<details.*?</details>", html, re.DOTALL)
    assert len(details) == len(page.blocks)
    row = next(csv.DictReader(io.StringIO(render_csv(page))))
    assert all(f">{title}</th>" in details[0] for title in row)
    assert row["Run IDs"] in details[0]


@pytest.mark.usefixtures("here")
def test_csv_keeps_its_columns_and_ends_with_dataset_and_weights_digest() -> None:
    frame = pd.read_csv(io.StringIO(render_csv(build_page("chest"))), dtype=str)
    assert list(frame.columns[-3:]) == ["Run IDs", "dataset", "weights_digest"]
    assert set(frame["dataset"]) == {"chest"}
    for title in ("Low", "High", "By", "Gain (points)", "P(better)", "Time Ratio", "Leak"):
        assert title in frame


def test_dataset_column_of_a_folder_keeps_its_path_private(tmp_path: Path) -> None:
    run = make_run({"dataset": f"folder:{tmp_path}/pets"}, weights_digest="ab" * 32)
    table = table_of([run])
    assert table["dataset"].tolist() == ["folder:pets"]
    assert table["weights_digest"].tolist() == ["ab" * 32]


@pytest.mark.usefixtures("here")
def test_latex_has_a_table_for_each_block_and_escapes_its_text() -> None:
    page = build_page("chest")
    latex = render_latex(page)
    assert latex.count(r"\toprule") == len(page.blocks)
    assert not re.findall(r"(?<!\\)[%#_]", latex.split("\n", 1)[1].replace("{%\n", ""))
