"""Find the highest of several means, which may tie."""

import math
from collections.abc import Sequence

# Equal counts of right answers may give means that differ by rounding. One image of a million
# changes an accuracy by as much.
TOLERANCE = 1e-6


def find_highest(values: Sequence[float]) -> list[int]:
    """Return the indices of the highest values, in order.

    There are several if they tie, and none if no value is a number.
    """
    numbers = [value for value in values if not math.isnan(value)]
    if not numbers:
        return []
    least = max(numbers) - TOLERANCE
    return [index for index, value in enumerate(values) if value >= least]
