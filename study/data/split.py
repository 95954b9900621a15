"""Split images into train, val and test.

The split is pooled as in the reports, official or grouped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from study.common.errors import DataError
from study.data.group_split import draw_by_group
from study.data.group_split import Rows
from study.data.prepare import Samples
from study.data.registry import get_dataset

PART_NAMES = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """Three disjoint sets of row numbers of `Samples`, each sorted."""

    train: Rows
    val: Rows
    test: Rows


def make_split(
    data: Samples, kind: str, seed: int, limit: int = 0, fold: int = 0, folds: int = 0
) -> Split:
    """Draw a split.

    The same arguments give the same split.

    Args:
        data: the images.
        kind: "pooled" (64/16/20 per class, at random, as in the reports), "official" (the
            set's own test folder) or "grouped" (close to 64/16/20, no group in two parts).
        seed: the seed of all random draws.
        limit: keep about this many images in all: the same share of every class of every part,
            and at least one of each. 0 keeps all images.
        fold: the number of the fold that is the test set, 1 to `folds`.
        folds: for "grouped": divide the groups into this many folds. They are the same for every
            `fold` of a seed, so that each image is tested once. Of the other folds, 20 % is val.
            0 for no folds.

    Raises:
        DataError: the kind is unknown or not possible for this data set, or a class has too few
            images or groups to be in every part.
    """
    draws = {"pooled": _draw_pooled, "official": _draw_official, "grouped": _draw_grouped}
    draw = draws.get(kind)
    if draw is None:
        raise DataError(f"split {kind!r} is unknown: choose pooled, official or grouped")
    if (fold or folds) and (kind != "grouped" or not 1 <= fold <= folds):
        raise DataError(
            f"fold {fold} of {folds} is not possible in the {kind} split: "
            "use the grouped split, and a fold from 1 to the number of folds"
        )
    rng = np.random.default_rng(seed)
    parts = _draw_fold(data, rng, fold, folds) if folds else draw(data, rng)
    _check_classes(data, kind, parts)
    if limit:
        parts = _limit_parts(data, parts, limit, rng)
    return Split(*(np.sort(part) for part in parts))


def count_leaking_images(data: Samples, split: Split) -> int | None:
    """Return how many test images belong to a group that is also in train.

    Returns None if the groups are unknown.
    """
    if data.groups is None:
        return None
    train_groups = {data.groups[row] for row in split.train}
    return sum(data.groups[row] in train_groups for row in split.test)


def count_test_groups(data: Samples, split: Split) -> int | None:
    """Return how many independent groups the test images come from.

    Returns None if the groups are unknown.
    """
    return None if data.groups is None else len({data.groups[row] for row in split.test})


def get_report_sizes(dataset: str, kind: str) -> tuple[int, int, int] | None:
    """Return the numbers of images in train, val and test of the report.

    They are those of the full data set. Returns None if there is no report on this data set
    and split.

    Raises:
        DataError: the data set is unknown.
    """
    return get_dataset(dataset).report_sizes.get(kind)


def _draw_pooled(data: Samples, rng: np.random.Generator) -> list[Rows]:
    rows = _pool_rows(data)
    rest, test = _cut_by_image(data, rows, rng)
    train, val = _cut_by_image(data, rest, rng)
    return [train, val, test]


def _draw_official(data: Samples, rng: np.random.Generator) -> list[Rows]:
    folders = np.array(data.folders)
    train, val, test = (np.flatnonzero(folders == name) for name in PART_NAMES)
    if not len(train) or not len(test):
        raise DataError(
            f"{data.dataset} has no official train and test folders: use the pooled split"
            + (" or the grouped one" if data.groups else "")
        )
    if not len(val) or not get_dataset(data.dataset).has_usable_val:
        cut_rows = _cut_by_image if data.groups is None else _cut_by_group
        train, val = cut_rows(data, train, rng)
    return [train, val, test]


def _draw_grouped(data: Samples, rng: np.random.Generator) -> list[Rows]:
    return draw_by_group(data, _pool_rows(data), (0.64, 0.16, 0.20), rng)


def _draw_fold(data: Samples, rng: np.random.Generator, fold: int, folds: int) -> list[Rows]:
    # With two folds, train and val both come out of a single fold. A fold is then made of two
    # pieces, so that it holds at least two groups of every class.
    pieces_per_fold = 2 if folds == 2 else 1
    count = folds * pieces_per_fold
    pieces = draw_by_group(data, _pool_rows(data), (1 / count,) * count, rng)
    test_numbers = range((fold - 1) * pieces_per_fold, fold * pieces_per_fold)
    rest = np.concatenate([rows for n, rows in enumerate(pieces) if n not in test_numbers])
    train, val = _cut_by_group(data, rest, rng)
    return [train, val, np.concatenate([pieces[n] for n in test_numbers])]


def _pool_rows(data: Samples) -> Rows:
    """Return the rows that a split of the whole data set draws from.

    These are all rows, or the last row of each class and file name.
    """
    if not data.one_per_name:
        return np.arange(len(data.images))
    names = [image.rsplit("/", 1)[-1] for image in data.images]
    last_rows = {key: row for row, key in enumerate(zip(data.y.tolist(), names, strict=True))}
    return np.array(list(last_rows.values()), np.int64)


def _cut_by_image(data: Samples, rows: Rows, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Cut int(0.2 n) random rows off the n rows of every class.

    Returns (rest, cut).
    """
    rest = []
    cut = []
    for label in range(len(data.classes)):
        members = rng.permutation(rows[data.y[rows] == label])
        count = int(0.2 * len(members))
        cut.append(members[:count])
        rest.append(members[count:])
    return np.concatenate(rest), np.concatenate(cut)


def _cut_by_group(data: Samples, rows: Rows, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Cut whole groups, about 20 % of every class, off the rows.

    Returns (rest, cut).
    """
    rest, cut = draw_by_group(data, rows, (0.8, 0.2), rng)
    return rest, cut


def _check_classes(data: Samples, kind: str, parts: list[Rows]) -> None:
    """Raise DataError if a class is missing from a part."""
    for label, name in enumerate(data.classes):
        sizes = [int((data.y[part] == label).sum()) for part in parts]
        if 0 in sizes:
            missing = PART_NAMES[sizes.index(0)]
            counts = ", ".join(
                f"{part} {size}" for part, size in zip(PART_NAMES, sizes, strict=True)
            )
            raise DataError(
                f"class {name!r} is missing from {missing} in the {kind} split ({counts} of "
                f"its usable images): add images{' or groups' if kind == 'grouped' else ''} "
                "of it, or remove the class"
            )


def _limit_parts(
    data: Samples, parts: list[Rows], limit: int, rng: np.random.Generator
) -> list[Rows]:
    """Keep about `limit` rows in all: the same share of every class of every part."""
    share = min(1.0, limit / sum(len(part) for part in parts))
    smaller_parts = []
    for part in parts:
        rows_by_class = [part[data.y[part] == label] for label in range(len(data.classes))]
        samples = [
            rng.permutation(rows)[: max(1, round(share * len(rows)))] for rows in rows_by_class
        ]
        smaller_parts.append(np.concatenate(samples))
    return smaller_parts


def format_split(split: Split) -> str:
    """Return the sizes of a split as `train/val/test`."""
    return format_sizes([len(split.train), len(split.val), len(split.test)])


def format_sizes(sizes: Sequence[int]) -> str:
    """Return sizes as `4185/1046/624`."""
    return "/".join(str(size) for size in sizes)
