"""Assumptions about a study for which there are no runs yet."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Assumptions:
    """The size of a test set, and how much answers on it vary."""

    accuracy: float  # of both variants, 0 to 1
    groups: int  # behind the test images
    images: int  # of the test set
    correlation: float  # between images of a group, 0 to 1
    agreement: float  # between two variants on an image, 0 to 1
    points: float  # standard deviation between seeds, in points of accuracy
