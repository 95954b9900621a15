"""What each split protocol makes of a data set, and how much its test set can tell at best."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace

import numpy as np
from scipy.stats import binomtest

from study.common.errors import DataError
from study.data.prepare import Samples
from study.data.split import leaking
from study.data.split import make_split
from study.data.split import NAMES
from study.data.split import Split

PROTOCOLS = ("pooled", "official", "grouped")
SEED = 0


@dataclass(frozen=True)
class Interval:
    """How wide a 95 % interval a number of independent groups leaves, at worst."""

    groups: int
    low: float  # 0 to 1
    high: float


@dataclass(frozen=True)
class Protocol:
    """One split with seed 0, or why there is none."""

    name: str
    impossible: str  # "" if it is possible; then the rest counts
    sizes: dict[str, int]  # train, val, test -> images
    leaking: int  # test images that have a sibling (same group) in train
    accuracy: Interval | None
    recall: dict[str, Interval]  # by class


def protocol_facts(name: str, data: Samples, group_of: Mapping[str, str]) -> Protocol:
    """Draws the split of a protocol and looks at its test set.

    Args:
        name: "pooled", "official" or "grouped".
        data: the usable images; the split is drawn as training would from these.
        group_of: the group of each usable image.
    """
    data_with_groups = replace(data, groups=tuple(group_of[image] for image in data.images))
    try:
        split = make_split(data_with_groups if name == "grouped" else data, name, SEED)
    except DataError as error:
        return Protocol(name, str(error), {}, 0, None, {})
    rows = [split.test[data.y[split.test] == label] for label in range(len(data.classes))]
    tested = [{group_of[data.images[row]] for row in members} for members in rows]
    return Protocol(
        name,
        impossible="",
        sizes={part: len(getattr(split, part)) for part in NAMES},
        leaking=leaking(data_with_groups, split) or 0,
        accuracy=least_favorable(len(set().union(*tested))),
        recall={
            label: least_favorable(len(groups))
            for label, groups in zip(data.classes, tested, strict=True)
        },
    )


def least_favorable(groups: int) -> Interval:
    """The Wilson interval at the accuracy where it is widest, about one half.

    If the images of one group stand or fall together, the groups are the trials that count.

    Args:
        groups: independent groups, 1 or more.
    """
    found = binomtest(round(groups / 2), groups).proportion_ci(0.95, method="wilson")
    return Interval(groups, round(float(found.low), 4), round(float(found.high), 4))


def part_of(data: Samples) -> dict[str, str]:
    """The part of each image in the pooled split; empty if that is impossible."""
    try:
        split: Split = make_split(data, "pooled", SEED)
    except DataError:
        return {}
    rows: Sequence[tuple[str, np.integer]] = [
        (part, row) for part in NAMES for row in getattr(split, part)
    ]
    return {data.images[row]: part for part, row in rows}
