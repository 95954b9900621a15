"""Divide whole groups of images into parts that are close to their target in every class."""

import numpy as np
import numpy.typing as npt

from study.common.errors import DataError
from study.common.folder_names import is_folder_name
from study.data.names import format_audit_command
from study.data.prepare import Samples

Rows = npt.NDArray[np.int64]
# Random orders of the groups that a grouped split tries. All of them take 0.1 s for the 4,082
# patients of chest.
ORDERS = 32


def draw_by_group(
    data: Samples, rows: Rows, shares: tuple[float, ...], rng: np.random.Generator
) -> list[Rows]:
    """Draw one part per share, with all images of a group in the same part.

    Each part gets close to its share of every class. Groups are taken in random order, and each is
    put into the part where its classes fall shortest of their target, relative to that target.
    `ORDERS` such draws are made at once, and the one closest to the targets is returned.

    Where every group holds images of one class only, no class is missing from a part. A part holds
    more of a class than its target by at most the class's largest group, and less than its target
    by at most that group times share * (parts - 1).
    """
    group_of_row, class_shares = _measure_groups(data, rows, needed=len(shares))
    count = len(class_shares)
    target = np.array(shares)[:, None]
    # (draws, parts, classes): the share of each class that each part holds so far
    filled = np.zeros((ORDERS, len(shares), class_shares.shape[1]))
    part_of_group = np.zeros((ORDERS, count), np.int64)
    draws = np.arange(ORDERS)
    # each step places one group of every draw
    for groups in rng.permuted(np.tile(np.arange(count), (ORDERS, 1)), axis=1).T:
        # the small term decides between equal parts: the one that holds less comes first
        level = filled + 1e-9 * filled.mean(2, keepdims=True)
        deficit = np.einsum("opc,oc->op", 1 - level / target, class_shares[groups])
        parts = deficit.argmax(1)
        part_of_group[draws, groups] = parts
        filled[draws, parts] += class_shares[groups]
    # (draws,): a draw that leaves a class out of a part comes last
    max_deviation = np.where(filled == 0, np.inf, abs(filled / target - 1)).max((1, 2))
    part_of_row = part_of_group[max_deviation.argmin()][group_of_row]
    return [rows[part_of_row == part] for part in range(len(shares))]


def _measure_groups(data: Samples, rows: Rows, needed: int) -> tuple[Rows, npt.NDArray[np.float64]]:
    """Return the group number of each row, and each group's share of each class.

    Their shapes are (rows,) and (groups, classes).

    Raises:
        DataError: the groups are unknown, or a class has fewer than `needed` groups.
    """
    if data.groups is None:
        reason = f" ({data.why_no_groups})" if data.why_no_groups else ""
        is_folder = is_folder_name(data.dataset)
        command = f"`{format_audit_command(data.dataset)}`"
        advice = f", or find groups with {command}" if is_folder else ""
        raise DataError(f"no groups known for {data.dataset}{reason}: use the pooled split{advice}")
    names, group_of_row = np.unique(np.array(data.groups)[rows], return_inverse=True)
    counts = np.zeros((len(names), len(data.classes)))
    np.add.at(counts, (group_of_row, data.y[rows]), 1)
    for name, group_count in zip(data.classes, (counts > 0).sum(0).tolist(), strict=True):
        if group_count < needed:
            noun = "group" if group_count == 1 else "groups"
            fewer_folds = f", use {group_count} folds" if group_count > 2 else ""
            raise DataError(
                f"class {name!r} has {group_count} {noun}, but this split needs {needed} of each "
                f"class: add images of other groups{fewer_folds}, or remove the class"
            )
    return group_of_row, counts / counts.sum(0)
