from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence
from math import comb
from pathlib import Path

import pandas as pd
import pytest

from study.data.audit.near_duplicates import find_near_groups
from study.data.audit.near_duplicates import MIN_POINTS
from study.data.audit.registration import extract_features
from study.data.audit.registration import match_features
from study.data.blood import SOURCES
from study.data.parallel import ProgressCallback
from study.data.registry import get_dataset
from tests.support import images as make

COPIES = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5 scenes with 6 altered copies each, and 20 that stand alone."""
    root = tmp_path_factory.mktemp("near")
    for seed in range(5):
        for number in range(COPIES):
            copy = make.make_altered_copy(
                make.draw_scene(seed), 55 * number + seed, bool(number % 2), 0.1 * (number % 3)
            )
            copy.save(root / f"scene {seed} copy {number}.jpg")
    for seed in range(100, 120):
        make.draw_scene(seed, 320, 240).save(root / f"lone {seed}.png")
    return root


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def expected() -> list[tuple[str, ...]]:
    return [tuple(f"scene {s} copy {n}.jpg" for n in range(COPIES)) for s in range(5)]


def test_near_groups_are_the_altered_copies_of_one_scene(folder: Path, tmp_path: Path) -> None:
    assert find_near_groups(folder, names(folder), tmp_path, None) == expected()


def test_different_images_with_one_stamp_are_no_near_duplicates(tmp_path: Path) -> None:
    """As X-rays have them: letters, a ruler, the hospital's name."""
    stamp = make.draw_scene(200, 240, 180)
    for seed in range(300, 306):
        stranger = make.draw_scene(seed, 640, 480)
        stranger.paste(stamp, (20, 20))
        stranger.save(tmp_path / f"{seed}.png")
    one, other = (extract_features((tmp_path / f"{seed}.png").read_bytes()) for seed in (300, 301))
    assert match_features(one, other).points >= MIN_POINTS
    assert find_near_groups(tmp_path, names(tmp_path), tmp_path / "work", None) == []


def test_search_that_was_stopped_continues_from_its_pairs(folder: Path, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(what: str, done: int, total: int) -> None:  # noqa: ARG001
        if what == "comparing":
            raise Stop

    with pytest.raises(Stop):
        find_near_groups(folder, names(folder), tmp_path, stop)
    with (tmp_path / "pairs").open("ab") as stream:
        stream.write(b"half")  # of a row
    seen: list[str] = []
    note: ProgressCallback = lambda what, done, total: seen.append(what)  # noqa: E731, ARG005
    assert find_near_groups(folder, names(folder), tmp_path, note) == expected()
    assert "keypoints" not in seen  # they were kept


def test_few_odd_or_broken_files_give_no_false_groups(folder: Path, tmp_path: Path) -> None:
    assert find_near_groups(folder, [], tmp_path / "0", None) == []
    assert find_near_groups(folder, names(folder)[:1], tmp_path / "1", None) == []
    root = tmp_path / "odd"
    for name in ("a b.png", "ü\n.png"):
        make.write_plain_image(root / name)
    (root / "broken.png").write_bytes(b"no image")
    files = [*names(root), "missing.png"]
    assert find_near_groups(root, files, tmp_path / "2", None) == []
    make.draw_scene(7).save(root / "c.png")
    make.make_altered_copy(make.draw_scene(7), 90).save(root / "d.png")
    assert find_near_groups(root, names(root), tmp_path / "3", None) == [("c.png", "d.png")]


def precision_and_recall(
    found: Sequence[Sequence[str]], truth: Mapping[str, str]
) -> tuple[float, float]:
    """Over pairs of images: of those found, of those that there are."""
    inside = [Counter(truth[image] for image in group) for group in found]
    both = sum(comb(count, 2) for counts in inside for count in counts.values())
    there = sum(comb(count, 2) for count in Counter(truth.values()).values())
    return both / sum(comb(len(group), 2) for group in found), both / there


def test_near_groups_of_the_demo_have_high_precision(tmp_path: Path) -> None:
    listing = get_dataset("demo").find()
    images = [entry.image for entry in listing.entries][::4]
    assert listing.groups is not None
    truth = {image: listing.groups[image] for image in images}
    found = find_near_groups(listing.root, images, tmp_path, None)
    precision, recall = precision_and_recall(found, truth)
    assert precision >= 0.95
    assert recall >= 0.5


@pytest.mark.shared
def test_near_groups_of_blood_have_high_precision_and_recall(
    tmp_path: Path, shared_dir: Path
) -> None:
    root = shared_dir / "data" / "dataset2-master" / "dataset2-master" / "images"
    table = pd.read_csv(SOURCES)
    originals = table["original"].drop_duplicates().sample(20, random_state=0)
    some = table[table["original"].isin(originals)].groupby("original").head(12)
    found = find_near_groups(root, sorted(some["image"]), tmp_path, None)
    # photographs of one field are near-duplicates themselves, if their overlap is large enough
    precise, _ = precision_and_recall(found, dict(zip(some["image"], some["field"], strict=True)))
    _, complete = precision_and_recall(
        found, dict(zip(some["image"], some["original"], strict=True))
    )
    assert min(precise, complete) >= 0.95
