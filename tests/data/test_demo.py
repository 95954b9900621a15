import hashlib
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from study.common.cache import cache_dir
from study.common.errors import DataError
from study.data.demo import VERSION
from study.data.prepare import compute_data_digest
from study.data.prepare import prepare
from study.data.split import count_leaking_images
from study.data.split import make_split
from tests.support.data_tasks import demo_arrays
from tests.support.data_tasks import run_in_processes


def test_demo_is_four_synthetic_classes_of_copies_of_originals() -> None:
    data = prepare("demo", 64)
    assert data.source == "synthetic"
    assert data.classes == ("eosinophil", "lymphocyte", "monocyte", "neutrophil")
    assert data.x.shape == (624, 64, 64, 3)
    assert Counter(data.y.tolist()) == dict.fromkeys(range(4), 156)
    assert data.groups is not None
    assert Counter(Counter(data.groups).values()) == {52: 12}
    assert data.skipped == ()
    assert set(data.folders) == {""}


def test_demo_is_real_png_files() -> None:
    data = prepare("demo", 64)
    files = sorted((cache_dir() / "demo").rglob("*.png"))
    assert len(files) == len(data.images)
    assert data.images[0] == "eosinophil/original00_copy00.png"
    with Image.open(files[0]) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), data.x[0])


def test_demo_images_are_all_different_and_not_blank() -> None:
    data = prepare("demo", 64)
    assert len({pixels.tobytes() for pixels in data.x}) == len(data.x)
    assert data.x.reshape(len(data.x), -1).std(axis=1).min() > 10


def test_demo_copies_of_one_original_are_more_alike_than_originals() -> None:
    data = prepare("demo", 64)
    assert data.groups is not None
    colors = data.x.reshape(len(data.x), -1, 3).mean(axis=1)
    groups, row_group = np.unique(np.array(data.groups), return_inverse=True)
    means = np.array([colors[row_group == g].mean(axis=0) for g in range(len(groups))])
    within = np.linalg.norm(colors - means[row_group], axis=1).mean()
    between = np.linalg.norm(means - means.mean(axis=0), axis=1).mean()
    assert between > 1.5 * within


def test_demo_leaks_in_the_pooled_split_and_not_in_the_grouped() -> None:
    data = prepare("demo", 64)
    pooled = make_split(data, "pooled", 0)
    assert [len(pooled.train), len(pooled.val), len(pooled.test)] == [400, 100, 124]
    assert (count_leaking_images(data, pooled) or 0) > 110
    grouped = make_split(data, "grouped", 0)
    assert count_leaking_images(data, grouped) == 0
    assert {len(set(data.y[part])) for part in (grouped.train, grouped.val, grouped.test)} == {4}
    with pytest.raises(DataError, match=r"demo has no official.*pooled split or the grouped"):
        make_split(data, "official", 0)


def test_eight_processes_with_an_empty_cache_read_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = prepare("demo", 32)
    content = hashlib.sha256(alone.x.tobytes() + alone.y.tobytes()).hexdigest()
    (tmp_path / "demo" / f"v{VERSION}.tmp" / "left by a killed process").mkdir(parents=True)
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))
    assert set(run_in_processes(demo_arrays, 8)) == {(alone.digest, content, alone.x.shape)}
    (decoded,) = (tmp_path / "images").glob("*.u8")
    assert decoded.read_bytes() == alone.x.tobytes()
    assert len(list((tmp_path / "images").iterdir())) == 2  # and what tells of it
    assert [path.name for path in (tmp_path / "demo").iterdir()] == [f"v{VERSION}"]


def test_demo_without_a_writable_cache_names_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="STUDY_CACHE"):
        prepare("demo", 64, use_cache=False)


def test_demo_with_a_lost_file_is_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = compute_data_digest("demo")
    shutil.copytree(cache_dir() / "demo", tmp_path / "demo")
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))
    next((tmp_path / "demo" / f"v{VERSION}" / "monocyte").iterdir()).unlink()
    assert compute_data_digest("demo") == digest
