"""Draw an image and its heat map as pictures for a page."""

import base64
import io

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 224  # pixels, the longest side of a picture
STRONGEST = 0.55  # share of the heat map's color where the heat is 1
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "center", "right")


def overlay_heat(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return an image (size, size, 3) with its heat map (h, w), 0 to 1, laid over it.

    Where the heat is 0 the image is unchanged.
    """
    size = pixels.shape[:2][::-1]
    smooth = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR))
    share = STRONGEST * smooth[..., None]
    colors = matplotlib.colormaps["viridis"](smooth)[..., :3] * 255
    mixed: NDArray[np.float64] = (1 - share) * pixels + share * colors
    return mixed.round().astype(np.uint8)


def describe_heat(heat: NDArray[np.float32], predicted: str) -> str:
    """Describe a heat map: `heat map for NORMAL, strongest at the top left`."""
    if not heat.any():
        return f"empty heat map for {predicted}"
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    vertical = _name_third(ROWS, row, heat.shape[0])
    horizontal = _name_third(COLUMNS, column, heat.shape[1])
    return f"heat map for {predicted}, strongest at the {vertical} {horizontal}"


def _name_third(names: tuple[str, ...], cell: np.intp, cells: int) -> str:
    return names[int((cell + 0.5) * len(names) / cells)]


def encode_data_uri(pixels: NDArray[np.uint8]) -> str:
    """Return an image as a JPEG data URI, at most `SIDE` pixels a side."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    # Subsampling (4:2:0) blurs colors, which would be visible in a small picture
    subsampling = 0 if picture.width < 128 else 2
    picture.save(stream, "JPEG", quality=80, subsampling=subsampling)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
