"""Hold a trial's images, labels and split."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Arrays:
    """A trial's images, labels and split.

    x: uint8 (N, size, size, 3); y: int64 (N,), class index; train, val and test: row numbers.
    """

    x: NDArray[np.uint8]
    y: NDArray[np.int64]
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]
    num_classes: int

    def weigh_classes(self, class_weights: str) -> NDArray[np.float32] | None:
        """Return the weight of each class in the training loss, or None if images count alike.

        float32 (num_classes,); the mean over the training images is 1.

        Args:
            class_weights: the config's, `none` or `balanced`.
        """
        if class_weights == "none":
            return None
        counts = np.bincount(self.y[self.train], minlength=self.num_classes)
        present = np.count_nonzero(counts)
        return (len(self.train) / (present * np.maximum(counts, 1))).astype(np.float32)
