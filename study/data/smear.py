"""Draws synthetic stained blood smears: the pictures of the `demo` data set.

Lengths are in units of ZOOM finished pixels; everything is drawn SCALE times larger and shrunk.
Only integer noise is used, so that the same seed gives the same bytes on every machine.
"""

import math

import numpy as np
from PIL import Image
from PIL import ImageChops
from PIL import ImageDraw
from PIL import ImageFilter

LABELS = ("eosinophil", "lymphocyte", "monocyte", "neutrophil")
# A class has a dye: without it, a narrow network needs minutes to tell the classes apart.
DYES = {
    "eosinophil": (255, 190, 150),
    "lymphocyte": (160, 198, 255),
    "monocyte": (190, 216, 176),
    "neutrophil": (255, 180, 238),
}
FOREIGN = 0.4  # share of another class's dye in an original's, at most
SIZE = 64  # pixels, of a finished image
ZOOM = 1.5
FIELD = 88  # units: holds a SIZE square turned by any angle and shifted by MAX_SHIFT
SCALE = 4
MAX_SHIFT = 4  # units

Color = tuple[int, int, int]
Point = tuple[float, float]


def draw_original(label: str, rng: np.random.Generator) -> Image.Image:
    """A field around one white cell of a class, (FIELD * SCALE) square RGB.

    Stain, background, and the cell's size and shape vary from original to original.
    """
    field = Image.new("RGB", (FIELD * SCALE, FIELD * SCALE), _near((236, 226, 228), 5, rng))
    _red_cells(field, rng)
    center = (FIELD / 2 + rng.uniform(-3, 3), FIELD / 2 + rng.uniform(-3, 3))
    nucleus_color = _near((96, 52, 142), 16, rng)
    nucleus = {
        "eosinophil": _eosinophil,
        "lymphocyte": _lymphocyte,
        "monocyte": _monocyte,
        "neutrophil": _neutrophil,
    }[label](field, center, rng)
    _stain(field, nucleus, nucleus_color, rng)
    dye = Image.new("RGB", field.size, _dye(label, rng))
    blur = ImageFilter.GaussianBlur(SCALE * rng.uniform(0.3, 0.7))
    return ImageChops.multiply(field, dye).filter(blur)


def augmented(original: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A turned, shifted, perhaps mirrored and slightly recolored SIZE square of an original."""
    turn, zoom = rng.uniform(0, 2 * math.pi), SCALE / ZOOM / 2 * rng.uniform(0.94, 1.06)
    mirror = rng.choice((-1, 1))
    shift = rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2) * SCALE + FIELD * SCALE / 2
    a, b = zoom * math.cos(turn) * mirror, -zoom * math.sin(turn)
    d, e = zoom * math.sin(turn) * mirror, zoom * math.cos(turn)
    # output pixel (x, y), at twice SIZE -> field pixel
    matrix = (a, b, shift[0] - SIZE * (a + b), d, e, shift[1] - SIZE * (d + e))
    twice = original.transform(
        (2 * SIZE, 2 * SIZE), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    pixels = np.asarray(twice.reduce(2), np.int64)
    gain = rng.integers(96, 105) + rng.integers(-1, 2, 3)  # percent, brightness and color
    noise = rng.integers(-5, 6, pixels.shape)
    return Image.fromarray(np.clip(pixels * gain // 100 + noise, 0, 255).astype(np.uint8))


def _dye(label: str, rng: np.random.Generator) -> Color:
    """The class's dye with a share of any class's: stains vary from smear to smear.

    A network can tell known originals apart by it, while that of an unseen one misleads.
    """
    other = DYES[LABELS[int(rng.integers(len(LABELS)))]]
    return _near(_mixed(DYES[label], other, rng.uniform(0, FOREIGN)), 10, rng)


def _red_cells(field: Image.Image, rng: np.random.Generator) -> None:
    draw = ImageDraw.Draw(field)
    color = _near((226, 178, 180), 8, rng)
    pale = _mixed(color, (240, 224, 224), rng.uniform(0.3, 0.8))
    radius = rng.uniform(8, 12)
    for _ in range(int(rng.integers(5, 18))):
        center = (rng.uniform(0, FIELD), rng.uniform(0, FIELD))
        size = radius * rng.uniform(0.85, 1.15)
        _fill(draw, _blob(center, size, 0.06, rng), _near(color, 5, rng))
        _fill(draw, _blob(center, size * 0.45, 0.1, rng), pale)
    for _ in range(int(rng.integers(0, 9))):  # platelets
        center = (rng.uniform(0, FIELD), rng.uniform(0, FIELD))
        _fill(draw, _blob(center, rng.uniform(1, 2), 0.2, rng), _near((150, 110, 170), 10, rng))


def _eosinophil(field: Image.Image, center: Point, rng: np.random.Generator) -> Image.Image:
    radius = rng.uniform(14, 19)
    _cytoplasm(field, center, radius, (240, 176, 150), rng)
    color = _near((226, 96, 60), 18, rng)
    _granules(field, center, radius, int(rng.integers(70, 190)), rng.uniform(0.8, 1.4), color, rng)
    lobes = int(rng.choice((2, 2, 2, 3)))
    return _lobes(center, radius * 0.42, radius * rng.uniform(0.32, 0.42), lobes, 2.6, rng)


def _lymphocyte(field: Image.Image, center: Point, rng: np.random.Generator) -> Image.Image:
    radius = rng.uniform(10.5, 17)
    _cytoplasm(field, center, radius, (120, 160, 236), rng)
    nucleus = _mask()
    offset = (center[0] + rng.uniform(-1, 1), center[1] + rng.uniform(-1, 1))
    size = radius * rng.uniform(0.72, 0.92)
    _fill(ImageDraw.Draw(nucleus), _blob(offset, size, 0.08, rng), 255)
    return nucleus


def _monocyte(field: Image.Image, center: Point, rng: np.random.Generator) -> Image.Image:
    radius = rng.uniform(16, 22)
    _cytoplasm(field, center, radius, (160, 168, 190), rng)
    if rng.random() < 0.6:  # vacuoles
        pale = _near((222, 220, 232), 8, rng)
        count = int(rng.integers(5, 20))
        _granules(field, center, radius, count, rng.uniform(0.7, 1.2), pale, rng)
    # many overlapping lobes make a bean or a horseshoe
    return _lobes(center, radius * 0.4, radius * rng.uniform(0.3, 0.4), 9, 3.4, rng)


def _neutrophil(field: Image.Image, center: Point, rng: np.random.Generator) -> Image.Image:
    radius = rng.uniform(13, 18.5)
    _cytoplasm(field, center, radius, (244, 196, 224), rng)
    color = _near((196, 158, 190), 16, rng)
    _granules(field, center, radius, int(rng.integers(30, 160)), 0.5, color, rng)
    lobes = int(rng.integers(3, 6))
    return _lobes(center, radius * 0.52, radius * rng.uniform(0.22, 0.32), lobes, 5.2, rng)


def _cytoplasm(
    field: Image.Image, center: Point, radius: float, color: Color, rng: np.random.Generator
) -> None:
    outline = _blob(center, radius, rng.uniform(0.03, 0.08), rng)
    _fill(ImageDraw.Draw(field), outline, _near(color, 8, rng))


def _granules(
    field: Image.Image,
    center: Point,
    radius: float,
    count: int,
    size: float,
    color: Color,
    rng: np.random.Generator,
) -> None:
    draw = ImageDraw.Draw(field)
    for _ in range(count):
        away, angle = 0.92 * radius * math.sqrt(rng.random()), rng.uniform(0, 2 * math.pi)
        x, y = center[0] + away * math.cos(angle), center[1] + away * math.sin(angle)
        box = [SCALE * v for v in (x - size, y - size, x + size, y + size)]
        draw.ellipse(box, fill=_near(color, 12, rng))


def _lobes(
    center: Point, away: float, size: float, count: int, span: float, rng: np.random.Generator
) -> Image.Image:
    """A nucleus of `count` lobes on an arc of about `span` radians, joined by strands."""
    nucleus = _mask()
    draw = ImageDraw.Draw(nucleus)
    start, span = rng.uniform(0, 2 * math.pi), span * rng.uniform(0.75, 1.2)
    points = []
    for index in range(count):
        angle = start + span * index / (count - 1)
        far = away * rng.uniform(0.9, 1.15)
        points.append((center[0] + far * math.cos(angle), center[1] + far * math.sin(angle)))
        _fill(draw, _blob(points[-1], size * rng.uniform(0.85, 1.15), 0.1, rng), 255)
    strand = [(SCALE * x, SCALE * y) for x, y in points]
    draw.line(strand, fill=255, width=round(SCALE * size * rng.uniform(0.4, 0.9)), joint="curve")
    return nucleus


def _stain(
    field: Image.Image, nucleus: Image.Image, color: Color, rng: np.random.Generator
) -> None:
    """Fills the nucleus with clumped chromatin: two tones mixed by smooth noise."""
    light = _mixed(color, (200, 170, 215), rng.uniform(0.2, 0.5))
    cells = int(rng.integers(14, 40))
    noise = Image.fromarray(rng.integers(0, 256, (cells, cells), np.uint8))
    clumps = ImageChops.multiply(noise.resize(field.size, Image.Resampling.BICUBIC), nucleus)
    field.paste(color, (0, 0), nucleus)
    field.paste(light, (0, 0), clumps)


def _blob(center: Point, radius: float, roughness: float, rng: np.random.Generator) -> list[Point]:
    """The outline of a disc with waves of relative height `roughness`, in drawn pixels."""
    waves = [(k, roughness * rng.uniform(-1, 1), rng.uniform(0, 6.3)) for k in (2, 3, 4)]
    outline = []
    for step in range(48):
        angle = 2 * math.pi * step / 48
        far = radius * (1 + sum(h * math.cos(k * angle + phase) for k, h, phase in waves))
        x, y = center[0] + far * math.cos(angle), center[1] + far * math.sin(angle)
        outline.append((SCALE * x, SCALE * y))
    return outline


def _fill(draw: ImageDraw.ImageDraw, outline: list[Point], color: Color | int) -> None:
    draw.polygon(outline, fill=color)


def _mask() -> Image.Image:
    return Image.new("L", (FIELD * SCALE, FIELD * SCALE))


def _near(color: Color, spread: int, rng: np.random.Generator) -> Color:
    red, green, blue = (int(c + rng.integers(-spread, spread + 1)) for c in color)
    return red, green, blue


def _mixed(color: Color, other: Color, share: float) -> Color:
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(color, other, strict=True))
    return red, green, blue
