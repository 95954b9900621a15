"""How images part into train, val and test: pooled as in the reports, official, or grouped."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from study.common.errors import DataError
from study.data.prepare import Samples
from study.data.registry import dataset_named

NAMES = ("train", "val", "test")
ORDERS = 32  # random orders of the groups that a draw tries: 0.1 s for chest's 4,082 patients

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Three disjoint sets of row numbers of `Samples`, each sorted."""

    train: Rows
    val: Rows
    test: Rows


def make_split(
    data: Samples, protocol: str, seed: int, limit: int = 0, fold: int = 0, folds: int = 0
) -> Split:
    """Draws a split; the same arguments give the same split.

    Args:
        data: the images.
        protocol: "pooled" (64/16/20 per class, at random, as in the reports), "official" (the
            set's own test folder) or "grouped" (near 64/16/20, no group on two sides).
        seed: of all draws.
        limit: keep about this many images in all, the same share of every class of every part,
            at least one of each; 0 keeps all.
        fold: which of the `folds` folds is the test set, 1 to `folds`.
        folds: for "grouped": part the groups into this many folds, the same for every `fold` of a
            seed, so that each image is tested once; of the rest 20 % is val. 0 for none.

    Raises:
        DataError: the protocol is unknown or not possible for this set, or a class has too few
            images or groups to be in every part.
    """
    draw = {"pooled": _pooled, "official": _official, "grouped": _grouped}.get(protocol)
    if draw is None:
        raise DataError(f"split {protocol!r} is unknown: choose pooled, official or grouped")
    if (fold or folds) and (protocol != "grouped" or not 1 <= fold <= folds):
        raise DataError(f"no fold {fold} of {folds} in the {protocol} split: use grouped, 1 to n")
    rng = np.random.default_rng(seed)
    parts = _fold(data, rng, fold, folds) if folds else draw(data, rng)
    _check(data, protocol, parts)
    if limit:
        parts = _limited(data, parts, limit, rng)
    return Split(*(np.sort(part) for part in parts))


def leaking(data: Samples, split: Split) -> int | None:
    """How many test images have a sibling (same group) in train; None if groups are unknown."""
    if data.groups is None:
        return None
    trained = {data.groups[row] for row in split.train}
    return sum(data.groups[row] in trained for row in split.test)


def groups_tested(data: Samples, split: Split) -> int | None:
    """How many independent groups the test images come from; None if groups are unknown."""
    return None if data.groups is None else len({data.groups[row] for row in split.test})


def report_sizes(dataset: str, protocol: str) -> tuple[int, int, int] | None:
    """Images in train, val and test of the report on the full data set; None if there is none.

    Raises:
        DataError: the data set is unknown.
    """
    return dataset_named(dataset).report_sizes.get(protocol)


def _pooled(data: Samples, rng: np.random.Generator) -> list[Rows]:
    rows = _pool(data)
    rest, test = _cut_by_image(data, rows, rng)
    train, val = _cut_by_image(data, rest, rng)
    return [train, val, test]


def _official(data: Samples, rng: np.random.Generator) -> list[Rows]:
    folders = np.array(data.folders)
    train, val, test = (np.flatnonzero(folders == name) for name in NAMES)
    if not len(train) or not len(test):
        raise DataError(
            f"{data.dataset} has no official train and test folders: use the pooled split"
            + (" or the grouped one" if data.groups else "")
        )
    if not len(val) or not dataset_named(data.dataset).own_val:
        cut = _cut_by_image if data.groups is None else _cut_by_group
        train, val = cut(data, train, rng)
    return [train, val, test]


def _grouped(data: Samples, rng: np.random.Generator) -> list[Rows]:
    return _by_group(data, _pool(data), (0.64, 0.16, 0.20), rng)


def _fold(data: Samples, rng: np.random.Generator, fold: int, folds: int) -> list[Rows]:
    # of two folds one is all that train and val have, so each is made of two pieces
    pieces = 2 if folds == 2 else 1
    count = folds * pieces
    drawn = _by_group(data, _pool(data), (1 / count,) * count, rng)
    tested = range((fold - 1) * pieces, fold * pieces)
    rest = np.concatenate([rows for piece, rows in enumerate(drawn) if piece not in tested])
    train, val = _cut_by_group(data, rest, rng)
    return [train, val, np.concatenate([drawn[piece] for piece in tested])]


def _pool(data: Samples) -> Rows:
    """All rows; for the reports' sets, of several of one class and name the last only."""
    if not dataset_named(data.dataset).one_per_name:
        return np.arange(len(data.images))
    names = [image.rsplit("/", 1)[-1] for image in data.images]
    kept = {key: row for row, key in enumerate(zip(data.y.tolist(), names, strict=True))}
    return np.array(list(kept.values()), np.int64)


def _cut_by_image(data: Samples, rows: Rows, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """(rest, cut): of the n rows of every class, int(0.2 n) at random are cut off."""
    rest, cut = [], []
    for label in range(len(data.classes)):
        members = rng.permutation(rows[data.y[rows] == label])
        count = int(0.2 * len(members))
        cut.append(members[:count])
        rest.append(members[count:])
    return np.concatenate(rest), np.concatenate(cut)


def _cut_by_group(data: Samples, rows: Rows, rng: np.random.Generator) -> tuple[Rows, Rows]:
    rest, cut = _by_group(data, rows, (0.8, 0.2), rng)
    return rest, cut


def _by_group(
    data: Samples, rows: Rows, shares: tuple[float, ...], rng: np.random.Generator
) -> list[Rows]:
    """One part per share, near it in every class, all images of a group in one part.

    Groups come in random order; each goes where its classes lack most, relative to the aim. Of
    `ORDERS` such draws, made side by side, the one nearest the aim counts. Where groups are of one
    class each, no class is missing from a part, nor above its aim there by more than its largest
    group, nor below it by more than that times share * (parts - 1).
    """
    group, held = _groups_of(data, rows, needed=len(shares))
    aim = np.array(shares)[:, None]
    filled = np.zeros((ORDERS, len(shares), held.shape[1]))  # shares of each class
    part_of = np.zeros((ORDERS, len(held)), np.int64)
    every = np.arange(ORDERS)
    for groups in rng.permuted(np.tile(np.arange(len(held)), (ORDERS, 1)), axis=1).T:
        full = filled + 1e-9 * filled.mean(2, keepdims=True)  # of equal parts the smaller
        lack = np.einsum("opc,oc->op", 1 - full / aim, held[groups])
        part_of[every, groups] = lack.argmax(1)
        filled[every, lack.argmax(1)] += held[groups]
    off = np.where(filled == 0, np.inf, abs(filled / aim - 1)).max((1, 2))
    best = part_of[off.argmin()][group]
    return [rows[best == part] for part in range(len(shares))]


def _groups_of(data: Samples, rows: Rows, needed: int) -> tuple[Rows, npt.NDArray[np.float64]]:
    """The group number of each row, and the share that each group has of each class."""
    if data.groups is None:
        raise DataError(
            f"no groups known for {data.dataset}: use the pooled split"
            + (
                f", or find groups with `python -m study.data.audit --dataset '{data.dataset}'`"
                if data.dataset.startswith("folder:")
                else ""
            )
        )
    names, group = np.unique(np.array(data.groups)[rows], return_inverse=True)
    counts = np.zeros((len(names), len(data.classes)))
    np.add.at(counts, (group, data.y[rows]), 1)
    for name, found in zip(data.classes, (counts > 0).sum(0).tolist(), strict=True):
        if found < needed:
            fewer = f", use {found} folds" * (found > 2)
            raise DataError(
                f"class {name!r} has {found} group{'s' * (found != 1)}, and to be on every side of "
                f"this split it needs {needed}: add images of other groups{fewer}, or "
                "remove the class"
            )
    return group, counts / counts.sum(0)


def _check(data: Samples, protocol: str, parts: list[Rows]) -> None:
    for label, name in enumerate(data.classes):
        sizes = [int((data.y[part] == label).sum()) for part in parts]
        if 0 in sizes:
            missing = NAMES[sizes.index(0)]
            counts = ", ".join(f"{n} {size}" for n, size in zip(NAMES, sizes, strict=True))
            raise DataError(
                f"class {name!r} is missing from {missing} in the {protocol} split ({counts} of "
                f"its usable images): add images{' or groups' if protocol == 'grouped' else ''} "
                "of it, or remove the class"
            )


def _limited(data: Samples, parts: list[Rows], limit: int, rng: np.random.Generator) -> list[Rows]:
    share = min(1.0, limit / sum(len(part) for part in parts))
    kept = []
    for part in parts:
        classes = [part[data.y[part] == label] for label in range(len(data.classes))]
        counts = [max(1, round(share * len(rows))) for rows in classes]
        drawn = zip(classes, counts, strict=True)
        kept.append(np.concatenate([rng.permutation(rows)[:count] for rows, count in drawn]))
    return kept
