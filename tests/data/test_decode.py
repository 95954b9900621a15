"""Odd and broken files, through the public door."""

import io
import os
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from PIL import Image

from study.common.errors import DataError
from study.data.decode import decode
from study.data.decode import describe_form
from study.data.intact import BadImage
from study.data.prepare import Data
from study.data.prepare import prepare
from study.data.split import make_split
from tests.support.image_files import draw_noise
from tests.support.image_files import to_16_bit_png
from tests.support.image_files import to_bytes
from tests.support.image_files import to_tiff
from tests.support.images import class_folders
from tests.support.images import write_plain_image


def prepared(root: Path, size: int = 8) -> Data:
    return prepare(f"folder:{root}", size, use_cache=False)


def decode_first_pixel(
    root: Path, image: Image.Image, suffix: str = ".png", **options: object
) -> list[int]:
    """The first pixel of an image after a trip through a file and `prepare`."""
    write_plain_image(root / "b" / "x.png")
    (root / "a").mkdir()
    image.save(root / "a" / f"odd{suffix}", **options)  # type: ignore[arg-type]
    data = prepared(root)
    assert data.skipped == ()
    return [int(v) for v in data.x[0, 0, 0]]


def solid(mode: str, color: object) -> Image.Image:
    return Image.new(mode, (16, 16), color)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mode", "color", "suffix", "expected"),
    [
        ("RGB", (10, 20, 30), ".png", [10, 20, 30]),
        ("L", 77, ".png", [77, 77, 77]),
        ("1", 1, ".png", [255, 255, 255]),
        ("LA", (200, 255), ".png", [200, 200, 200]),
        ("LA", (200, 0), ".png", [200, 200, 200]),
        ("LA", (200, 0), ".tif", [200, 200, 200]),
        ("RGBA", (250, 100, 50, 255), ".png", [250, 100, 50]),
        ("RGBA", (250, 100, 50, 0), ".png", [250, 100, 50]),
        ("RGBA", (250, 100, 50, 0), ".tif", [250, 100, 50]),
        ("RGBA", (250, 100, 50, 51), ".webp", [250, 100, 50]),
        ("PA", (1, 0), ".tif", [1, 1, 1]),
        ("CMYK", (0, 255, 255, 0), ".tif", [255, 0, 0]),
        ("CMYK", (0, 255, 255, 0), ".jpg", [255, 0, 0]),
        ("YCbCr", (128, 128, 128), ".tif", [128, 128, 128]),
        ("YCbCr", (128, 128, 128), ".jpg", [128, 128, 128]),
        ("LAB", (255, 128, 128), ".tiff", [255, 255, 255]),
    ],
)
def test_image_of_any_mode_decodes_to_its_rgb_color(
    tmp_path: Path, mode: str, color: object, suffix: str, expected: list[int]
) -> None:
    assert decode_first_pixel(tmp_path, solid(mode, color), suffix) == pytest.approx(
        expected, abs=2
    )


def test_transparent_palette_image_has_the_colors_of_an_opaque_one(tmp_path: Path) -> None:
    image = solid("RGB", (200, 10, 10)).quantize(4)
    index = image.getpixel((0, 0))
    assert decode_first_pixel(tmp_path / "opaque", image) == pytest.approx([200, 10, 10], abs=2)
    clear = decode_first_pixel(tmp_path / "clear", image, transparency=index)
    assert clear == pytest.approx([200, 10, 10], abs=2)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".mpo"])
def test_animation_decodes_to_its_first_frame(suffix: str) -> None:
    frames = [solid("RGB", (250, 0, 0)), solid("RGB", (0, 250, 0))]
    single = to_bytes(frames[0], ".jpg" if suffix == ".mpo" else suffix)
    animation = to_bytes(frames[0], suffix, save_all=True, append_images=frames[1:])
    assert np.array_equal(decode(animation, 8), decode(single, 8))
    assert describe_form(animation) == "only the first frame is used"
    assert describe_form(single) == ""


@pytest.mark.parametrize(
    ("sizes", "taken", "form"),
    [
        ([16], 0, ""),
        ([8, 16, 12], 1, "only the largest page is used"),
        ([8, 16, 16], 1, "only the first of the equally large pages is used"),
    ],
)
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_largest_page_of_a_tiff_counts(
    sizes: list[int], taken: int, form: str, compression: str
) -> None:
    pages = [Image.new("L", (side, side), 50 * page) for page, side in enumerate(sizes)]
    options: dict[str, object] = {"save_all": True, "append_images": pages[1:]}
    content = to_bytes(pages[0], ".tif", compression=compression, **options)
    assert decode(content, 8)[0, 0].tolist() == [50 * taken] * 3
    assert describe_form(content) == form


def test_mask_of_a_tiff_page_is_no_picture() -> None:
    mask = np.full((20, 20), 255, np.uint8)
    content = to_tiff(mask, np.full((16, 16), 90, np.uint8), tags={254: 4})
    assert decode(content, 8)[0, 0].tolist() == [90] * 3


def to_16_bit_jpeg2000(values: npt.NDArray[np.uint16]) -> bytes:
    lossless = (cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000)
    return cv2.imencode(".jp2", values, lossless)[1].tobytes()


def to_16_bit_ppm(values: npt.NDArray[np.uint16], is_text: bool = False) -> bytes:
    height, width = values.shape[:2]
    header = f"P{3 if is_text else 6}\n{width} {height}\n65535\n".encode()
    text = " ".join(map(str, values.flatten().tolist())).encode()
    return header + (text if is_text else values.astype(">u2").tobytes())


@pytest.mark.parametrize(
    ("channels", "encode"),
    [
        (2, to_16_bit_png),
        (3, to_16_bit_png),
        (4, to_16_bit_png),
        (3, to_16_bit_jpeg2000),
        (4, to_16_bit_jpeg2000),
        (3, to_16_bit_ppm),
        (3, partial(to_16_bit_ppm, is_text=True)),
    ],
)
def test_16_bit_colors_are_read_if_all_bits_are_used_and_refused_if_not(
    channels: int, encode: Callable[[npt.NDArray[np.uint16]], bytes]
) -> None:
    bright = encode(np.full((64, 64, channels), 200 * 257, np.uint16))
    assert decode(bright, 4)[0, 0].tolist() == pytest.approx([200] * 3, abs=1)
    twelve_bits = encode(np.full((64, 64, channels), 4095, np.uint16))
    with pytest.raises(BadImage, match="save 8 bits"):
        decode(twelve_bits, 4)
    assert "save 8 bits" in describe_form(twelve_bits)


@pytest.mark.parametrize("suffix", [".jp2", ".ppm"])
def test_dark_8_bit_colors_of_other_formats_are_plain(suffix: str) -> None:
    content = to_bytes(solid("RGB", (9, 8, 7)), suffix)
    assert decode(content, 4)[0, 0].tolist() == [9, 8, 7]
    assert describe_form(content) == ""


@given(st.sampled_from(("LA", "RGBA")), st.sampled_from((".png", ".tif")), st.integers(0, 255))
def test_any_transparency_leaves_the_stored_colors(mode: str, suffix: str, alpha: int) -> None:
    image = draw_noise(mode, 0)
    image.putalpha(alpha)
    content = to_bytes(image, suffix)
    opaque = to_bytes(image.convert(mode.removesuffix("A")), suffix)
    assert np.array_equal(decode(content, 8), decode(opaque, 8))
    assert describe_form(content) == ("" if alpha == 255 else "transparency is ignored")


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    half = solid("RGB", (0, 0, 0))
    half.paste((255, 255, 255), (0, 8, 16, 16))  # white bottom
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    assert decode_first_pixel(tmp_path, half, ".jpg", exif=exif)[0] > 240


def test_broken_exif_block_is_ignored(tmp_path: Path) -> None:
    exif = b"Exif\x00\x00II*\x00\xff\xff\xff\xff"
    assert decode_first_pixel(tmp_path, solid("L", 90), ".jpg", exif=exif) == pytest.approx(
        [90] * 3, abs=2
    )


def test_large_jpeg_shrinks_without_aliasing(tmp_path: Path) -> None:
    stripes = np.zeros((1500, 2000), np.uint8)
    stripes[:, ::2] = 255
    write_plain_image(tmp_path / "b" / "x.png")
    (tmp_path / "a").mkdir()
    Image.fromarray(stripes).save(tmp_path / "a" / "stripes.jpg", quality=95)
    pixels = prepared(tmp_path, 64).x[0].astype(int)
    assert pixels.mean() == pytest.approx(127, abs=3)
    assert pixels.std() < 4


def test_image_names_and_extensions_of_all_kinds_are_found(tmp_path: Path) -> None:
    names = ["mit Leer zeichen.JPG", "Zürich 東京 😀.PnG", "a.jpeg", "b.BMP", "c.gif", "d.tif"]
    names += ["e.TIFF", "f.webp", "two.dots.png", "it's.png"]
    for number, name in enumerate(names):
        write_plain_image(tmp_path / "klasse äöü" / name, (number, 0, 0))
    write_plain_image(tmp_path / "other one" / "x.png")
    for junk in ("notes.txt", "Thumbs.db", "._a.jpeg", ".hidden.png"):
        (tmp_path / "other one" / junk).write_text("junk")
    data = prepared(tmp_path)
    assert data.classes == ("klasse äöü", "other one")
    assert set(data.images) == {f"klasse äöü/{name}" for name in names} | {"other one/x.png"}
    assert data.skipped == ()


def test_image_name_that_is_not_unicode_is_kept(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 1, "b": 1})
    name = os.fsdecode(b"caf\xe9.png")
    try:
        write_plain_image(tmp_path / "a" / name)
    except OSError:
        pytest.skip("this file system has Unicode names only")
    for use_cache in (False, True):
        assert f"a/{name}" in prepare(f"folder:{tmp_path}", 8, use_cache=use_cache).images


def encoded(kind: str) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


WHOLE = {kind: encoded(kind) for kind in ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")}


@settings(max_examples=300)
@given(
    st.sampled_from(sorted(WHOLE)),
    st.floats(0.01, 1),
    st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=6),
)
def test_damaged_bytes_decode_or_give_a_reason(
    kind: str, kept: float, changes: list[tuple[float, int]]
) -> None:
    content = bytearray(WHOLE[kind][: int(kept * len(WHOLE[kind]))])
    for place, value in changes:
        if content:
            content[int(place**3 * len(content))] = value  # headers more often than the rest
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            outcome: object = decode(bytes(content), 8).shape
        except BadImage as error:
            outcome = str(error)
    assert outcome == (8, 8, 3) or (isinstance(outcome, str) and re.search("[a-z]", outcome))


def make_png_of_claimed_size(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def break_files(folder: Path) -> dict[str, str]:
    """Writes broken files; returns a part of the expected reason by name."""
    whole = write_plain_image(folder / "whole.jpg", size=200).read_bytes()
    (folder / "whole.jpg").unlink()
    tiff = write_plain_image(folder / "whole.tif", size=200).read_bytes()
    (folder / "whole.tif").unlink()
    (folder / "cut.jpg").write_bytes(whole[:-150])
    (folder / "cut.tif").write_bytes(tiff[: len(tiff) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("this is no image")
    (folder / "zip.jpeg").write_bytes(b"PK\x03\x04" + bytes(100))
    (folder / "script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (folder / "bomb.png").write_bytes(make_png_of_claimed_size(60_000, 60_000))
    (folder / "small bomb.png").write_bytes(make_png_of_claimed_size(10_000, 9_500))
    (folder / "nowhere.png").symlink_to(folder / "missing.png")
    (folder / "itself.png").symlink_to(folder / "itself.png")
    nan = np.full((9, 9), np.nan, np.float32)
    Image.fromarray(nan).save(folder / "nan.tif")
    return {
        "cut.jpg": "truncated",
        "cut.tif": "",
        "empty.png": "empty file",
        "text.png": "not an image that can be read",
        "zip.jpeg": "not an image that can be read",
        "script.png": "not an image that can be read",
        "bomb.png": "pixels",
        "small bomb.png": "pixels",
        "nowhere.png": "cannot be read",
        "itself.png": "cannot be read",
        "nan.tif": "finite",
    }


@pytest.mark.parametrize("use_cache", [True, False])
def test_broken_files_are_skipped_with_a_reason(tmp_path: Path, use_cache: bool) -> None:
    root = class_folders(tmp_path, {"a": 20, "b": 20})
    reasons = break_files(root / "a")
    data = prepare(f"folder:{root}", 8, use_cache=use_cache)
    skipped = dict(data.skipped)
    assert set(skipped) == {f"a/{name}" for name in reasons}
    for name, reason in reasons.items():
        assert skipped[f"a/{name}"]
        assert reason in skipped[f"a/{name}"]
        assert "\n" not in skipped[f"a/{name}"]
    assert len(data.images) == len(data.x) == len(data.y) == len(data.folders) == 40
    split = make_split(data, "pooled", 0)
    assert len(split.train) + len(split.val) + len(split.test) == 40
    again = prepare(f"folder:{root}", 8, use_cache=use_cache)
    assert (again.skipped, again.digest) == (data.skipped, data.digest)


def test_class_without_a_usable_image_is_an_error(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 3})
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.png").write_bytes(b"")
    (tmp_path / "a" / "000.png").write_text("this is no image")
    with pytest.raises(DataError, match=r"'b' .*no usable image, first 'b/x.png': empty file"):
        prepared(tmp_path)
    for image in (tmp_path / "a").iterdir():
        image.write_bytes(b"")
    for use_cache in (False, True):
        with pytest.raises(DataError, match=r"none of 4 images is usable.*'a/000.png'.*empty"):
            prepare(f"folder:{tmp_path}", 8, use_cache=use_cache)
