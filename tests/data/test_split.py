import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from study.common.errors import DataError
from study.data.prepare import Data
from study.data.split import count_leaking_images
from study.data.split import count_test_groups
from study.data.split import get_report_sizes
from study.data.split import make_split
from study.data.split import Split

FAST = settings(max_examples=60)


def data_of(
    labels: list[int],
    groups: list[str] | None = None,
    folders: list[str] | None = None,
    dataset: str = "folder:somewhere",
    images: list[str] | None = None,
    one_per_name: bool = False,
) -> Data:
    count = len(labels)
    return Data(
        dataset=dataset,
        source="",
        classes=tuple(f"class{k}" for k in range(max(labels) + 1)),
        images=tuple(images or (f"class{k}/{i}.png" for i, k in enumerate(labels))),
        x=np.zeros((count, 2, 2, 3), np.uint8),
        y=np.array(labels, np.int64),
        folders=tuple(folders or [""] * count),
        groups=tuple(groups) if groups else None,
        skipped=(),
        digest="0" * 64,
        one_per_name=one_per_name,
    )


def parts(split: Split) -> list[list[int]]:
    return [split.train.tolist(), split.val.tolist(), split.test.tolist()]


class_sizes = st.lists(st.integers(9, 60), min_size=2, max_size=4)
seeds = st.integers(0, 2**31 - 1)


@st.composite
def grouped_data(draw: st.DrawFn) -> Data:
    labels, groups = [], []
    for label in range(draw(st.integers(2, 4))):
        for group in range(draw(st.integers(3, 15))):
            size = draw(st.integers(1, 9))
            labels += [label] * size
            groups += [f"{label}-{group}"] * size
    return data_of(labels, groups)


@FAST
@given(class_sizes, seeds)
def test_pooled_split_uses_every_image_once_in_the_reports_sizes(
    sizes: list[int], seed: int
) -> None:
    data = data_of([k for k, n in enumerate(sizes) for _ in range(n)])
    split = make_split(data, "pooled", seed)
    train, val, test = parts(split)
    assert sorted(train + val + test) == list(range(sum(sizes)))
    for label, n in enumerate(sizes):
        in_test = n // 5
        in_val = (n - in_test) // 5
        counted = [int((data.y[part] == label).sum()) for part in (train, val, test)]
        assert counted == [n - in_test - in_val, in_val, in_test]


@st.composite
def mixed_groups(draw: st.DrawFn) -> Data:
    """Many small groups, each of images of any class."""
    classes = draw(st.integers(2, 3))
    count = draw(st.integers(20, 40))
    labels, groups = list(range(classes)), ["0"] * classes
    for group in range(count):
        members = draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=5))
        labels += members
        groups += [str(group)] * len(members)
    return data_of(labels, groups)


def check_parts(data: Data, rows: list[list[int]]) -> None:
    """Every image is in one part, and no group in two."""
    assert data.groups is not None
    assert sorted(row for part in rows for row in part) == list(range(len(data.images)))
    sides = [{data.groups[row] for row in part} for part in rows]
    assert sum(len(side) for side in sides) == len(set(data.groups))


def counts(data: Data, rows: list[int]) -> np.ndarray:
    """Images of each class."""
    return np.bincount(data.y[rows], minlength=len(data.classes))


def check_shares(data: Data, rows: list[list[int]], shares: list[float]) -> None:
    """The bound that the greedy draw keeps, for data whose groups are of one class each."""
    assert data.groups is not None
    held = np.array([counts(data, np.flatnonzero(np.array(data.groups) == g)) for g in
                     sorted(set(data.groups))])  # fmt: skip
    largest, whole = held.max(0), held.sum(0)
    for part, share in zip(rows, shares, strict=True):
        off = counts(data, part) - share * whole
        assert (counts(data, part) > 0).all()
        assert (off <= largest + 1e-6).all()
        assert (off >= -share * (len(shares) - 1) * largest - 1e-6).all()


@FAST
@given(grouped_data(), seeds)
def test_grouped_split_is_within_one_group_of_its_shares(data: Data, seed: int) -> None:
    split = make_split(data, "grouped", seed)
    check_parts(data, parts(split))
    check_shares(data, parts(split), [0.64, 0.16, 0.20])
    assert count_leaking_images(data, split) == 0


@FAST
@given(mixed_groups(), seeds)
def test_grouped_split_keeps_groups_of_several_classes_together(data: Data, seed: int) -> None:
    try:
        split = make_split(data, "grouped", seed)
    except DataError:  # a class with too few groups
        return
    check_parts(data, parts(split))
    assert count_leaking_images(data, split) == 0
    assert all((counts(data, part) > 0).all() for part in parts(split))


@FAST
@given(grouped_data(), seeds, st.integers(2, 6))
def test_folds_test_every_image_once(data: Data, seed: int, folds: int) -> None:
    assert data.groups is not None
    pairs = set(zip(data.y.tolist(), data.groups, strict=True))
    fewest = min(sum(label == k for label, _ in pairs) for k in range(len(data.classes)))
    needed = 4 if folds == 2 else folds
    splits = []
    for fold in range(1, folds + 1):
        if fewest < needed:
            with pytest.raises(DataError, match=rf"has \d groups.* needs {needed} of"):
                make_split(data, "grouped", seed, fold=fold, folds=folds)
        else:
            splits.append(make_split(data, "grouped", seed, fold=fold, folds=folds))
    for split in splits:
        check_parts(data, parts(split))
        assert all((counts(data, part) > 0).all() for part in parts(split))
    if len(splits) > 2:
        check_shares(data, [split.test.tolist() for split in splits], [1 / folds] * folds)
    if splits:
        check_parts(data, [split.test.tolist() for split in splits])


@FAST
@given(seeds, seeds)
def test_grouped_split_with_another_seed_draws_other_groups(one: int, other: int) -> None:
    labels = [group % 3 for group in range(60) for _ in range(group % 7 + 1)]
    data = data_of(labels, [str(group) for group in range(60) for _ in range(group % 7 + 1)])
    for folds in ({}, {"fold": 2, "folds": 5}):
        first, second = (make_split(data, "grouped", seed, **folds) for seed in (one, other))
        assert (parts(first) == parts(second)) == (one == other)


@FAST
@given(grouped_data(), seeds, st.sampled_from(["pooled", "grouped"]), st.integers(0, 40))
def test_split_with_the_same_seed_is_the_same(
    data: Data, seed: int, protocol: str, limit: int
) -> None:
    try:
        first = make_split(data, protocol, seed, limit)
    except DataError:  # a class too small for the pooled split
        return
    assert parts(first) == parts(make_split(data, protocol, seed, limit))


@FAST
@given(class_sizes, seeds, st.integers(1, 300))
def test_limit_keeps_shares_and_every_class(sizes: list[int], seed: int, limit: int) -> None:
    data = data_of([k for k, n in enumerate(sizes) for _ in range(n)])
    full = make_split(data, "pooled", seed)
    small = make_split(data, "pooled", seed, limit)
    share = min(1, limit / sum(sizes))
    for kept, whole in zip(parts(small), parts(full), strict=True):
        assert set(kept) <= set(whole)
        assert kept == sorted(kept)
        for label in range(len(sizes)):
            n = int((data.y[whole] == label).sum())
            assert int((data.y[kept] == label).sum()) == max(1, round(share * n))


def test_split_rows_are_sorted_int64_and_differ_by_seed() -> None:
    data = data_of([0] * 50 + [1] * 50)
    first, second = (make_split(data, "pooled", seed) for seed in (0, 1))
    assert parts(first) != parts(second)
    for rows in (first.train, first.val, first.test):
        assert rows.dtype == np.int64
        assert rows.tolist() == sorted(rows.tolist())


def test_grouped_sizes_are_near_64_16_20_in_every_class() -> None:
    rng = np.random.default_rng(0)
    labels, groups = [], []
    for label, count in enumerate((300, 80)):
        for group in range(count):
            size = int(rng.integers(1, 12))
            labels += [label] * size
            groups += [f"{label}-{group}"] * size
    data = data_of(labels, groups)
    split = make_split(data, "grouped", 3)
    for label in (0, 1):
        whole = int((data.y == label).sum())
        shares = [int((data.y[part] == label).sum()) / whole for part in parts(split)]
        assert shares == pytest.approx([0.64, 0.16, 0.20], abs=0.03)


def test_grouped_split_of_few_unequal_groups_is_near_its_shares() -> None:
    rng = np.random.default_rng(0)
    labels, groups = [], []
    for label in (0, 1):  # of blood's kind: few originals, of unequal numbers of copies
        for group in range(20):
            size = int(rng.integers(10, 100))
            labels += [label] * size
            groups += [f"{label}-{group}"] * size
    data = data_of(labels, groups)
    whole = counts(data, list(range(len(labels))))
    for seed in range(10):
        for rows, share in zip(
            parts(make_split(data, "grouped", seed)), (0.64, 0.16, 0.20), strict=True
        ):
            assert counts(data, rows) / whole == pytest.approx(share, rel=0.15)


def test_folds_of_equal_groups_are_of_equal_size() -> None:
    labels = [label for label in range(4) for _ in range(6 * 26)]
    data = data_of(labels, [str(row // 26) for row in range(len(labels))])
    sizes = [len(make_split(data, "grouped", 0, fold=k, folds=5).test) for k in range(1, 6)]
    assert sorted(sizes) == [104, 130, 130, 130, 130]  # 24 groups of 26, 6 of a class


def test_folds_with_a_limit_stay_disjoint() -> None:
    labels = [row % 2 for row in range(240)]
    data = data_of(labels, [str(row // 2 % 24) for row in range(240)])
    splits = [make_split(data, "grouped", 0, 60, fold=k, folds=3) for k in (1, 2, 3)]
    assert [sum(len(part) for part in parts(split)) for split in splits] == [60, 60, 60]
    assert len({row for split in splits for row in split.test}) == sum(
        len(split.test) for split in splits
    )


@pytest.mark.parametrize(
    ("protocol", "fold", "folds"),
    [("pooled", 1, 5), ("official", 1, 5), ("grouped", 0, 5), ("grouped", 6, 5), ("grouped", 1, 0)],
)
def test_impossible_fold_is_refused_by_its_number(protocol: str, fold: int, folds: int) -> None:
    data = data_of([0, 1] * 30, [str(row // 2) for row in range(60)])
    with pytest.raises(
        DataError, match=f"fold {fold} of {folds} is not possible in the {protocol} split"
    ):
        make_split(data, protocol, 0, fold=fold, folds=folds)


def test_leaking_images_are_test_images_with_a_sibling_in_train() -> None:
    data = data_of([0, 0, 0, 1, 1, 1], ["a", "a", "b", "c", "d", "c"])
    split = Split(np.array([0, 3]), np.array([2, 4]), np.array([1, 5]))
    assert count_leaking_images(data, split) == 2
    assert count_leaking_images(data, Split(np.array([2, 4]), np.array([0]), np.array([1, 5]))) == 0
    assert count_leaking_images(data_of([0, 1]), split) is None


def test_count_of_test_groups_counts_each_group_once() -> None:
    data = data_of([0, 0, 0, 1, 1, 1], ["a", "a", "b", "c", "d", "c"])
    rows = np.array([0, 1, 3, 5])
    assert count_test_groups(data, Split(np.array([2]), np.array([4]), rows)) == 2
    assert count_test_groups(data_of([0, 1]), Split(rows, rows, rows)) is None


def test_official_split_without_groups_cuts_val_from_train_by_image() -> None:
    folders = (["train"] * 11 + ["test"] * 4) * 2
    data = data_of([0] * 15 + [1] * 15, folders=folders)
    split = make_split(data, "official", 0)
    assert {folders[row] for row in split.test} == {"test"}
    assert {folders[row] for row in (*split.train, *split.val)} == {"train"}
    assert [len(part) for part in parts(split)] == [18, 4, 8]


def test_official_split_with_groups_cuts_val_from_train_by_group() -> None:
    folders = ["train"] * 80 + ["test"] * 20
    groups = [f"g{i // 4}" for i in range(100)]
    data = data_of([i // 4 % 2 for i in range(100)], groups, folders)
    split = make_split(data, "official", 0)
    train, val = ({groups[row] for row in part} for part in (split.train, split.val))
    assert not train & val
    assert len(split.val) == pytest.approx(16, abs=4)


def test_official_split_of_a_folder_uses_its_val_folder() -> None:
    folders = (["train"] * 6 + ["val"] * 2 + ["test"] * 2) * 2
    data = data_of([0] * 10 + [1] * 10, folders=folders)
    split = make_split(data, "official", 0)
    assert {folders[row] for row in split.val} == {"val"}


def test_official_split_of_chest_leaves_its_val_folder_out() -> None:
    folders = (["train"] * 10 + ["val"] * 2 + ["test"] * 4) * 2
    data = data_of([0] * 16 + [1] * 16, folders=folders, dataset="chest")
    used = [row for part in parts(make_split(data, "official", 0)) for row in part]
    assert {folders[row] for row in used} == {"train", "test"}


def test_blood_images_of_one_class_and_name_count_once() -> None:
    names = [f"{part}/A/{i}.jpeg" for part in ("TEST", "TRAIN") for i in range(10)]
    names += [f"TRAIN/B/{i}.jpeg" for i in range(20)]
    data = data_of([0] * 20 + [1] * 20, dataset="blood", images=names, one_per_name=True)
    used = sorted(row for part in parts(make_split(data, "pooled", 0)) for row in part)
    assert used == list(range(10, 40))


def test_folder_images_of_the_same_name_all_count() -> None:
    names = [f"{part}/{c}/{i}.png" for c in "ab" for part in ("test", "train") for i in range(10)]
    data = data_of([0] * 20 + [1] * 20, images=names)
    assert sum(len(part) for part in parts(make_split(data, "pooled", 0))) == 40


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ("official", "no official train and test"),
        ("grouped", "no groups known for folder:somewhere"),
        ("random", "'random' is unknown"),
    ],
)
def test_impossible_split_is_refused_with_the_reason(protocol: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        make_split(data_of([0] * 10 + [1] * 10), protocol, 0)


def test_class_too_small_for_a_part_is_named_with_its_counts() -> None:
    with pytest.raises(DataError, match=r"'class1' is missing from val.*train 4, val 0, test 1"):
        make_split(data_of([0] * 30 + [1] * 5), "pooled", 0)


def test_class_with_too_few_groups_is_refused_with_their_count() -> None:
    groups = [str(i) for i in range(30)] + ["x", "x", "y", "z"]
    folders = ["test", *["train"] * 32, "test"]
    data = data_of([0] * 30 + [1] * 4, groups, folders)
    for protocol in ("grouped", "official"):
        assert all(parts(make_split(data, protocol, 0)))
    with pytest.raises(DataError, match=r"'class1' has 3 groups.* needs 5.* use 3 folds"):
        make_split(data, "grouped", 0, fold=1, folds=5)
    data = data_of([0] * 30 + [1] * 3, groups[:-1], [*folders[:-2], "test"])
    with pytest.raises(
        DataError, match=r"'class1' has 2 groups.* needs 3 of each class: add images"
    ):
        make_split(data, "grouped", 0)
    with pytest.raises(
        DataError, match=r"'class1' has 1 group,.* needs 2 of each class: add images"
    ):
        make_split(data, "official", 0)


def test_report_sizes_exist_for_the_reports_pooled_splits_alone() -> None:
    assert get_report_sizes("chest", "pooled") == (3750, 936, 1170)
    assert get_report_sizes("blood", "pooled") == (8007, 2000, 2500)
    assert get_report_sizes("chest", "official") is None
    assert get_report_sizes("demo", "pooled") is None
    assert get_report_sizes("folder:/x", "pooled") is None
