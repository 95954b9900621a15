"""Draw a data set's splits, and compute how much their test sets can show at best."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace

import numpy as np
from scipy.stats import binomtest

from study.common.errors import DataError
from study.data.prepare import Samples
from study.data.split import count_leaking_images
from study.data.split import make_split
from study.data.split import PART_NAMES
from study.data.split import Split

SPLITS = ("pooled", "official", "grouped")
SEED = 0


@dataclass(frozen=True)
class Interval:
    """The widest 95 % interval for a number of independent groups."""

    groups: int
    low: float  # 0 to 1
    high: float


@dataclass(frozen=True)
class SplitFacts:
    """The facts about one split with seed 0, or why it is not possible."""

    name: str
    impossible: str  # the reason; "" if it is possible, and only then the other fields count
    sizes: dict[str, int]  # train, val, test -> images
    leaking: int  # test images that have a sibling (same group) in train, as far as groups tell
    is_minimum: bool  # whether the groups are near-duplicates alone, so that siblings are missed
    accuracy: Interval | None
    recall: dict[str, Interval]  # by class


def examine_split(
    name: str,
    data: Samples,
    group_of: Mapping[str, str],
    sibling_of: Mapping[str, str] | None = None,
    *,
    is_minimum: bool = False,
) -> SplitFacts:
    """Draw a split and examine its test set.

    Args:
        name: "pooled", "official" or "grouped".
        data: the usable images. The split is drawn from these as training would draw it.
        group_of: the group of each usable image, which a grouped split keeps together.
        sibling_of: the groups by which siblings are counted. By default, those of `group_of`.
        is_minimum: whether these groups may miss siblings.
    """
    data_with_groups = replace(data, groups=tuple(group_of[image] for image in data.images))
    siblings = group_of if sibling_of is None else sibling_of
    data_with_siblings = replace(data, groups=tuple(siblings[image] for image in data.images))
    try:
        split = make_split(data_with_groups if name == "grouped" else data, name, SEED)
    except DataError as error:
        return SplitFacts(name, str(error), {}, 0, is_minimum, None, {})
    rows_of_class = [split.test[data.y[split.test] == label] for label in range(len(data.classes))]
    groups_of_class = [{siblings[data.images[row]] for row in rows} for rows in rows_of_class]
    return SplitFacts(
        name,
        impossible="",
        sizes={part: len(getattr(split, part)) for part in PART_NAMES},
        leaking=count_leaking_images(data_with_siblings, split) or 0,
        is_minimum=is_minimum,
        accuracy=compute_widest_interval(len(set().union(*groups_of_class))),
        recall={
            label: compute_widest_interval(len(groups))
            for label, groups in zip(data.classes, groups_of_class, strict=True)
        },
    )


def compute_widest_interval(groups: int) -> Interval:
    """Return the Wilson interval at the accuracy where it is widest, about one half.

    Groups are counted, not images: all images of a group are assumed to be classified alike, right
    or wrong.

    Args:
        groups: independent groups, 1 or more.
    """
    interval = binomtest(round(groups / 2), groups).proportion_ci(0.95, method="wilson")
    return Interval(groups, round(float(interval.low), 4), round(float(interval.high), 4))


def draw_pooled_parts(data: Samples) -> dict[str, str]:
    """Return the part of each image in the pooled split.

    The result is empty if that split is not possible.
    """
    try:
        split: Split = make_split(data, "pooled", SEED)
    except DataError:
        return {}
    rows: Sequence[tuple[str, np.integer]] = [
        (part, row) for part in PART_NAMES for row in getattr(split, part)
    ]
    return {data.images[row]: part for part, row in rows}
