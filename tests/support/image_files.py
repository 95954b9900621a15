"""Bytes of image files, also of forms that Pillow does not write."""

import io
import struct
import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image

TIFF_FORMATS = {"u": 1, "i": 2, "f": 3}  # NumPy's kind -> sample format
MINIMAL_TAGS = {259: 1, 277: 1}  # not compressed, one sample per pixel


def draw_noise(mode: str, seed: int) -> Image.Image:
    """Random pixels in a mode, with random alpha if the mode has it."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (12, 10, 4), np.uint8), "RGBA")
    if mode == "I;16":
        depth = rng.integers(1, 17)
        return Image.fromarray(rng.integers(0, 1 << depth, (12, 10)).astype("<u2"))
    return image.convert("RGB").convert(mode) if mode in ("CMYK", "P") else image.convert(mode)


def to_bytes(image: Image.Image, suffix: str = ".png", **options: object) -> bytes:
    """The bytes of a file as Pillow writes it."""
    stream = io.BytesIO()
    image.save(stream, Image.registered_extensions()[suffix], **options)  # type: ignore[arg-type]
    return stream.getvalue()


def to_tiff(*pages: npt.NDArray[np.generic], tags: dict[int, int] | None = None) -> bytes:
    """A TIFF file of grey pages, not compressed. `tags` are set on the first page."""
    content = b"II*\0" + struct.pack("<I", 8)
    for number, page in enumerate(pages):
        height, width = page.shape
        pixels = page.astype(page.dtype.newbyteorder("<")).tobytes()
        entries = {256: width, 257: height, 258: 8 * page.itemsize, 262: 1, 278: height}
        entries |= MINIMAL_TAGS | {279: len(pixels), 339: TIFF_FORMATS[page.dtype.kind]}
        entries |= (tags or {}) if number == 0 else {}
        start = len(content) + 2 + 12 * (len(entries) + 1) + 4
        entries[273] = start
        end = start + len(pixels)
        content += struct.pack("<H", len(entries))
        for tag, value in sorted(entries.items()):
            content += struct.pack("<HHII", tag, 4, 1, value)
        content += struct.pack("<I", 0 if page is pages[-1] else end) + pixels
    return content


def to_16_bit_png(values: npt.NDArray[np.uint16], significant_bits: int | None = None) -> bytes:
    """A PNG file of 16 bits per channel: (height, width), or (height, width, 2 to 4 channels)."""
    channels = values.shape[2] if values.ndim == 3 else 1
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    lines = values.astype(">u2").reshape(len(values), -1)
    pixels = b"".join(b"\0" + line.tobytes() for line in lines)
    header = struct.pack(">IIBBBBB", values.shape[1], len(values), 16, color_type, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    if significant_bits is not None:
        chunks.insert(1, (b"sBIT", bytes([significant_bits] * channels)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_make_chunk(*chunk) for chunk in chunks)


def _make_chunk(kind: bytes, body: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + checksum
