"""An image and its heat map as pictures for a page."""

import base64
import io

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 224  # pixels, at most
STRONGEST = 0.55  # share of color where the heat is 1
ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "center", "right")


def heated(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """An image (size, size, 3) under its heat map (h, w) of 0 to 1: as it is where that is 0."""
    size = pixels.shape[:2][::-1]
    smooth = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR))
    share = STRONGEST * smooth[..., None]
    colors = matplotlib.colormaps["viridis"](smooth)[..., :3] * 255
    mixed: NDArray[np.float64] = (1 - share) * pixels + share * colors
    return mixed.round().astype(np.uint8)


def heat_text(heat: NDArray[np.float32], predicted: str) -> str:
    """For those who do not see it: as `heat map for NORMAL, strongest at the top left`."""
    if not heat.any():
        return f"empty heat map for {predicted}"
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    place = f"{_third(ROWS, row, heat.shape[0])} {_third(COLUMNS, column, heat.shape[1])}"
    return f"heat map for {predicted}, strongest at the {place}"


def _third(names: tuple[str, ...], cell: np.intp, cells: int) -> str:
    return names[int((cell + 0.5) * len(names) / cells)]


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """`data:image/jpeg;base64,...`, with sides of up to `SIDE` pixels."""
    shown = Image.fromarray(pixels)
    shown.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    smear = 0 if shown.width < 128 else 2  # of colors, which small pictures cannot bear
    shown.save(stream, "JPEG", quality=80, subsampling=smear)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
