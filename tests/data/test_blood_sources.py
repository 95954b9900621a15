import csv
from pathlib import Path

import pandas as pd
import pytest

from study.data.audit.registration import extract_features
from study.data.audit.registration import match_features
from study.data.blood import SOURCES
from tests.support import images as make
from tests.support.commands import run_here

LABELS = make.BLOOD_LABELS


@pytest.fixture(scope="module")
def download(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A download of 8 photographs, two of which overlap, with 2 copies of each and one stranger."""
    root = tmp_path_factory.mktemp("download")
    photographs = root / "dataset-master" / "dataset-master" / "JPEGImages"
    images = root / "dataset2-master" / "dataset2-master" / "images"
    photographs.mkdir(parents=True)
    wide = make.draw_scene(50, width=900)
    scenes = [wide.crop((0, 0, 640, 480)), wide.crop((260, 0, 900, 480))]
    scenes += [make.draw_scene(seed) for seed in range(6)]
    lines = [",Image,Category"]
    for number, scene in enumerate(scenes):
        label, part = LABELS[number % 4], ("TRAIN", "TEST")[number // 4]
        scene.save(photographs / f"BloodImage_{number:05}.jpg", quality=95)
        lines.append(f",{number},{label}")
        (images / part / label).mkdir(parents=True)
        for copy in range(2):
            altered = make.make_altered_copy(scene, 100 * copy + 30, bool(copy))
            altered.save(images / part / label / f"_{number}_{copy}.jpeg")
    make.draw_scene(99, 320, 240).save(images / "TRAIN" / LABELS[0] / "stranger.jpeg")
    (photographs.parent / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


def test_blood_sources_assigns_each_image_or_lists_it(download: Path, tmp_path: Path) -> None:
    flags = ("--out", "out.csv")
    done = run_here("study.data.blood_sources", *flags, cwd=tmp_path, DATA_DIR=str(download))
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert list(table.columns) == ["image", "original", "inliers", "field"]
    stranger = table[table["image"] == "TRAIN/EOSINOPHIL/stranger.jpeg"].iloc[0]
    assert (stranger["original"], stranger["field"]) == ("", "")
    assert stranger["inliers"] < 12
    known = table[table["original"] != ""]
    number = known["image"].str.extract(r"_(\d)_\d\.jpeg")[0]
    assert (known["original"] == "BloodImage_0000" + number).all()
    # the two that overlap are one field, named after the first
    assert (known["field"] == "BloodImage_0000" + number.replace("1", "0")).all()
    assert "16 of 17 images assigned; 16 labels agree" in done.stdout
    assert "originals: 4 in TRAIN, 4 in TEST, 0 in both" in done.stdout
    assert "fields: 3 in TRAIN, 4 in TEST, 0 in both" in done.stdout
    assert "not certain: TRAIN/EOSINOPHIL/stranger.jpeg" in done.stdout


def test_blood_sources_without_photographs_names_the_download(tmp_path: Path) -> None:
    make.blood(tmp_path / "images")
    done = run_here("study.data.blood_sources", cwd=tmp_path, DATA_DIR=str(tmp_path))
    assert done.returncode == 2
    assert "no photographs" in done.stderr
    assert "kaggle.com" in done.stderr


@pytest.fixture(scope="module")
def shipped() -> pd.DataFrame:
    table = pd.read_csv(SOURCES)
    place = table["image"].str.split("/", expand=True)
    return table.assign(side=place[0].replace("TEST_SIMPLE", "TEST"), label=place[1])


def test_shipped_table_has_no_original_in_train_and_test(
    shipped: pd.DataFrame,
) -> None:
    assert len(shipped) == 12_515
    assert shipped["image"].is_unique
    train, test = (set(shipped["original"][shipped["side"] == s]) for s in ("TRAIN", "TEST"))
    assert (len(train), len(test), len(train & test)) == (277, 71, 0)
    assert shipped["inliers"].min() >= 12
    # 71 files, of which two pairs are the same photograph, byte for byte
    simple = set(shipped["original"][shipped["image"].str.startswith("TEST_SIMPLE")])
    assert (len(simple), simple <= test) == (69, True)


def test_shipped_table_has_6_fields_in_train_and_test(shipped: pd.DataFrame) -> None:
    train, test = (set(shipped["field"][shipped["side"] == s]) for s in ("TRAIN", "TEST"))
    assert (len(train), len(test), len(train & test)) == (252, 67, 6)
    assert (shipped.groupby("original")["field"].nunique() == 1).all()


@pytest.mark.shared
def test_shipped_labels_agree_with_those_of_the_photographs(
    shipped: pd.DataFrame, shared_dir: Path
) -> None:
    file = shared_dir / "data" / "dataset-master" / "dataset-master" / "labels.csv"
    with file.open() as stream:
        labels = {int(row["Image"]): row["Category"] for row in csv.DictReader(stream)}
    numbers = shipped["original"].str.removeprefix("BloodImage_").astype(int)
    assert (numbers.map(labels) == shipped["label"]).all()


@pytest.mark.shared
def test_sample_of_images_matches_as_often_as_the_shipped_table_says(
    shipped: pd.DataFrame, shared_dir: Path
) -> None:
    base = shared_dir / "data"
    for _, row in shipped.sample(40, random_state=0).iterrows():
        image = base / "dataset2-master" / "dataset2-master" / "images" / row["image"]
        folder = base / "dataset-master" / "dataset-master" / "JPEGImages"
        copy, photograph = (
            extract_features(file.read_bytes())
            for file in (image, folder / f"{row['original']}.jpg")
        )
        assert match_features(copy, photograph).points == pytest.approx(row["inliers"], rel=0.2)
