"""Decode the bytes of an image file to RGB pixels.

Training, prediction, served models and the audit all decode here, so they see the same pixels. What
happens to each form of image is stated in the table of docs/data.md.
"""

import contextlib
import io
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL import ImageFile
from PIL import ImageOps
from PIL import UnidentifiedImageError

from .grey import is_deep_grey
from .grey import scale_grey
from .intact import BadImage
from .intact import check_intact
from .intact import RefusedImage

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "JPEG2000", "PPM", "AVIF", "DIB")
MAX_PIXELS = 89_478_485  # the number from which on Pillow warns of a decompression bomb
# Enters the digest of data sets that have unusual images, and of no other: raise it when unusual
# images get other pixels.
POLICY = 3

NEW_SUBFILE_TYPE = 254  # a TIFF tag
TRANSPARENCY_MASK = 4  # a bit of it: the page is the mask of another page
JPEG2000_START = b"\xff\x4f\xff\x51"  # and the marker of the sizes, which follows it


def decode(content: bytes, size: int) -> npt.NDArray[np.uint8]:
    """Return the image as uint8 RGB of shape (size, size, 3).

    The image is stretched to a square, as in the reports.

    Raises:
        BadImage: the bytes are empty, damaged, not an image, or an absurdly large image.
    """
    # PIL widens the filter when it shrinks an image, so there is no aliasing
    return np.asarray(load_rgb_image(content, size).resize((size, size), Image.Resampling.BILINEAR))


def load_rgb_image(content: bytes, least: int | None = None) -> Image.Image:
    """Return the whole image in RGB.

    Args:
        content: the bytes of the file.
        least: a JPEG may be decoded at a reduced size, with no side below this many pixels; None
            decodes it at full size.

    Raises:
        BadImage: the bytes are empty, damaged, not an image, or an absurdly large image.
    """
    with _open_image(content) as (image, _):
        if least is not None:
            # affects JPEG only: decodes at the smallest of 1/2, 1/4 and 1/8 of the size that
            # is still at least this large
            image.draft(None, (least, least))
        _load(image, content)
        with contextlib.suppress(Exception):  # an image with broken EXIF is still usable
            ImageOps.exif_transpose(image, in_place=True)
        if is_deep_grey(image):
            return Image.fromarray(scale_grey(image, content).values).convert("RGB")
        return _drop_transparency(image).convert("RGB")


def describe_form(content: bytes) -> str:
    """Describe in a few words what is unusual about an image file.

    Unusual is a file of which something is left out, whose values are scaled to 8 bits, or which is
    damaged in a way that Pillow does not notice. A plain file gives "", and so does one that is not
    usable at all.
    """
    try:
        with _open_image(content) as (image, page):
            forms = [page]
            if _has_deep_colors(image, content):
                _load(image, content)
            if is_deep_grey(image):
                _load(image, content)
                forms.append(scale_grey(image, content).description)
            elif _is_transparent(image):
                forms.append("transparency is ignored")
            return "; ".join(filter(None, forms))
    except RefusedImage as error:
        return str(error)
    except BadImage:
        return ""


@contextlib.contextmanager
def _open_image(content: bytes) -> Iterator[tuple[Image.Image, str]]:
    """Open an image, check that it is intact, and go to the page that counts.

    Yields:
        The image, not yet decoded, and a description of the page if there are several.

    Raises:
        BadImage: it is not intact, or the body of the `with` statement fails for any reason.
    """
    if not content:
        raise BadImage("empty file")
    # another library in this process may have set it, and half an image would count as whole
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            page = _select_page(image)
            check_intact(image, content)
            yield image, page
    except (MemoryError, ImportError, BadImage):  # the first two are not the image's fault
        raise
    except Exception as error:  # broken files raise almost any exception
        raise BadImage(_describe_error(error)) from error


def _select_page(image: Image.Image) -> str:
    """Go to the page or frame that counts, and describe which of several it is.

    Of a TIFF file it is the largest page, because others are labels and reduced copies. Of equally
    large pages and of an animation it is the first.

    Raises:
        RefusedImage: there are pages that cannot be read, or this one has too many pixels.
    """
    description = ""
    try:
        if image.format == "TIFF":
            description = _select_largest_page(image)
        elif getattr(image, "is_animated", False):
            description = "only the first frame is used"
    except Exception as error:  # as the pages of a broken file may raise
        raise RefusedImage(f"broken pages ({_describe_error(error)})") from error
    if image.width * image.height > MAX_PIXELS:
        raise RefusedImage(f"more than {MAX_PIXELS} pixels")
    return description


def _select_largest_page(image: Image.Image) -> str:
    areas = {}
    for page in range(image.n_frames):  # type: ignore[attr-defined]
        image.seek(page)
        kind = image.tag_v2.get(NEW_SUBFILE_TYPE, 0)  # type: ignore[attr-defined]
        is_mask = kind & TRANSPARENCY_MASK
        areas[page] = 0 if is_mask else image.width * image.height
    largest = max(areas.values())
    pages = [page for page, area in areas.items() if area == largest]
    image.seek(pages[0])
    if len(areas) == 1:
        return ""
    order = "first of the equally large pages" if len(pages) > 1 else "largest page"
    return f"only the {order} is used"


def _load(image: Image.Image, content: bytes) -> None:
    """Decode the image's own pixels.

    Raises:
        RefusedImage: the upper 8 bits, all that Pillow reads of deeper colors, are nearly unused.
    """
    has_deep_colors = _has_deep_colors(image, content)
    image.load()
    if has_deep_colors:
        colors = _drop_transparency(image).convert("RGB")
        if max(high for _, high in colors.getextrema()) < 64:  # type: ignore[misc]
            raise RefusedImage(
                "colors of more than 8 bits in the darkest quarter of their range: save 8 bits"
            )


def _has_deep_colors(image: Image.Image, content: bytes) -> bool:
    """Return whether an image, not yet loaded, has colors of more than 8 bits."""
    if is_deep_grey(image):
        return False
    if image.format == "JPEG2000":
        return _read_jpeg2000_depth(content) > 8
    modes = [tile.args for tile in image.tile]  # type: ignore[attr-defined]
    if image.format == "PPM":  # with the value that stands for white
        return any(isinstance(mode, tuple) and mode[-1] > 255 for mode in modes)
    return ";16" in str(modes)


def _read_jpeg2000_depth(content: bytes) -> int:
    """Return the bits of the deepest component, which Pillow does not tell."""
    start = content.find(JPEG2000_START)
    count = int.from_bytes(content[start + 40 : start + 42], "big")
    depths = content[start + 42 : start + 42 + 3 * count : 3]  # less 1, with a bit for the sign
    return max((depth & 0x7F) + 1 for depth in depths)


def _is_transparent(image: Image.Image) -> bool:
    """Return whether any pixel of an image is not opaque."""
    if image.mode == "La" or not image.has_transparency_data:
        return image.mode == "La"
    image.load()
    return image.convert("RGBA").getchannel("A").getextrema() != (255, 255)


def _drop_transparency(image: Image.Image) -> Image.Image:
    """Return the image with the colors that are stored, as if all pixels were opaque."""
    image.info.pop("transparency", None)
    return image.convert("LA") if image.mode == "La" else image


def _describe_error(error: Exception) -> str:
    """Return a short reason why an image cannot be used."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image that can be read"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {MAX_PIXELS} pixels"
    text = (str(error).strip().splitlines() or [""])[0][:200]
    # libtiff's message is only a number, which tells a reader nothing
    return text if any(c.isalpha() for c in text) else f"broken ({type(error).__name__} {text})"
