"""Refuse image files that are damaged although Pillow decodes them."""

import io

import simplejpeg
from PIL import Image

TIFF_JPEG_TABLES = 347
# strips or tiles of a TIFF file: the tags of their offsets and of their lengths
TIFF_PIECES = ((273, 279), (324, 325))
DAMAGE = ("Corrupt JPEG data", "Premature end of JPEG file")  # of all that libjpeg warns of


class BadImage(Exception):
    """Bytes that are not a usable image, with a short reason as the message."""


class RefusedImage(BadImage):
    """A file that Pillow would decode, but not to the picture that was stored."""


def check_intact(image: Image.Image, content: bytes) -> None:
    """Check the data of a JPEG, and the checksums and the end of a PNG.

    Nothing else of the other formats can be checked: damage in the middle of an uncompressed or a
    lossy WebP file shows in no way but in the picture.

    Args:
        image: as opened from `content`, not yet loaded.
        content: the bytes of the file.

    Raises:
        RefusedImage: the file is damaged or cut off.
    """
    if image.format in ("JPEG", "MPO"):
        _check_jpeg(content, image.mode)
    elif image.format == "PNG":
        _check_png(content)
    elif image.info.get("compression") == "jpeg":
        for jpeg in _list_tiff_jpegs(image, content):
            _check_jpeg(jpeg, image.mode)


def _check_jpeg(content: bytes, mode: str) -> None:
    # libjpeg replaces damaged parts by grey and warns, of which Pillow tells nothing
    colorspace = "CMYK" if mode == "CMYK" else "GRAY"
    try:
        # 1/8 of the size is enough to read all the data, and is quick
        simplejpeg.decode_jpeg(content, colorspace, min_height=1, min_width=1)
    except ValueError as error:
        # other warnings, and what this decoder does not know, do no harm to the pixels
        if str(error).startswith(DAMAGE):
            raise RefusedImage(f"truncated or damaged ({error})") from None


def _check_png(content: bytes) -> None:
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            image.verify()
    except (OSError, SyntaxError) as error:
        raise RefusedImage(f"truncated or damaged ({error})") from None


def _list_tiff_jpegs(image: Image.Image, content: bytes) -> list[bytes]:
    """Return the strips or tiles of a TIFF page, each as a JPEG file of its own."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    tables = tags.get(TIFF_JPEG_TABLES, b"")[:-2]  # without the end marker
    jpegs = []
    for offsets, lengths in TIFF_PIECES:
        for offset, length in zip(tags.get(offsets, ()), tags.get(lengths, ()), strict=True):
            piece = content[offset : offset + length]
            jpegs.append(tables + piece[2:] if tables else piece)
    return jpegs
