"""Right answers of one config on its test images, by group and seed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """One config's test images by group and seed, as arrays of shape (groups, seeds)."""

    right: Array
    tested: Array

    @property
    def accuracy_by_seed(self) -> Array:
        """Return the accuracy of each seed, 0 to 1."""
        accuracies: Array = self.right.sum(axis=0) / self.tested.sum(axis=0)
        return accuracies

    @property
    def group_weights(self) -> Array:
        """Return each group's share of the mean accuracy over the seeds. They sum to 1."""
        weights: Array = (self.tested / self.tested.sum(axis=0)).mean(axis=1)
        return weights

    def drop_empty_groups(self) -> "Counts":
        """Return the counts without groups that no seed tested."""
        has_images = self.tested.any(axis=1)
        return Counts(self.right[has_images], self.tested[has_images])

    def subtract(self, base: "Counts") -> "Counts":
        """Return how many more right answers these counts have, without empty groups.

        Args:
            base: of the same groups, in the same order, and the same seeds. Its `tested` is equal.
        """
        return Counts(self.right - base.right, base.tested).drop_empty_groups()
