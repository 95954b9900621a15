"""The record of each image file: the same answer as training's, whatever the bytes."""

import json
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from PIL import Image

from study.common.errors import DataError
from study.data.audit import scan as scan_module
from study.data.audit.scan import FILE
from study.data.audit.scan import ImageRecord
from study.data.audit.scan import scan_images
from study.data.decode import decode
from study.data.digest import hash_files
from study.data.intact import BadImage
from study.data.prepare import prepare
from study.data.registry import get_dataset
from tests.data.test_decode import break_files
from tests.data.test_decode import make_png_of_claimed_size
from tests.data.test_decode import WHOLE
from tests.support.images import class_folders
from tests.support.images import write_noise_image
from tests.support.images import write_plain_image


def scan_folder(root: Path, folder: Path) -> list[ImageRecord]:
    listing = get_dataset(f"folder:{root}").find()
    return scan_images(listing, hash_files(listing, None, remember=False), folder, None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "set", {"a": 4, "b": 3})


def test_scan_makes_one_record_per_file(tmp_path: Path, root: Path) -> None:
    Image.new("L", (30, 20), 7).save(root / "a" / "grey.jpg")
    records = {record.image: record for record in scan_folder(root, tmp_path / "work")}
    assert len(records) == 8
    grey = records["a/grey.jpg"]
    assert (grey.format, grey.mode, grey.width, grey.height, grey.reason) == (
        *("JPEG", "L", 30, 20),
        "",
    )
    assert grey.size == (root / "a" / "grey.jpg").stat().st_size
    assert len({record.pixels for record in records.values()}) == 8


def test_pixel_hash_follows_what_training_sees_in_full_size(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (10, 20, 3), np.uint8)
    (tmp_path / "set" / "a").mkdir(parents=True)
    write_noise_image(tmp_path / "set" / "b" / "x.png", 1)
    folder = tmp_path / "set" / "a"
    Image.fromarray(pixels).save(folder / "0.png")
    Image.fromarray(pixels).save(folder / "1.bmp")
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(np.rot90(pixels)).save(folder / "2.png", exif=turned)
    Image.fromarray(pixels.reshape(20, 10, 3)).save(folder / "3.png")
    first, same, right_way_up, reshaped, _ = scan_folder(tmp_path / "set", tmp_path / "work")
    assert first.pixels == same.pixels == right_way_up.pixels
    assert (right_way_up.width, right_way_up.height) == (20, 10)
    assert reshaped.pixels != first.pixels


def test_16_bit_images_of_different_brightness_are_not_identical(tmp_path: Path) -> None:
    for number, value in enumerate((1000, 30_000)):
        write_plain_image(tmp_path / "set" / "ab"[number] / "x.png")
        wide = np.full((8, 8), value, np.uint16)
        Image.fromarray(wide).save(tmp_path / "set" / "ab"[number] / "wide.png")
    records = {record.image: record for record in scan_folder(tmp_path / "set", tmp_path / "work")}
    assert records["a/wide.png"].pixels != records["b/wide.png"].pixels
    assert records["a/wide.png"].mode == "I;16"


def test_scan_skips_the_files_that_training_skips(tmp_path: Path, root: Path) -> None:
    break_files(root / "a")
    skipped = {r.image: r.reason for r in scan_folder(root, tmp_path / "work") if r.reason}
    assert skipped == dict(prepare(f"folder:{root}", 8, use_cache=False).skipped)
    assert len(skipped) == 11


@settings(max_examples=120)
@given(
    st.sampled_from(sorted(WHOLE)),
    st.floats(0.01, 1),
    st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=6),
    st.sampled_from([".png", ".jpg", ".tif", ".GIF"]),
)
def test_scan_of_damaged_bytes_agrees_with_training(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    kept: float,
    changes: list[tuple[float, int]],
    suffix: str,
) -> None:
    content = bytearray(WHOLE[kind][: int(kept * len(WHOLE[kind]))])
    for place, value in changes:
        if content:
            content[int(place**3 * len(content))] = value  # headers more often than the rest
    folder = tmp_path_factory.mktemp("fuzz")
    write_plain_image(folder / "set" / "b" / "whole.png", size=4)
    (folder / "set" / "a").mkdir()
    (folder / "set" / "a" / f"odd{suffix}").write_bytes(content)
    odd, whole = scan_folder(folder / "set", folder / "work")
    assert (odd.image, whole.reason) == (f"a/odd{suffix}", "")
    assert odd.reason == reason(bytes(content))
    assert bool(odd.pixels) == (not odd.reason)


def reason(content: bytes) -> str:
    """Why training leaves a file of these bytes out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            decode(content, 8)
        except BadImage as error:
            return str(error)
    return ""


def test_decompression_bomb_is_refused_by_its_header(tmp_path: Path, root: Path) -> None:
    (root / "a" / "bomb.png").write_bytes(make_png_of_claimed_size(60_000, 60_000))
    broken = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, 90_000, 90_000, *[0] * 8)
    (root / "a" / "bomb.bmp").write_bytes(broken)
    records = {record.image: record for record in scan_folder(root, tmp_path / "work")}
    assert "pixels" in records["a/bomb.png"].reason
    assert records["a/bomb.bmp"].reason


# --- resuming -----------------------------------------------------------------------------------


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the contents that are decoded, in order."""
    seen: list[int] = []
    original = scan_module.load_rgb_image

    def counted(content: bytes) -> Image.Image:
        seen.append(len(content))
        return original(content)

    monkeypatch.setattr(scan_module, "load_rgb_image", counted)
    return seen


def test_file_with_a_record_is_not_decoded_again(
    tmp_path: Path, root: Path, decoded: list[int]
) -> None:
    first = scan_folder(root, tmp_path / "work")
    assert len(decoded) == 7
    assert scan_folder(root, tmp_path / "work") == first
    assert len(decoded) == 7


@pytest.mark.parametrize("cut", [1, 30, 400])
def test_record_cut_off_by_a_kill_is_made_again(
    tmp_path: Path, root: Path, decoded: list[int], cut: int
) -> None:
    first = scan_folder(root, tmp_path / "work")
    file = tmp_path / "work" / FILE
    whole = file.read_bytes()
    file.write_bytes(whole[:-cut])
    kept = whole[:-cut].count(b"\n")
    assert scan_folder(root, tmp_path / "work") == first
    assert len(decoded) == 7 + 7 - kept
    assert sorted(file.read_bytes().splitlines()) == sorted(whole.splitlines())


@pytest.mark.parametrize("line", [b"null", b"[1, 2]", b"{}", b"\xff\xfe", b'["a/000.png", '])
def test_line_that_is_no_record_is_ignored(tmp_path: Path, root: Path, line: bytes) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / FILE).write_bytes(line + b"\n")
    records = scan_folder(root, tmp_path / "work")
    assert [record.reason for record in records] == [""] * 7


def test_interrupted_scan_keeps_the_records_made_so_far(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "set", {"a": 200, "b": 200})
    listing = get_dataset(f"folder:{root}").find()
    hashes = hash_files(listing, None, remember=False)
    seen: list[tuple[int, int]] = []

    def stop(_: str, done: int, total: int) -> None:
        seen.append((done, total))
        if done >= 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan_images(listing, hashes, tmp_path / "work", stop)
    lines = (tmp_path / "work" / FILE).read_bytes().splitlines()
    assert 200 <= len(lines) < 400
    assert all(len(json.loads(line)) == len(ImageRecord._fields) for line in lines)
    seen.clear()
    records = scan_images(listing, hashes, tmp_path / "work", lambda _, *at: seen.append(at))
    assert len(records) == 400
    assert seen[0] == (0, 400 - len(lines))


def test_file_changed_during_the_scan_is_an_error(tmp_path: Path, root: Path) -> None:
    listing = get_dataset(f"folder:{root}").find()
    hashes = hash_files(listing, None, remember=False)
    write_noise_image(root / "a" / "000.png", 77)
    with pytest.raises(DataError, match="changed while it was read"):
        scan_images(listing, hashes, tmp_path / "work", None)
