"""Grey values of more than 8 bits, or with a sign, through the public door."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume
from hypothesis import given
from hypothesis import strategies as st

from study.data.decode import decode
from study.data.decode import describe_form
from study.data.intact import BadImage
from tests.support.image_files import to_16_bit_png
from tests.support.image_files import to_tiff

Grey = npt.NDArray[np.generic]


def ramp(low: float, high: float, kind: str) -> Grey:
    """Values from `low` to `high`, 16 by 16."""
    return np.linspace(low, high, 256).reshape(16, 16).astype(kind)


def decode_grey(content: bytes) -> npt.NDArray[np.int64]:
    """Decode to one value per pixel, after checking that the channels are equal."""
    pixels = decode(content, 16).astype(np.int64)
    assert (pixels == pixels[:, :, :1]).all()
    return pixels[:, :, 0]


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        (ramp(0, 200, "u2"), 0, 255),
        (ramp(0, 700, "u2"), 0, 1023),
        (ramp(30, 4095, "u2"), 0, 4095),
        (ramp(0, 9000, "u2"), 0, 16383),
        (ramp(0, 65535, "u2"), 0, 65535),
        (ramp(0, 4000, "u4"), 0, 4095),
        (ramp(0, 1_000_000, "u4"), 0, 1_000_000),
        (ramp(0, 0.4, "f4"), 0, 1),
        (ramp(0, 1.0001, "f4"), 0, 1),
        (ramp(0, 16, "f4"), 0, 255),
        (ramp(0, 100, "f4"), 0, 255),
        (ramp(-1024, 2000, "i2"), -1024, 3071),
        (ramp(-1000, 1500, "f4"), -1024, 3071),
        (ramp(-2000, 2000, "i2"), -2000, 2000),
        (ramp(-544, 1496, "i2"), -544, 1496),  # no air: nothing tells a CT from other images
        (ramp(-3, 5, "f4"), -3, 5),
        (ramp(-100, 100, "i1"), -100, 100),
    ],
)
def test_grey_values_are_scaled_from_the_smallest_usual_range(
    values: Grey, low: float, high: float
) -> None:
    wanted = (values.astype(float) - low) / (high - low) * 255
    content = to_tiff(values)
    assert np.abs(decode_grey(content) - wanted).max() <= 1
    assert "scaled to 0..255" in describe_form(content)


@pytest.mark.parametrize("highest", [1.01, 1.154, 15.9])
def test_floats_that_end_little_above_1_are_refused(highest: float) -> None:
    content = to_tiff(ramp(0, highest, "f4"))
    with pytest.raises(BadImage, match=rf"up to {highest}, .*: clip or scale them to 0\.\.1"):
        decode(content, 16)
    assert f"up to {highest}" in describe_form(content)


def test_range_is_named_with_its_ends() -> None:
    assert describe_form(to_tiff(ramp(0, 900, "u2"))) == (
        "grey values of 0..1023 are scaled to 0..255"
    )
    assert "-1024..3071 (CT)" in describe_form(to_tiff(ramp(-1024, 0, "i2")))
    assert "the image's own range" in describe_form(to_tiff(ramp(-5, 5, "i2")))


@pytest.mark.parametrize(("kind", "end"), [("u1", 255), ("u2", 4095), ("u2", 65535)])
def test_white_is_zero_looks_like_its_inverse(kind: str, end: int) -> None:
    values = ramp(0, end, kind)
    inverted = (end - values.astype(int)).astype(kind)
    content = to_tiff(inverted, tags={262: 0})
    assert np.abs(decode_grey(content) - decode_grey(to_tiff(values))).max() <= 1


@pytest.mark.parametrize(
    ("highest", "significant_bits", "end"),
    [(700, None, 1023), (700, 12, 4095), (60_000, 12, 65535), (200, 10, 1023)],
)
def test_bits_that_a_png_states_are_its_range(
    highest: int, significant_bits: int | None, end: int
) -> None:
    values = ramp(0, highest, "u2")
    pixels = decode_grey(to_16_bit_png(values, significant_bits))  # type: ignore[arg-type]
    assert np.abs(pixels - values.astype(float) / end * 255).max() <= 1


def test_12_bits_per_value_are_a_stated_range() -> None:
    samples = [100, 200] * 8  # two values take three bytes
    packed = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in [(100, 200)] * 8)
    row = np.frombuffer(packed, np.uint8)
    content = to_tiff(np.tile(row, (16, 1)), tags={256: 16, 258: 12})
    wanted = np.array(samples) / 4095 * 255
    assert np.abs(decode_grey(content)[0] - wanted).max() <= 1


@given(st.integers(0, 65535), st.integers(0, 65535), st.sampled_from(("u2", "i2", "u4", "f4")))
def test_darker_values_never_become_brighter(one: int, other: int, kind: str) -> None:
    assume(kind != "f4" or not 1 < max(one, other) < 16)  # refused
    shift = 32768 if kind == "i2" else 0
    values = np.array([[one - shift, other - shift]] * 2).astype(kind)
    pixels = decode(to_tiff(values), 2)[0, :, 0].astype(int)
    assert (pixels[1] - pixels[0]) * (other - one) >= 0
