"""Damaged and cut-off files: each is refused wherever it is decoded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL import ImageFile

from study.data.decode import decode
from study.data.decode import describe_form
from study.data.intact import BadImage
from tests.support.image_files import to_bytes
from tests.support.image_files import to_tiff
from tests.support.images import draw_scene

SCENE = draw_scene(0, 200, 150)
FORMS: dict[str, tuple[str, dict[str, object]]] = {
    "baseline": (".jpg", {}),
    "progressive": (".jpg", {"progressive": True}),
    "restarts": (".jpg", {"restart_marker_blocks": 7}),
    "png": (".png", {}),
    "gif": (".gif", {}),
    "bmp": (".bmp", {}),
    "tiff": (".tif", {}),
    "tiff, lzw": (".tif", {"compression": "tiff_lzw"}),
    "tiff, jpeg": (".tif", {"compression": "jpeg"}),
    "webp": (".webp", {}),
}
WHOLE = {name: to_bytes(SCENE, suffix, **options) for name, (suffix, options) in FORMS.items()}
JPEGS = [name for name in WHOLE if "jp" in FORMS[name][0] or "jpeg" in name]


@pytest.fixture(params=[False, True], ids=["strict", "others-allow-truncated"])
def allow_truncated(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's switch for truncated files, as another library may have set it."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", request.param)


@pytest.mark.usefixtures("allow_truncated")
@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_cut_off_file_is_refused(name: str, share: float) -> None:
    content = WHOLE[name]
    with pytest.raises(BadImage):
        decode(content[: int(share * len(content))], 32)


@pytest.mark.parametrize("name", WHOLE)
def test_whole_file_is_plain(name: str) -> None:
    assert decode(WHOLE[name], 32).std() > 10
    assert describe_form(WHOLE[name]) == ""


@pytest.mark.usefixtures("allow_truncated")
@pytest.mark.parametrize(
    ("name", "end"), [("baseline", 2), ("progressive", 2), ("restarts", 2), ("png", 12)]
)
def test_file_without_its_end_marker_is_refused(name: str, end: int) -> None:
    with pytest.raises(BadImage, match="truncated or damaged"):
        decode(WHOLE[name][:-end], 32)


@pytest.mark.parametrize("name", JPEGS)
def test_jpeg_with_a_destroyed_middle_is_refused(name: str) -> None:
    content = bytearray(WHOLE[name])
    middle = len(content) // 2
    content[middle : middle + 300] = bytes(300)
    with pytest.raises(BadImage, match="damaged"):
        decode(bytes(content), 32)
    assert "damaged" in describe_form(bytes(content))


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_png_with_any_changed_byte_is_refused_or_keeps_its_pixels(place: int, by: int) -> None:
    content = bytearray(WHOLE["png"])
    content[place % len(content)] ^= by
    try:
        pixels = decode(bytes(content), 16)
    except BadImage:
        return
    assert np.array_equal(pixels, decode(WHOLE["png"], 16))


def test_bytes_after_the_end_do_no_harm() -> None:
    for name in ("baseline", "png"):
        assert np.array_equal(decode(WHOLE[name] + b"more", 32), decode(WHOLE[name], 32))


def test_tiff_with_a_page_that_cannot_be_read_is_refused() -> None:
    content = to_tiff(np.full((16, 16), 90, np.uint8), np.full((20, 20), 10, np.uint8))
    for broken in (content[:-1], content[:-500]):
        with pytest.raises(BadImage):
            decode(broken, 8)


@pytest.fixture
def a_small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.data.decode.MAX_PIXELS", 200 * 150 - 1)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # as another library may have set it


@pytest.mark.usefixtures("a_small_limit")
@pytest.mark.parametrize("name", WHOLE)
def test_absurdly_large_image_is_refused(name: str) -> None:
    with pytest.raises(BadImage, match="more than 29999 pixels"):
        decode(WHOLE[name], 32)
