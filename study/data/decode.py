"""Decode the bytes of an image file to RGB pixels."""

import contextlib
import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL import ImageOps
from PIL import UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")


class BadImage(Exception):
    """Bytes that are not a usable image, with a short reason as the message."""


def decode(content: bytes, size: int) -> npt.NDArray[np.uint8]:
    """Return the image as uint8 RGB of shape (size, size, 3).

    The image is stretched to a square, as in the reports.

    Raises:
        BadImage: the bytes are empty, broken, not an image, or an absurdly large image.
    """
    # PIL widens the filter when it shrinks an image, so there is no aliasing
    return np.asarray(load_rgb_image(content, size).resize((size, size), Image.Resampling.BILINEAR))


def load_rgb_image(content: bytes, least: int | None = None) -> Image.Image:
    """Return the whole image in RGB.

    Only the first frame is used, an EXIF orientation is applied, and transparent areas become
    black. Grey values of more than 8 bits are scaled to 0..255. The range they are scaled from is
    the smallest of 0..1 (floats only), 0..255 and 0..65535 that holds them, otherwise it ends at
    their own maximum. If there are negative values, it runs from their minimum to their maximum.
    For 16-bit files it is always 0..65535.

    Args:
        content: the bytes of the file.
        least: a JPEG may be decoded at a reduced size, with no side below this many pixels; None
            decodes it at full size.

    Raises:
        BadImage: the bytes are empty, broken, not an image, or an absurdly large image.
    """
    if not content:
        raise BadImage("empty file")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if least is not None:
                # affects JPEG only: decodes at the smallest of 1/2, 1/4 and 1/8 of the size that
                # is still at least this large
                image.draft(None, (least, least))
            image.load()
            with contextlib.suppress(Exception):  # an image with broken EXIF is still usable
                ImageOps.exif_transpose(image, in_place=True)
            return _convert_to_rgb(image)
    except (MemoryError, ImportError):  # not the image's fault
        raise
    except Exception as error:  # broken files raise almost any exception
        raise BadImage(_describe_error(error)) from error


def _convert_to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_scale_to_8_bits(np.asarray(image), image.mode)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        black = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, layer).convert("RGB")
    return image.convert("RGB")


def _scale_to_8_bits(values: npt.NDArray[np.generic], mode: str) -> npt.NDArray[np.uint8]:
    """Scale grey values of more than 8 bits to 0..255, as `load_rgb_image` describes."""
    grey = values.astype(np.float64)
    if not np.isfinite(grey).all():
        raise BadImage("values that are not finite numbers")
    low = float(grey.min())
    high = float(grey.max())
    if mode.startswith("I;16"):
        low = 0
        high = 65535
    elif low >= 0:
        low = 0
        high = _find_range_end(high, mode)
    scaled = (grey - low) * (255.0 / max(high - low, 1e-12))
    return np.rint(scaled).astype(np.uint8)


def _find_range_end(high: float, mode: str) -> float:
    """Return the end of the smallest usual range that holds values up to `high`."""
    if mode == "F" and high <= 1:
        return 1
    for end in (255, 65535):
        if high <= end:
            return end
    return high


def _describe_error(error: Exception) -> str:
    """Return a short reason why an image cannot be used."""
    if isinstance(error, BadImage):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return "no image that can be read"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {Image.MAX_IMAGE_PIXELS} pixels"
    text = (str(error).strip().splitlines() or [""])[0][:200]
    # libtiff's message is only a number, which tells a reader nothing
    return text if any(c.isalpha() for c in text) else f"broken ({type(error).__name__} {text})"
