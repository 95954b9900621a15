"""A logged model as MLflow loads it: images in, the probability of each class out, by name.

This file and `data/decode.py` go into every logged model, as the package `finetune_study`, so that
it answers anywhere, from the pixels that training would see. They import nothing else of `study`.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray
from PIL import Image

from ..data.decode import BadImage
from ..data.decode import decode


class Classifier:
    """A trained network, the size of image it takes, and the names of its classes."""

    def __init__(self, file: str, classes: Sequence[str]) -> None:
        # safe: a file from elsewhere must not bring code along
        self._network = keras.saving.load_model(file, compile=False, safe_mode=True)
        self.classes = list(classes)
        self.size = int(self._network.input_shape[1])

    def predict(self, table: pd.DataFrame) -> pd.DataFrame:
        """What MLflow calls: a column `image` in, one column per class (float32) out.

        An image is a file's bytes (JPEG, PNG and so on), the same in base64, as JSON has it, or
        uint8 RGB pixels (height, width, 3) of any size.

        Raises:
            MlflowException: an image is none of these; HTTP 400 when served.
        """
        pixels = []
        for number, image in enumerate(table["image"], start=1):
            try:
                pixels.append(self.pixels(image))
            except BadImage as error:
                raise MlflowException.invalid_parameter_value(f"image {number}: {error}") from None
        shape = (-1, self.size, self.size, 3)
        return self.named(np.reshape(pixels, shape).astype(np.uint8), table.index)

    def pixels(self, image: Any) -> NDArray[np.uint8]:
        """An image in any of these forms as uint8 RGB (size, size, 3).

        Raises:
            BadImage: it is none of them.
        """
        if isinstance(image, str):
            try:
                image = base64.b64decode(image)
            except binascii.Error:
                raise BadImage("no base64") from None
        if isinstance(image, bytes):
            return decode(image, self.size)
        picture = Image.fromarray(_checked(image))
        square = picture.resize((self.size, self.size), Image.Resampling.BILINEAR)
        return np.asarray(square)  # as `decode` does, but that a JPEG may come smaller there

    def named(self, pixels: NDArray[np.uint8], index: Any = None) -> pd.DataFrame:
        """Probabilities of images (n, size, size, 3), one column per class; each row sums to 1."""
        values = np.empty((0, len(self.classes)), np.float32)
        if len(pixels):
            values = self._network.predict(pixels, verbose=0)
        return pd.DataFrame(values, columns=self.classes, index=index)


def _checked(image: Any) -> NDArray[np.uint8]:
    try:
        values = np.asarray(image)
    except ValueError:  # rows of different lengths
        values = np.empty(0)
    if values.ndim != 3 or values.shape[2] != 3 or 0 in values.shape:
        raise BadImage("neither an encoded image nor pixels of shape (height, width, 3)")
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 255:
        raise BadImage("pixels must be whole numbers from 0 to 255")
    return values.astype(np.uint8)


def _load_pyfunc(data_path: str, model_config: dict[str, Any]) -> Classifier:
    """The name, and the arguments, by which MLflow calls it."""
    return Classifier(data_path, model_config["classes"])
