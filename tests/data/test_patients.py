"""Whether the groups of chest and blood are known from their file names."""

from collections.abc import Callable
from pathlib import Path

import pytest

from study.common.errors import DataError
from study.data import blood
from study.data import chest
from study.data.chest import parse_patient
from study.data.digest import compute_digest
from study.data.listing import Listing
from study.data.prepare import prepare
from study.data.split import count_leaking_images
from study.data.split import make_split
from tests.support.images import BLOOD_LABELS
from tests.support.images import class_folders
from tests.support.images import write_noise_image

Names = dict[str, list[str]]  # class folder -> file names
Make = Callable[[Names], Path]


@pytest.fixture
def make_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return a function that makes empty files and points DATA_DIR at them."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))

    def make(names: Names) -> Path:
        for folder, files in names.items():
            (tmp_path / folder).mkdir(parents=True)
            for name in files:
                (tmp_path / folder / name).touch()
        return tmp_path

    return make


def make_chest_names(pattern: str, *, normal: str = "IM-{:04}-0001.jpeg", count: int = 20) -> Names:
    names: Names = {}
    for offset, part in ((0, "train"), (100, "test")):
        numbers = range(offset, offset + count)
        names[f"{part}/PNEUMONIA"] = [pattern.format(number) for number in numbers]
        names[f"{part}/NORMAL"] = [normal.format(number) for number in numbers]
    return names


def get_digest(listing: Listing) -> str:
    return compute_digest(listing, {entry.image: "same" for entry in listing.entries})


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("person12_virus_46.jpeg", "virus-12"),
        ("person0012_Bacteria_46.JPG", "bacteria-12"),
        ("train_PERSON12_virus_46.jpeg", "virus-12"),
        ("IM-0115-0001.jpeg", "normal-115"),
        ("NORMAL2-IM-0115-0001.jpeg", "normal2-115"),
        ("x_normal2-im-0115-0001-0002.jpeg", "normal2-115"),
        ("BACTERIA-1008-0002.jpeg", "original-bacteria-1008"),
        ("virus-1008-0003.jpeg", "original-virus-1008"),
        ("test-NORMAL-1008-0001.png", "original-normal-1008"),
        ("7.jpeg", None),
        ("NORMAL-7.jpeg", None),
        ("PIM-0115-0001.jpeg", None),
    ],
)
def test_parse_patient_reads_both_namings(name: str, patient: str | None) -> None:
    assert parse_patient(f"train/NORMAL/{name}") == patient


def test_patients_of_the_original_naming_stay_on_one_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    seed = 0
    for part, first in (("train", 100), ("test", 500)):
        for label, disease in (("NORMAL", "normal"), ("PNEUMONIA", "VIRUS")):
            for patient in range(first, first + 6):
                for number in range(3):
                    name = f"{disease}-{patient}-{number:04}.jpeg"
                    write_noise_image(tmp_path / part / label / name, seed)
                    seed += 1
    data = prepare("chest", 8, use_cache=False)
    split = make_split(data, "grouped", 0)
    patients = [image.rsplit("-", 1)[0].rsplit("/", 1)[-1] for image in data.images]
    assert not {patients[row] for row in split.test} & {patients[row] for row in split.train}
    assert count_leaking_images(data, split) == 0
    assert count_leaking_images(data, make_split(data, "pooled", 0))


def test_groups_of_names_of_no_known_form_are_unknown(make_files: Make) -> None:
    make_files(make_chest_names("{}.jpeg", normal="{}.jpeg"))
    listing = chest.find_images()
    assert listing.groups is None
    assert listing.why_no_groups == (
        "80 of 80 file names identify no patient, such as 'test/NORMAL/100.jpeg'"
    )


def test_unknown_groups_are_explained_where_the_grouped_split_needs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    for part in ("train", "test"):
        class_folders(tmp_path / part, {"NORMAL": 5, "PNEUMONIA": 5})
    data = prepare("chest", 8, use_cache=False)
    assert count_leaking_images(data, make_split(data, "pooled", 0)) is None
    with pytest.raises(DataError, match=r"no groups known for chest .*test/NORMAL/000\.png.*: use"):
        make_split(data, "grouped", 0)


def test_few_names_of_no_known_form_are_groups_by_class_and_name(make_files: Make) -> None:
    names = make_chest_names("person{}_virus_1.jpeg", count=50)
    names["train/NORMAL"] += ["7.jpeg"]
    names["train/PNEUMONIA"] += ["7.jpeg"]
    make_files(names)
    listing = chest.find_images()
    assert listing.groups is not None
    assert listing.groups["train/NORMAL/7.jpeg"] == "NORMAL/7.jpeg"
    assert listing.groups["train/PNEUMONIA/7.jpeg"] == "PNEUMONIA/7.jpeg"
    assert listing.notes[0].startswith(
        "2 of 202 file names identify no patient, such as 'train/NORMAL"
    )


def test_only_names_that_the_first_rules_knew_keep_their_digest(make_files: Make) -> None:
    names = make_chest_names("person{}_virus_1.jpeg")
    root = make_files(names)
    assert chest.find_images().rules == ""
    before = get_digest(chest.find_images())
    (root / "train/NORMAL/IM-0001-0001.jpeg").rename(root / "train/NORMAL/im-0001-0001.jpeg")
    other = chest.find_images()
    assert other.rules
    assert get_digest(other) != before


def test_different_pictures_of_one_name_are_all_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    for part, count in (("train", 10), ("test", 8)):
        class_folders(tmp_path / part, {"NORMAL": count, "PNEUMONIA": count})
    data = prepare("chest", 8, use_cache=False)
    split = make_split(data, "pooled", 0)
    assert len(split.train) + len(split.val) + len(split.test) == 36


def make_blood_names(known: int, unknown: int) -> Names:
    """Return names of Kaggle's blood set in TRAIN, with others of no such name."""
    lines = blood.SOURCES.read_text(encoding="utf-8").splitlines()[1:]
    images = [line.split(",")[0] for line in lines]
    names: Names = {f"{p}/{label}": [] for p in ("TRAIN", "TEST") for label in BLOOD_LABELS}
    for folder, files in names.items():
        files += [i.rsplit("/", 1)[-1] for i in images if i.startswith(folder + "/")][:known]
        files += [f"other{number}.jpeg" for number in range(unknown)]
    return names


def test_blood_with_a_chance_match_of_a_name_has_unknown_groups(make_files: Make) -> None:
    make_files(make_blood_names(known=1, unknown=5))
    listing = blood.find_images()
    assert listing.groups is None
    assert listing.why_no_groups == "8 of 48 files have a name of Kaggle's set"
    assert not listing.one_per_name
    assert listing.rules


def test_blood_with_nearly_all_names_has_the_groups_of_the_table(make_files: Make) -> None:
    make_files(make_blood_names(known=40, unknown=1))
    listing = blood.find_images()
    assert listing.groups is not None
    assert len(set(listing.groups.values())) > 8
    assert listing.one_per_name
    assert listing.rules == ""
    assert "8 of 328 images are not in Kaggle's set" in listing.notes[-1]
