"""The page of a run's cases, from the real command on real runs."""

import base64
import dataclasses
import io
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow.artifacts
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from PIL import Image

from pipelines.cases.__main__ import main
from pipelines.cases.page import CasesView
from pipelines.cases.page import render_cases
from pipelines.cases.pictures import describe_heat
from pipelines.cases.pictures import encode_data_uri
from pipelines.cases.pictures import overlay_heat
from pipelines.cases.selection import build_cases
from pipelines.cases.selection import Case
from pipelines.cases.selection import describe_siblings
from pipelines.cases.selection import select_hits
from pipelines.cases.selection import select_mistakes
from study.common.command import run_command
from study.data.prepare import prepare
from tests.pipelines.test_export import make_run
from tests.support.commands import client_of
from tests.support.commands import finished_of
from tests.support.commands import refusal
from tests.support.commands import run_here
from tests.support.commands import succeed_here
from tests.support.commands import TINY
from tests.support.images import class_folders
from tests.support.images import draw_scene
from tests.support.images import write_noise_image

DEMO = (*TINY, "--image-size", "64", "--epochs", "1", "--split", "grouped", "--log-model")


@dataclasses.dataclass(frozen=True)
class Page:
    """What a command left: its output, the page, and the run that the page is of."""

    output: str
    text: str
    trained: Run
    client: MlflowClient
    predictions: pd.DataFrame  # of test, with what is worked out here: said, sure, hit

    def cards(self) -> Iterator[str]:
        yield from re.findall(r'<figure class="case">.*?</figure>', self.text, re.DOTALL)


def predictions_of(client: MlflowClient, trained: Run, folder: Path) -> pd.DataFrame:
    file = client.download_artifacts(trained.info.run_id, "predictions.parquet", str(folder))
    table = pd.read_parquet(file)
    table = table[table["split"] == "test"].reset_index(drop=True)
    chances = table.filter(regex="^p_")
    said = chances.idxmax(axis=1).str.removeprefix("p_")
    return table.assign(said=said, sure=chances.max(axis=1), hit=said == table["label"])


@pytest.fixture(scope="module")
def page(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Of a run with groups and a model, four cases of each kind."""
    folder = tmp_path_factory.mktemp("cases")
    shutil.copy(empty_database, folder / "mlflow.db")
    succeed_here("study.train", *DEMO, cwd=folder)
    client = client_of(folder)
    (trained,) = finished_of(client)
    run_id = trained.info.run_id
    done = run_here("pipelines.cases", "--run", run_id, "--count", "4", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    text = (folder / "exports" / f"cases-{run_id[:8]}" / "cases.html").read_text()
    return Page(done.stdout, text, trained, client, predictions_of(client, trained, folder))


def test_cases_command_prints_the_folder_of_the_page(page: Page) -> None:
    (line,) = page.output.splitlines()
    assert f"exports/cases-{page.trained.info.run_id[:8]}" in line


def test_cases_page_is_uploaded_to_the_run(page: Page, tmp_path: Path) -> None:
    file = page.client.download_artifacts(page.trained.info.run_id, "cases", str(tmp_path))
    assert (Path(file) / "cases.html").read_text() == page.text


def test_cases_are_the_surest_mistakes_then_the_least_sure_hits(page: Page) -> None:
    table = page.predictions
    wrong = table[~table["hit"]].sort_values(["sure", "image"], ascending=[False, True])
    right = table[table["hit"]].sort_values(["sure", "image"])
    expected = [
        (case.image, case.said, f"{100 * case.sure:.1f}", case.label)
        for case in [*wrong[:4].itertuples(), *right[:4].itertuples()]
    ]
    words = r"predicted <strong>(.+?)</strong>, ([\d.]+)\xa0%.*true class <strong>(.+?)</strong>"
    pattern = rf'alt="(\S+), of class.*{words}'
    found = [re.search(pattern, card, re.DOTALL) for card in page.cards()]
    assert [match.groups() for match in found if match] == expected
    assert f"mistakes: {min(4, len(wrong))} of {len(wrong)}<" in page.text
    assert f"{len(wrong)} of {len(table)} test images" in page.text


def test_case_counts_the_wrong_siblings_of_its_group(page: Page) -> None:
    data = prepare("demo", 64)
    assert data.groups is not None
    group_of = dict(zip(data.images, data.groups, strict=True))
    table = page.predictions.assign(group=page.predictions["image"].map(group_of))
    for card in page.cards():
        (image,) = re.findall(r'alt="(\S+), of class', card)
        siblings = table[(table["group"] == group_of[image]) & (table["image"] != image)]
        wrong = int((~siblings["hit"]).sum())
        (words,) = re.findall(rf"group {group_of[image]}: (.*)</p>", card)
        assert len(siblings) > 1
        expected = {0: [len(siblings)], len(siblings): [len(siblings)]}
        numbers = [int(number) for number in re.findall(r"\d+", words)]
        assert numbers == expected.get(wrong, [wrong, len(siblings)])


def test_case_shows_the_image_and_its_heat_map_with_alt_texts(page: Page) -> None:
    for card in page.cards():
        first, second = re.findall(r'<img src="data:image/jpeg;base64,(\S+)" alt="([^"]+)">', card)
        assert re.search("^(empty )?heat map for ", second[1])
        for content, _ in (first, second):
            assert Image.open(io.BytesIO(base64.b64decode(content))).size == (64, 64)
    assert "2 x 2 cells" in page.text


def test_cases_page_is_self_contained_and_names_the_protocol(page: Page) -> None:
    assert not re.findall(r"(?:src|href)=\"(?!data:)|<script|url\(|https?:", page.text)
    assert len(page.text) < 200_000
    assert "<h1>Cases of demo (synthetic) · D(8) · " not in page.text  # the recipe's head is gap
    assert "<h1>Cases of demo (synthetic) · GAP·D(8) · 1e-3 · seed 0 · " in page.text
    assert "MobileNet, grouped split, no pretrained weights, 64 x 64 pixels" in page.text
    assert "have a sibling in train" not in page.text


# --- a folder without groups, and a run without a model ----------------------------------------


@pytest.fixture(scope="module")
def plain(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of such a run."""
    folder = tmp_path_factory.mktemp("plain")
    shutil.copy(empty_database, folder / "mlflow.db")
    class_folders(folder / "my images", {"a": 15, "<b>": 15})
    succeed_here("study.train", *flags_of(folder), cwd=folder)
    return folder


def flags_of(folder: Path) -> tuple[str, ...]:
    return (*TINY, "--dataset", f"folder:{folder / 'my images'}", "--epochs", "1")


@pytest.fixture
def run_without_model(plain: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(plain)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{plain}/mlflow.db")
    return finished_of(client_of(plain))[0]


def set_flags(monkeypatch: pytest.MonkeyPatch, run_id: str, *flags: str) -> None:
    monkeypatch.setattr(sys, "argv", ["pipelines.cases", "--run", run_id, *flags])


def test_cases_of_a_run_without_a_model_say_how_to_get_heat_maps(
    run_without_model: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_flags(monkeypatch, run_without_model.info.run_id, "--out", str(tmp_path / "out"))
    assert run_command(main) == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("no heat maps: the run has no model")
    assert "--log-model --again" in line
    text = (tmp_path / "out" / "cases.html").read_text()
    assert "No heat maps: the run has no model" in text
    assert "Groups are not recorded" in text
    assert "It is not known how many test images have a sibling in training." in text
    assert "<h1>Cases of folder my-images-" in text
    assert str(tmp_path.parent) not in text  # a folder's path stays private
    assert text.count("<img ") == text.count('<figure class="case">') == 6
    assert "<b>" not in text
    file = mlflow.artifacts.download_artifacts(
        run_id=run_without_model.info.run_id,
        artifact_path="cases/cases.html",
        dst_path=str(tmp_path),
    )
    assert Path(file).read_text() == text


def test_heat_map_of_a_single_cell_is_not_shown(
    run_without_model: Run,
    plain: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    succeed_here("study.train", *flags_of(plain), "--log-model", "--again", cwd=plain)
    again = finished_of(client_of(plain))[-1]
    assert again.info.run_id != run_without_model.info.run_id
    set_flags(monkeypatch, again.info.run_id, "--out", str(tmp_path))
    assert run_command(main) == 0
    assert "MobileNet turns 32 x 32 pixels into a single cell" in capsys.readouterr().out
    text = (tmp_path / "cases.html").read_text()
    assert text.count("<img ") == text.count('<figure class="case">') == 6


def test_images_changed_since_the_run_are_refused(
    run_without_model: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_flags(monkeypatch, run_without_model.info.run_id)
    added = write_noise_image(Path("my images", "a", "one more.png"), 999)
    try:
        assert "are not those of run" in refusal(main, capsys)
    finally:
        added.unlink()
    Path("my images").rename("elsewhere")
    try:
        line = refusal(main, capsys)
        assert "no folder at" in line
        assert "name the folder that they are in now with --dataset folder:PATH" in line
        set_flags(
            monkeypatch,
            run_without_model.info.run_id,
            "--dataset",
            "folder:elsewhere",
            "--out",
            "exports/new",
        )
        assert run_command(main) == 0
        assert Path("exports/new/cases.html").is_file()
    finally:
        Path("elsewhere").rename("my images")


def test_cases_are_not_written_among_the_images(
    run_without_model: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("my images", "my images/new"):
        set_flags(monkeypatch, run_without_model.info.run_id, "--out", folder)
        assert "each folder is a class: choose another with --out" in refusal(main, capsys)
    assert not Path("my images", "new").exists()


@pytest.mark.usefixtures("run_without_model")
def test_run_that_is_no_finished_trial_is_refused(
    plain: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = client_of(plain)
    whole = client.create_run("0", tags={"study": "demo-grid"}).info.run_id
    client.set_terminated(whole)
    begun = client.create_run("0").info.run_id
    same = client.create_run("0", tags={"same_as": "abc"}).info.run_id
    deleted = client.create_run("0").info.run_id
    client.delete_run(deleted)
    refusals = {
        "0" * 32: "no run 000",
        "../x": "no run ../x",
        whole: "stands for a whole study",
        begun: "is not a finished trial (RUNNING)",
        same: "is empty, because its config was finished already: name run abc",
        deleted: "is deleted",
    }
    for run_id, message in refusals.items():
        set_flags(monkeypatch, run_id)
        assert message in refusal(main, capsys)


# --- the parts ---------------------------------------------------------------------------------


def table(**columns: list[object]) -> pd.DataFrame:
    base = {
        "image": list("vwxyz"),
        "split": ["val", "test", "test", "test", "test"],
        "label": ["a", "a", "a", "b", "b"],
        "p_a": [0.1, 0.2, 0.9, 0.6, 0.4],
        "p_b": [0.9, 0.8, 0.1, 0.4, 0.6],
    }
    return pd.DataFrame(base | columns)


def test_cases_are_ordered_and_count_siblings_within_test() -> None:
    cases = build_cases(table(group=["1", "1", "1", "1", None]), {})
    assert select_mistakes(cases) == [
        Case("w", "a", "b", 0.8, "1", siblings=2, wrong_siblings=1),
        Case("y", "b", "a", 0.6, "1", siblings=2, wrong_siblings=1),
    ]
    assert select_hits(cases) == [
        Case("z", "b", "b", 0.6, None, siblings=0, wrong_siblings=0),
        Case("x", "a", "a", 0.9, "1", siblings=2, wrong_siblings=2),
    ]


def test_predictions_without_groups_take_those_of_the_images() -> None:
    found = build_cases(table(), {"w": "1", "x": "1", "y": "2", "z": "2"})
    assert [(case.group, case.siblings) for case in found] == [("1", 1), ("1", 1)] + [("2", 1)] * 2
    assert {case.group for case in build_cases(table(), {})} == {None}


@pytest.mark.parametrize(
    ("hit", "siblings", "wrong", "text"),
    [
        (False, 0, 0, "no sibling in the test set"),
        (False, 1, 0, "its one sibling in the test set is right"),
        (False, 1, 1, "its one sibling in the test set is also wrong"),
        (True, 1, 1, "its one sibling in the test set is wrong"),
        (False, 5, 0, "none of its 5 siblings in the test set is wrong"),
        (False, 5, 1, "1 of its 5 siblings in the test set is also wrong"),
        (False, 5, 3, "3 of its 5 siblings in the test set are also wrong"),
        (True, 5, 5, "all 5 of its siblings in the test set are wrong"),
    ],
)
def test_sibling_counts_are_described_in_words(
    hit: bool, siblings: int, wrong: int, text: str
) -> None:
    case = Case("x", "a", "a" if hit else "b", 0.5, "g", siblings, wrong)
    assert describe_siblings(case) == text


def test_heat_overlay_colors_the_image_where_the_map_is_hot() -> None:
    pixels = np.full((32, 32, 3), 100, np.uint8)
    none = np.zeros((2, 2), np.float32)
    np.testing.assert_array_equal(overlay_heat(pixels, none), pixels)
    assert describe_heat(none, "a") == "empty heat map for a"
    corner = np.array([[0, 0], [0, 1]], np.float32)
    found = overlay_heat(pixels, corner)
    np.testing.assert_array_equal(found[0, 0], pixels[0, 0])
    red, green, blue = found[-1, -1].tolist()
    assert min(red, green) > 150 > blue  # yellow
    assert describe_heat(corner, "a") == "heat map for a, strongest at the bottom right"


def test_large_image_is_shrunk_so_that_24_cases_stay_below_2_mb() -> None:
    content = encode_data_uri(np.asarray(draw_scene(0, 896, 896)))
    picture = base64.b64decode(content.split(",")[1])
    assert Image.open(io.BytesIO(picture)).size == (224, 224)
    assert 48 * len(content) < 2_000_000


def test_cases_of_a_run_without_mistakes_say_so() -> None:
    case = Case("x.png", "a", "a", 0.75, "g", siblings=0, wrong_siblings=0)
    pixels = {"x.png": np.zeros((32, 32, 3), np.uint8)}
    shown = CasesView(make_run(leak="1/1"), [case], 12, pixels, {}, "none here")
    text = render_cases(shown)
    assert "<p>No prediction is wrong.</p>" in text
    assert "hits: 1 of 1" in text
    assert "1 of 1 test image has a sibling in train" in text
    assert "<p>No heat maps: none here.</p>" in text
