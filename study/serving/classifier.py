"""Classify images with a logged model, as MLflow loads it.

Images go in, and the probability of each class comes out, by the name of the class.

This file and those that decode images (see `CODE` in `export.py`) are copied into every logged
model, as a package that is named after their content. So the model works anywhere, from the pixels
that training would see. None of these files may import anything else of `study`.
"""

import base64
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray
from PIL import Image

from ..data.decode import decode
from ..data.intact import BadImage


class Classifier:
    """A trained network, with its image size and the names of its classes."""

    def __init__(self, file: str, classes: Sequence[str]) -> None:
        # KERAS_MAX_STEPS_PER_EPOCH, an aid for debugging, would leave images out.
        keras.config.set_max_steps_per_epoch(None)
        # Safe mode: a file from elsewhere must not bring code along.
        self._network = keras.saving.load_model(file, compile=False, safe_mode=True)
        self.classes = list(classes)
        self.size = int(self._network.input_shape[1])

    def predict(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the probabilities of the images in a table.

        MLflow calls this method.

        Args:
            table: has a column `image`. An image is a file's bytes (JPEG, PNG and so on), the same
                bytes in base64, as JSON needs them, or uint8 RGB pixels (height, width, 3) of any
                size.

        Returns:
            One column per class (float32).

        Raises:
            MlflowException: an image is none of these. A server answers with HTTP 400.
        """
        pixels = []
        for number, image in enumerate(table["image"], start=1):
            try:
                pixels.append(self.pixels(image))
            except BadImage as error:
                raise MlflowException.invalid_parameter_value(f"image {number}: {error}") from None
        shape = (-1, self.size, self.size, 3)
        return self.predict_pixels(np.reshape(pixels, shape).astype(np.uint8), table.index)

    def pixels(self, image: Any) -> NDArray[np.uint8]:
        """Return an image as uint8 RGB (size, size, 3).

        Args:
            image: in any of the forms that `predict` takes.

        Raises:
            BadImage: it is in none of these forms.
        """
        if isinstance(image, str):
            try:
                image = base64.b64decode(image)
            except ValueError:  # also of text that is not ASCII
                raise BadImage("not base64") from None
        if isinstance(image, bytes):
            return decode(image, self.size)
        picture = Image.fromarray(_check_pixels(image))
        # This is what `decode` does, too, except that it may read a JPEG at a reduced size.
        square = picture.resize((self.size, self.size), Image.Resampling.BILINEAR)
        return np.asarray(square)

    def predict_pixels(self, pixels: NDArray[np.uint8], index: Any = None) -> pd.DataFrame:
        """Return the probabilities of images (n, size, size, 3), one column per class.

        Each row sums to 1.
        """
        values = np.empty((0, len(self.classes)), np.float32)
        if len(pixels):
            values = self._network.predict(pixels, verbose=0)
        return pd.DataFrame(values, columns=self.classes, index=index)


def _check_pixels(image: Any) -> NDArray[np.uint8]:
    """Return pixels as uint8 (height, width, 3).

    Raises:
        BadImage: they are not RGB pixels with values from 0 to 255.
    """
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
    """Load a logged model.

    MLflow requires this name and these arguments.
    """
    return Classifier(data_path, model_config["classes"])
