import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from study.common.cache import cache_dir
from study.common.cache import clear_cache
from study.common.errors import DataError
from study.data.prepare import compute_data_digest
from study.data.prepare import prepare
from tests.support.data_tasks import prepare_folder
from tests.support.data_tasks import run_in_processes
from tests.support.image_files import to_bytes
from tests.support.images import class_folders
from tests.support.images import write_noise_image


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for every test of this file."""
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "set", {"cat": 4, "dog": 3})


def cache_files(cache: Path, pattern: str = "images/*.u8") -> list[Path]:
    return sorted(cache.glob(pattern))


def test_folder_of_class_folders_gives_images_labels_and_digest(root: Path) -> None:
    data = prepare(f"folder:{root}", 16)
    assert data.dataset == f"folder:{root}"
    assert data.source == str(root)
    assert data.classes == ("cat", "dog")
    assert data.images == (
        *(f"cat/00{i}.png" for i in range(4)),
        *(f"dog/00{i}.png" for i in range(3)),
    )
    assert data.y.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert data.y.dtype == np.int64
    assert data.folders == ("",) * 7
    assert data.groups is None
    assert data.skipped == ()
    assert len(data.digest) == 64


def test_prepared_pixels_are_a_read_only_map_of_resized_images(root: Path) -> None:
    write_noise_image(root / "cat" / "wide.png", 99, width=60, height=30)
    data = prepare(f"folder:{root}", 16)
    assert isinstance(data.x, np.memmap)
    assert data.x.shape == (8, 16, 16, 3)
    assert data.x.dtype == np.uint8
    with pytest.raises(ValueError, match="read-only"):
        data.x[0] = 0
    for image, pixels in zip(data.images, data.x, strict=True):
        with Image.open(root / image) as opened:
            expected = opened.resize((16, 16), Image.Resampling.BILINEAR)
        assert np.array_equal(pixels, np.asarray(expected))


def test_prepare_without_cache_writes_nothing_and_gives_the_same(root: Path, cache: Path) -> None:
    private = prepare(f"folder:{root}", 16, use_cache=False)
    assert not cache.exists()
    assert not isinstance(private.x, np.memmap)
    assert not private.x.flags.writeable
    shared = prepare(f"folder:{root}", 16)
    assert np.array_equal(private.x, shared.x)
    assert private.digest == shared.digest == compute_data_digest(f"folder:{root}")


def test_images_are_decoded_once_per_size(root: Path, cache: Path) -> None:
    seen: list[tuple[str, int, int]] = []

    def progress(what: str, done: int, total: int) -> None:
        seen.append((what, done, total))

    prepare(f"folder:{root}", 16, progress=progress)
    assert seen == [("reading", 7, 7), ("decoding", 7, 7)]
    seen.clear()
    prepare(f"folder:{root}", 16, progress=progress)
    assert "decoding" not in {what for what, _, _ in seen}
    prepare(f"folder:{root}", 20, progress=progress)
    assert len(cache_files(cache)) == 2


def test_unchanged_files_are_not_read_again(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.data.digest.RACY_NS", -1)
    seen: list[str] = []
    digest = compute_data_digest(f"folder:{root}")
    assert len(cache_files(cache, "index/*.json")) == 1
    data = prepare(f"folder:{root}", 16, progress=lambda what, *_: seen.append(what))
    assert data.digest == digest
    assert seen == ["decoding"]
    cache_files(cache, "index/*.json")[0].write_text('{"cat/000.png": 3')
    assert compute_data_digest(f"folder:{root}") == digest


def test_changed_file_changes_the_digest_and_its_pixels(root: Path) -> None:
    before = prepare(f"folder:{root}", 16)
    write_noise_image(root / "cat" / "000.png", 1234)
    after = prepare(f"folder:{root}", 16)
    assert after.digest != before.digest
    assert not np.array_equal(after.x[0], before.x[0])
    assert np.array_equal(after.x[1:], before.x[1:])


def test_changed_file_of_the_same_size_and_date_changes_the_digest(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for name in ("a/0", "a/1", "b/0"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (1, 2, 3)).save(root / f"{name}.bmp")
    before, stat = compute_data_digest(f"folder:{root}"), (root / "a/0.bmp").stat()
    Image.new("RGB", (8, 8), (9, 9, 9)).save(root / "a/0.bmp")
    os.utime(root / "a/0.bmp", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert compute_data_digest(f"folder:{root}") != before


def test_digest_of_plain_images_is_that_of_their_bytes(root: Path) -> None:
    total = hashlib.sha256()
    for image in prepare(f"folder:{root}", 16).images:
        content = hashlib.sha256((root / image).read_bytes()).hexdigest()
        total.update(json.dumps((image, image.split("/")[0], content)).encode() + b"\n")
    assert compute_data_digest(f"folder:{root}") == total.hexdigest()


@pytest.mark.parametrize(
    ("kind", "counts"),
    [("plain", False), ("opaque", False), ("empty", False), ("transparent", True), ("cut", True)],
)
def test_decoding_policy_is_in_the_digest_of_data_sets_with_unusual_images_only(
    root: Path, monkeypatch: pytest.MonkeyPatch, kind: str, counts: bool
) -> None:
    image = Image.new("RGBA", (8, 8), (200, 10, 10, 0 if kind == "transparent" else 255))
    content = to_bytes(image.convert("RGB") if kind == "plain" else image)
    parts = {"empty": b"", "cut": content[:-12]}
    (root / "cat" / "odd.png").write_bytes(parts.get(kind, content))
    before = compute_data_digest(f"folder:{root}")
    monkeypatch.setattr("study.data.digest.POLICY", 99)
    assert (compute_data_digest(f"folder:{root}") != before) == counts


def test_hashes_of_an_older_decoding_policy_are_not_remembered(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.data.digest.RACY_NS", -1)
    compute_data_digest(f"folder:{root}")
    monkeypatch.setattr("study.data.digest.POLICY", 99)
    compute_data_digest(f"folder:{root}")
    assert len(cache_files(cache, "index/*.json")) == 2


def test_unusual_images_are_named_with_and_without_cache(root: Path, cache: Path) -> None:
    Image.new("LA", (8, 8), (90, 0)).save(root / "cat" / "odd.png")
    unusual = (("cat/odd.png", "transparency is ignored"),)
    for use_cache in (False, True, True):
        assert prepare(f"folder:{root}", 16, use_cache=use_cache).unusual == unusual
    assert len(cache_files(cache)) == 1


def test_cached_pixels_of_earlier_versions_are_used(root: Path, cache: Path) -> None:
    first = prepare(f"folder:{root}", 16)
    (sidecar,) = cache_files(cache, "images/*.json")
    content = json.loads(sidecar.read_bytes())
    del content["unusual"]  # which earlier versions did not write
    sidecar.write_text(json.dumps(content))
    seen: list[str] = []
    again = prepare(f"folder:{root}", 16, progress=lambda what, *_: seen.append(what))
    assert "decoding" not in seen
    assert again.unusual == ()
    assert np.array_equal(again.x, first.x)


def test_digest_depends_on_names_classes_and_bytes_not_on_the_path(
    root: Path, tmp_path: Path
) -> None:
    digest = compute_data_digest(f"folder:{root}")
    copy = shutil.copytree(root, tmp_path / "copy")
    assert compute_data_digest(f"folder:{copy}") == digest
    (copy / "cat" / "000.png").rename(copy / "cat" / "renamed.png")
    renamed = compute_data_digest(f"folder:{copy}")
    assert renamed != digest
    (copy / "cat" / "renamed.png").rename(copy / "dog" / "renamed.png")
    assert compute_data_digest(f"folder:{copy}") not in (digest, renamed)


@pytest.mark.parametrize("damage", ["truncated", "sidecar", "no sidecar", "gone"])
def test_damaged_cache_is_rebuilt(root: Path, cache: Path, damage: str) -> None:
    expected = np.array(prepare(f"folder:{root}", 16).x)
    file = cache_files(cache)[0]
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "sidecar":
        file.with_suffix(".json").write_text("{")
    elif damage == "no sidecar":
        file.with_suffix(".json").unlink()
    else:
        file.unlink()
    assert np.array_equal(prepare(f"folder:{root}", 16).x, expected)


def test_leftovers_of_killed_processes_are_removed(root: Path, cache: Path) -> None:
    written: set[Path] = set()  # where images are decoded to
    prepare(f"folder:{root}", 16, progress=lambda *_: written.update(cache.rglob("*.tmp")))
    (leftover,) = written
    (file,) = cache_files(cache)
    expected = file.read_bytes()
    file.unlink()
    old = leftover.with_name("other.tmp")  # of an earlier version, or another machine
    for path in (leftover, old):
        path.write_bytes(b"half written")
    os.utime(old, (1e9, 1e9))
    prepare(f"folder:{root}", 16)
    assert file.read_bytes() == expected
    assert not cache_files(cache, "images/*.tmp")


def test_two_machines_without_a_common_lock_write_whole_files(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = np.array(prepare(f"folder:{root}", 16, use_cache=False).x)
    monkeypatch.setattr("study.data.pixels.cache_lock", lambda _: contextlib.nullcontext())
    seen: list[bytes] = []

    def write_on_another_machine(what: str, *_: int) -> None:
        if what == "decoding" and not seen:
            with monkeypatch.context() as patch:
                patch.setattr("study.data.pixels.gethostname", lambda: "another")
                seen.append(b"")
                seen.append(prepare(f"folder:{root}", 16).x.tobytes())

    assert np.array_equal(
        prepare(f"folder:{root}", 16, progress=write_on_another_machine).x, expected
    )
    assert seen[-1] == expected.tobytes()
    assert not cache_files(cache, "images/*.tmp")


def test_four_processes_at_once_decode_once(tmp_path: Path, cache: Path) -> None:
    root = class_folders(tmp_path / "set", {"a": 150, "b": 150})
    answers = run_in_processes(prepare_folder, 4, str(root))
    assert len({answer[:2] for answer in answers}) == 1
    assert sum(decoded for _, _, decoded in answers) == 1
    assert not cache_files(cache, "**/*.tmp")


def test_interrupted_decoding_leaves_no_file(root: Path, cache: Path) -> None:
    def interrupt(what: str, *_: int) -> None:
        if what == "decoding":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(f"folder:{root}", 16, progress=interrupt)
    assert not cache_files(cache, "images/*")
    assert len(prepare(f"folder:{root}", 16).x) == 7


def test_file_changed_between_hashing_and_decoding_is_an_error(root: Path) -> None:
    def disturb(what: str, *_: int) -> None:
        if what == "reading":
            write_noise_image(root / "cat" / "000.png", 77)

    with pytest.raises(DataError, match="changed while it was read"):
        prepare(f"folder:{root}", 16, progress=disturb)


def test_cache_folder_that_cannot_be_written_names_the_way_on(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match=r"file/cache .*: set STUDY_CACHE to a folder"):
        prepare(f"folder:{root}", 16)
    assert len(prepare(f"folder:{root}", 16, use_cache=False).x) == 7
    assert compute_data_digest(f"folder:{root}")


def test_full_disk_is_found_before_decoding(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(root)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"no space.*STUDY_CACHE.*--no-cache"):
        prepare(f"folder:{root}", 16)


def test_images_without_cache_that_do_not_fit_into_memory_name_the_way_on(root: Path) -> None:
    words = r"7 images of 9999999 x 9999999 pixels take 2099999\.\d GB: use a smaller image_size"
    with pytest.raises(DataError, match=f"out of memory: {words}, or leave out --no-cache"):
        prepare(f"folder:{root}", 9_999_999, use_cache=False)


def test_clear_cache_deletes_its_own_files_alone(root: Path, cache: Path) -> None:
    (cache / "mine").mkdir(parents=True)
    (cache / "mine" / "notes.txt").write_text("not ours")
    prepare(f"folder:{root}", 16)
    assert clear_cache() >= 7 * 16 * 16 * 3
    assert cache_files(cache) == []
    assert (cache / "mine" / "notes.txt").exists()
    assert clear_cache() == 0
    assert len(prepare(f"folder:{root}", 16).x) == 7


def test_cache_dir_is_the_users_unless_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("STUDY_CACHE")
    assert "finetune-study" in str(cache_dir())


@pytest.mark.parametrize("name", ["cats", "folder:", "folder: ", "CHEST", ""])
def test_unknown_data_set_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(DataError, match="blood, demo, or the path of a folder"):
        prepare(name, 16)
