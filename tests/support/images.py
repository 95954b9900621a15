"""Small image folders for tests."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from PIL import ImageDraw

BLOOD_LABELS = ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL")


def write_plain_image(
    path: Path, color: tuple[int, int, int] = (10, 20, 30), size: int = 24
) -> Path:
    """A one-color image file, its folder made if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), color).save(path)
    return path


def write_noise_image(path: Path, seed: int, width: int = 24, height: int = 24) -> Path:
    """An image file of random pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def class_folders(root: Path, counts: dict[str, int]) -> Path:
    """One folder per class with that many different images."""
    seed = 0
    for label, count in counts.items():
        for number in range(count):
            write_noise_image(root / label / f"{number:03}.png", seed)
            seed += 1
    return root


def chest(root: Path, parts: Iterable[str] = ("train", "test", "val")) -> Path:
    """A tiny data set in the layout and with the file names of Kaggle's chest set."""
    seed = 0
    for number, part in enumerate(parts):
        for i in range(10):
            write_noise_image(root / part / "NORMAL" / f"IM-{number * 50 + i:04}-0001.jpeg", seed)
            name = f"person{number * 50 + i // 2}_{('bacteria', 'virus')[i % 2]}_{seed}.jpeg"
            write_noise_image(root / part / "PNEUMONIA" / name, seed + 1)
            seed += 2
    return root


def blood(root: Path) -> Path:
    """A tiny data set in the layout of Kaggle's blood set; every class has one name twice."""
    for seed, label in enumerate(BLOOD_LABELS):
        for i in range(10):
            write_noise_image(root / "TRAIN" / label / f"_x{seed}_{i}.jpeg", 100 * seed + i)
        for i in range(9, 14):
            write_noise_image(root / "TEST" / label / f"_x{seed}_{i}.jpeg", 100 * seed + 50 + i)
        write_noise_image(root / "TEST_SIMPLE" / label / f"_x{seed}_99.jpeg", 100 * seed + 99)
    return root


def draw_scene(seed: int, width: int = 640, height: int = 480) -> Image.Image:
    """A picture full of blots of every size and color, unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (width, height), (230, 220, 225))
    draw = ImageDraw.Draw(image)
    for _ in range(width * height // 1000):
        x, y, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(3, 30)
        outline = [
            (x + r * np.cos(t) * rng.uniform(0.4, 1), y + r * np.sin(t) * rng.uniform(0.4, 1))
            for t in np.linspace(0, 6.2, 9)
        ]
        draw.polygon(outline, fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
    return image


def make_altered_copy(
    original: Image.Image, turn: float, mirror: bool = False, shear: float = 0.0, shift: float = 0.0
) -> Image.Image:
    """A copy of half the width, as augmentation makes it: `turn` degrees, `shift` of the width."""
    size = (original.width // 2, original.height // 2)
    cos, sin = 2 * np.cos(np.radians(turn)), 2 * np.sin(np.radians(turn))
    a, b, d, e = cos * (-1 if mirror else 1), -sin + shear, sin * (-1 if mirror else 1), cos
    x, y = original.width / 2 + shift * original.width, original.height / 2
    matrix = (a, b, x - (a * size[0] + b * size[1]) / 2, d, e, y - (d * size[0] + e * size[1]) / 2)
    return original.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
