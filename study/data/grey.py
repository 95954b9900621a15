"""Scale grey values that have more than 8 bits, or a sign, to 0..255.

Each image's range is found from that image alone, so it is scaled alike wherever it is decoded.
"""

import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from .intact import BadImage
from .intact import RefusedImage

BITS_PER_SAMPLE = 258  # TIFF tags
PHOTOMETRIC = 262
SAMPLE_FORMAT = 339
WHITE_IS_ZERO = 0  # a value of PHOTOMETRIC
SIGNED = 2  # a value of SAMPLE_FORMAT

DEPTHS = (8, 10, 12, 14, 16)  # bits, as scanners store them
# Hounsfield units in the 12 bits of a CT, which is recognized by the air around the patient
CT_MIN = -1024
CT_MAX = 3071
CT_DENSEST_AIR = -900
# Floats of 0..1 may exceed it by rounding, which becomes 255 like 1. Of others that end below 16,
# nobody can tell what is white: of 255 grey levels they would have a few of the darkest.
MAX_ROUNDED_ONE = 1.001
LEAST_PLAIN_FLOAT = 16

PNG_SIGNIFICANT_BITS = re.compile(rb"\x00\x00\x00\x01sBIT(.)", re.DOTALL)


class GreyRange(NamedTuple):
    """The grey values that become 0 and 255."""

    low: float
    high: float
    name: str


class ScaledGrey(NamedTuple):
    """Grey values scaled to 8 bits."""

    values: npt.NDArray[np.uint8]  # (height, width)
    description: str  # what was scaled to 0..255, in words


def is_deep_grey(image: Image.Image) -> bool:
    """Return whether an image has grey values that do not fit into 0..255."""
    return image.mode.startswith(("I", "F")) or _is_signed_byte(image)


def scale_grey(image: Image.Image, content: bytes) -> ScaledGrey:
    """Scale an image's grey values to 0..255.

    Args:
        image: a loaded image, of which `is_deep_grey` is true.
        content: the bytes of its file.

    Raises:
        BadImage: a value is no finite number.
        RefusedImage: they are floats of no usual range.
    """
    values = np.asarray(image)
    if _is_signed_byte(image):
        values = values.view(np.int8)
    grey = values.astype(np.float64)
    if not np.isfinite(grey).all():
        raise BadImage("values that are not finite numbers")
    bits = _read_stored_bits(image, content)
    low, high, name = _find_range(float(grey.min()), float(grey.max()), bits, image.mode)
    description = f"grey values of {name} are scaled to 0..255"
    scaled = (grey - low) * (255.0 / max(high - low, 1e-12))
    # Pillow inverts such an image itself if it has 8 bits or fewer
    if _read_tag(image, PHOTOMETRIC) == WHITE_IS_ZERO:
        scaled = 255.0 - scaled
        description += " and inverted"
    return ScaledGrey(np.rint(scaled).astype(np.uint8), description)


def _find_range(lowest: float, highest: float, bits: int | None, mode: str) -> GreyRange:
    """Find the range to scale from.

    Args:
        lowest: the image's lowest value.
        highest: the image's highest value.
        bits: that the file says are stored, or None if it does not say.
        mode: Pillow's mode of the image.

    Raises:
        RefusedImage: they are floats that end above 1, but far below 255.
    """
    if CT_MIN <= lowest <= CT_DENSEST_AIR and highest <= CT_MAX:
        return GreyRange(CT_MIN, CT_MAX, f"{CT_MIN}..{CT_MAX} (CT)")
    if lowest < 0:
        return GreyRange(lowest, highest, "the image's own range")
    if mode == "F" and highest <= MAX_ROUNDED_ONE:
        return GreyRange(0, 1, "0..1")
    if mode == "F" and highest < LEAST_PLAIN_FLOAT:
        raise RefusedImage(
            f"floats of up to {highest:.4g}, of neither 0..1 nor 0..255: clip or scale them to 0..1"
        )
    for depth in DEPTHS if bits is None else (bits, *DEPTHS[-1:]):
        end = 2**depth - 1
        if highest <= end:
            return GreyRange(0, end, f"0..{end}")
    return GreyRange(0, highest, "0 to the image's maximum")


def _read_stored_bits(image: Image.Image, content: bytes) -> int | None:
    """Return how many bits of each value are used, or None if the file does not say.

    That a file has 16 bits per value says nothing: most scanners fill 10 to 14 of them.
    """
    if image.format == "PNG":
        found = PNG_SIGNIFICANT_BITS.search(content[: content.find(b"IDAT")])
        return found[1][0] if found else None
    bits = _read_tag(image, BITS_PER_SAMPLE)
    return bits if bits is not None and 8 < bits < 16 else None


def _is_signed_byte(image: Image.Image) -> bool:
    return image.mode == "L" and _read_tag(image, SAMPLE_FORMAT) == SIGNED


def _read_tag(image: Image.Image, tag: int) -> int | None:
    """Return the first value of a TIFF tag, or None if there is none."""
    value = getattr(image, "tag_v2", {}).get(tag)
    return value[0] if isinstance(value, tuple) else value
