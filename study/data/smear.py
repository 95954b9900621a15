"""Draw synthetic stained blood smears, the pictures of the `demo` data set.

Lengths are in units of ZOOM pixels of a finished image. Everything is drawn SCALE times larger and
then shrunk. Only integer noise is used, so that a seed gives the same bytes on every machine.
"""

import math

import numpy as np
from PIL import Image
from PIL import ImageChops
from PIL import ImageDraw
from PIL import ImageFilter

LABELS = ("eosinophil", "lymphocyte", "monocyte", "neutrophil")
# Each class has its own dye. Without it, a narrow network needs minutes to learn the classes.
DYES = {
    "eosinophil": (255, 190, 150),
    "lymphocyte": (160, 198, 255),
    "monocyte": (190, 216, 176),
    "neutrophil": (255, 180, 238),
}
FOREIGN = 0.4  # greatest share of another class's dye in an original's dye
SIZE = 64  # pixels, of a finished image
ZOOM = 1.5
FIELD = 88  # units; a SIZE square fits in it, turned by any angle and shifted by MAX_SHIFT
SCALE = 4
MAX_SHIFT = 4  # units

Color = tuple[int, int, int]
Point = tuple[float, float]


def draw_original(label: str, rng: np.random.Generator) -> Image.Image:
    """Draw a field around one white cell of a class.

    It is an RGB square with sides of FIELD * SCALE pixels. The stain, the background, and the
    cell's size and shape vary from original to original.
    """
    field = Image.new("RGB", (FIELD * SCALE, FIELD * SCALE), _vary_color((236, 226, 228), 5, rng))
    _draw_red_cells(field, rng)
    center = (FIELD / 2 + rng.uniform(-3, 3), FIELD / 2 + rng.uniform(-3, 3))
    nucleus_color = _vary_color((96, 52, 142), 16, rng)
    nucleus = {
        "eosinophil": _draw_eosinophil,
        "lymphocyte": _draw_lymphocyte,
        "monocyte": _draw_monocyte,
        "neutrophil": _draw_neutrophil,
    }[label](field, center, rng)
    _stain_nucleus(field, nucleus, nucleus_color, rng)
    dye = Image.new("RGB", field.size, _choose_dye(label, rng))
    blur = ImageFilter.GaussianBlur(SCALE * rng.uniform(0.3, 0.7))
    return ImageChops.multiply(field, dye).filter(blur)


def augment_original(original: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a turned, shifted and slightly recolored SIZE square of an original.

    Half of these squares are mirrored.
    """
    turn = rng.uniform(0, 2 * math.pi)
    zoom = SCALE / ZOOM / 2 * rng.uniform(0.94, 1.06)
    mirror = rng.choice((-1, 1))
    shift = rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2) * SCALE + FIELD * SCALE / 2
    # maps pixel (x, y) of the output, at twice SIZE, to a pixel of the field
    a = zoom * math.cos(turn) * mirror
    b = -zoom * math.sin(turn)
    d = zoom * math.sin(turn) * mirror
    e = zoom * math.cos(turn)
    matrix = (a, b, shift[0] - SIZE * (a + b), d, e, shift[1] - SIZE * (d + e))
    twice = original.transform(
        (2 * SIZE, 2 * SIZE), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    pixels = np.asarray(twice.reduce(2), np.int64)
    # in percent: the brightness as a whole, and a little per color
    gain = rng.integers(96, 105) + rng.integers(-1, 2, 3)
    noise = rng.integers(-5, 6, pixels.shape)
    return Image.fromarray(np.clip(pixels * gain // 100 + noise, 0, 255).astype(np.uint8))


def _choose_dye(label: str, rng: np.random.Generator) -> Color:
    """Return the class's dye mixed with a share of a random class's dye.

    Stains vary from smear to smear. A network can recognize the originals it knows by their dye,
    while the dye of an unseen original misleads it.
    """
    other = DYES[LABELS[int(rng.integers(len(LABELS)))]]
    return _vary_color(_mix_colors(DYES[label], other, rng.uniform(0, FOREIGN)), 10, rng)


def _draw_red_cells(field: Image.Image, rng: np.random.Generator) -> None:
    draw = ImageDraw.Draw(field)
    color = _vary_color((226, 178, 180), 8, rng)
    pale = _mix_colors(color, (240, 224, 224), rng.uniform(0.3, 0.8))
    radius = rng.uniform(8, 12)
    for _ in range(int(rng.integers(5, 18))):
        center = (rng.uniform(0, FIELD), rng.uniform(0, FIELD))
        size = radius * rng.uniform(0.85, 1.15)
        _fill_outline(draw, _outline_blob(center, size, 0.06, rng), _vary_color(color, 5, rng))
        _fill_outline(draw, _outline_blob(center, size * 0.45, 0.1, rng), pale)
    for _ in range(int(rng.integers(0, 9))):  # platelets
        center = (rng.uniform(0, FIELD), rng.uniform(0, FIELD))
        outline = _outline_blob(center, rng.uniform(1, 2), 0.2, rng)
        _fill_outline(draw, outline, _vary_color((150, 110, 170), 10, rng))


def _draw_eosinophil(field: Image.Image, center: Point, rng: np.random.Generator) -> Image.Image:
    radius = rng.uniform(14, 19)
    _draw_cytoplasm(field, center, radius, (240, 176, 150), rng)
    color = _vary_color((226, 96, 60), 18, rng)
    _draw_granules(
        field, center, radius, int(rng.integers(70, 190)), rng.uniform(0.8, 1.4), color, rng
    )
    lobes = int(rng.choice((2, 2, 2, 3)))
    return _draw_lobes(center, radius * 0.42, radius * rng.uniform(0.32, 0.42), lobes, 2.6, rng)


def _draw_lymphocyte(field: Image.Image, center: Point, rng: np.random.Generator) -> Image.Image:
    radius = rng.uniform(10.5, 17)
    _draw_cytoplasm(field, center, radius, (120, 160, 236), rng)
    nucleus = _create_mask()
    offset = (center[0] + rng.uniform(-1, 1), center[1] + rng.uniform(-1, 1))
    size = radius * rng.uniform(0.72, 0.92)
    _fill_outline(ImageDraw.Draw(nucleus), _outline_blob(offset, size, 0.08, rng), 255)
    return nucleus


def _draw_monocyte(field: Image.Image, center: Point, rng: np.random.Generator) -> Image.Image:
    radius = rng.uniform(16, 22)
    _draw_cytoplasm(field, center, radius, (160, 168, 190), rng)
    if rng.random() < 0.6:  # vacuoles
        pale = _vary_color((222, 220, 232), 8, rng)
        count = int(rng.integers(5, 20))
        _draw_granules(field, center, radius, count, rng.uniform(0.7, 1.2), pale, rng)
    # many overlapping lobes look like a bean or a horseshoe
    return _draw_lobes(center, radius * 0.4, radius * rng.uniform(0.3, 0.4), 9, 3.4, rng)


def _draw_neutrophil(field: Image.Image, center: Point, rng: np.random.Generator) -> Image.Image:
    radius = rng.uniform(13, 18.5)
    _draw_cytoplasm(field, center, radius, (244, 196, 224), rng)
    color = _vary_color((196, 158, 190), 16, rng)
    _draw_granules(field, center, radius, int(rng.integers(30, 160)), 0.5, color, rng)
    lobes = int(rng.integers(3, 6))
    return _draw_lobes(center, radius * 0.52, radius * rng.uniform(0.22, 0.32), lobes, 5.2, rng)


def _draw_cytoplasm(
    field: Image.Image, center: Point, radius: float, color: Color, rng: np.random.Generator
) -> None:
    outline = _outline_blob(center, radius, rng.uniform(0.03, 0.08), rng)
    _fill_outline(ImageDraw.Draw(field), outline, _vary_color(color, 8, rng))


def _draw_granules(
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
        distance = 0.92 * radius * math.sqrt(rng.random())  # even over the disc
        angle = rng.uniform(0, 2 * math.pi)
        x, y = _move_point(center, distance, angle)
        box = [SCALE * v for v in (x - size, y - size, x + size, y + size)]
        draw.ellipse(box, fill=_vary_color(color, 12, rng))


def _draw_lobes(
    center: Point, distance: float, size: float, count: int, span: float, rng: np.random.Generator
) -> Image.Image:
    """Draw a nucleus of `count` lobes, joined by strands.

    The lobes lie on an arc of about `span` radians.
    """
    nucleus = _create_mask()
    draw = ImageDraw.Draw(nucleus)
    start = rng.uniform(0, 2 * math.pi)
    span = span * rng.uniform(0.75, 1.2)
    points = []
    for index in range(count):
        angle = start + span * index / (count - 1)
        points.append(_move_point(center, distance * rng.uniform(0.9, 1.15), angle))
        outline = _outline_blob(points[-1], size * rng.uniform(0.85, 1.15), 0.1, rng)
        _fill_outline(draw, outline, 255)
    strand = [(SCALE * x, SCALE * y) for x, y in points]
    draw.line(strand, fill=255, width=round(SCALE * size * rng.uniform(0.4, 0.9)), joint="curve")
    return nucleus


def _stain_nucleus(
    field: Image.Image, nucleus: Image.Image, color: Color, rng: np.random.Generator
) -> None:
    """Fill the nucleus with clumped chromatin: two tones mixed by smooth noise."""
    light = _mix_colors(color, (200, 170, 215), rng.uniform(0.2, 0.5))
    cells = int(rng.integers(14, 40))
    noise = Image.fromarray(rng.integers(0, 256, (cells, cells), np.uint8))
    clumps = ImageChops.multiply(noise.resize(field.size, Image.Resampling.BICUBIC), nucleus)
    field.paste(color, (0, 0), nucleus)
    field.paste(light, (0, 0), clumps)


def _outline_blob(
    center: Point, radius: float, roughness: float, rng: np.random.Generator
) -> list[Point]:
    """Return the outline of a disc with waves, in drawn pixels.

    `roughness` is the greatest height of a single wave, relative to the radius.
    """
    waves = [(k, roughness * rng.uniform(-1, 1), rng.uniform(0, 6.3)) for k in (2, 3, 4)]
    outline = []
    for step in range(48):
        angle = 2 * math.pi * step / 48
        distance = radius * (1 + sum(h * math.cos(k * angle + phase) for k, h, phase in waves))
        x, y = _move_point(center, distance, angle)
        outline.append((SCALE * x, SCALE * y))
    return outline


def _move_point(point: Point, distance: float, angle: float) -> Point:
    """Return the point at a distance and an angle, in radians, from another point."""
    return point[0] + distance * math.cos(angle), point[1] + distance * math.sin(angle)


def _fill_outline(draw: ImageDraw.ImageDraw, outline: list[Point], color: Color | int) -> None:
    draw.polygon(outline, fill=color)


def _create_mask() -> Image.Image:
    return Image.new("L", (FIELD * SCALE, FIELD * SCALE))


def _vary_color(color: Color, spread: int, rng: np.random.Generator) -> Color:
    """Return the color with each channel changed at random by up to `spread`."""
    red, green, blue = (int(c + rng.integers(-spread, spread + 1)) for c in color)
    return red, green, blue


def _mix_colors(color: Color, other: Color, share: float) -> Color:
    """Return a color mixed with a share of another one."""
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(color, other, strict=True))
    return red, green, blue
