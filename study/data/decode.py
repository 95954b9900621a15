"""One image file's bytes to RGB pixels."""

import contextlib
import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL import ImageOps
from PIL import UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")


class BadImage(Exception):
    """The bytes are no usable image; the message is a short reason."""


def decode(content: bytes, size: int) -> npt.NDArray[np.uint8]:
    """The image as uint8 RGB (size, size, 3), stretched to a square as in the reports.

    Raises:
        BadImage: the bytes are empty, broken, no image, or an absurdly large one.
    """
    # PIL widens the filter when shrinking: no aliases
    return np.asarray(picture(content, size).resize((size, size), Image.Resampling.BILINEAR))


def picture(content: bytes, least: int | None = None) -> Image.Image:
    """The image in RGB, whole; a JPEG perhaps smaller, but with no side below `least` pixels.

    The first frame counts; an EXIF orientation is applied; transparency shows black. Grey of more
    than 8 bits is scaled to 0..255 from the range its values lie in: 0..1 (floats), 0..255,
    0..65535, else up to its own maximum, and from its own minimum if that is negative. 16-bit files
    always count as 0..65535.

    Raises:
        BadImage: the bytes are empty, broken, no image, or an absurdly large one.
    """
    if not content:
        raise BadImage("empty file")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if least is not None:
                # JPEG only: decodes at 1/2, 1/4 or 1/8, whichever is still at least this large
                image.draft(None, (least, least))
            image.load()
            with contextlib.suppress(Exception):  # broken EXIF does not make it unusable
                ImageOps.exif_transpose(image, in_place=True)
            return _to_rgb(image)
    except (MemoryError, ImportError):  # not the image's fault
        raise
    except Exception as error:  # broken files raise nearly anything
        raise BadImage(_reason(error)) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_grey8(np.asarray(image), image.mode)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        black = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, layer).convert("RGB")
    return image.convert("RGB")


def _grey8(values: npt.NDArray[np.generic], mode: str) -> npt.NDArray[np.uint8]:
    grey = values.astype(np.float64)
    if not np.isfinite(grey).all():
        raise BadImage("values that are not finite numbers")
    low, high = float(grey.min()), float(grey.max())
    if mode.startswith("I;16"):
        low, high = 0, 65535
    elif low >= 0:
        low, high = 0, _range_end(high, mode)
    scaled = (grey - low) * (255.0 / max(high - low, 1e-12))
    return np.rint(scaled).astype(np.uint8)


def _range_end(high: float, mode: str) -> float:
    if mode == "F" and high <= 1:
        return 1
    for end in (255, 65535):
        if high <= end:
            return end
    return high


def _reason(error: Exception) -> str:
    if isinstance(error, BadImage):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return "no image that can be read"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {Image.MAX_IMAGE_PIXELS} pixels"
    text = (str(error).strip().splitlines() or [""])[0][:200]
    # libtiff gives only a number
    return text if any(c.isalpha() for c in text) else f"broken ({type(error).__name__} {text})"
