"""Which differences are real: from predictions in real files to the words of the table."""

import dataclasses

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scipy import stats

from pipelines.compare.block_verdicts import judge_rows
from pipelines.compare.block_verdicts import MixedProtocolsError
from pipelines.runs.finished_run import FinishedRun
from study.statistics.predictions import count_by_group
from study.statistics.predictions import GroupCounts
from study.variants import resolve_config
from tests.support.store import final_metrics
from tests.support.store import make_finished_run

SHARES = {1: 0.9, 2: 0.9, 3: 0.6}  # accuracy of three variants


def make_run(variant: int, seed: int = 0, **fields: object) -> FinishedRun:
    config = resolve_config("chest", variant, {"seed": seed, **fields})
    name = f"{variant}-{seed}"
    figures = final_metrics(0) | {"fit_seconds": 100.0 * variant + seed}
    return make_finished_run(config, name, figures)


def draw_counts(variant: int, seed: int, groups: int = 100) -> GroupCounts:
    """A test set of 5 images in each group, the same for all variants of a seed."""
    rng = np.random.default_rng([seed, variant, 7])
    names = np.array([f"g{i:03}" for i in range(seed, seed + groups)])
    asked = np.full(groups, 5, np.int32)
    return GroupCounts(names, rng.binomial(asked, SHARES[variant]).astype(np.int32), asked, True)


def a_study(seeds: int) -> tuple[list[list[FinishedRun]], dict[str, GroupCounts]]:
    rows = [[make_run(variant, seed) for seed in range(seeds)] for variant in SHARES]
    tested = {run.run_id: draw_counts(variant, run.config.seed)
              for variant, row in zip(SHARES, rows, strict=True) for run in row}  # fmt: skip
    return rows, tested


@pytest.mark.parametrize("seeds", [1, 5])
def test_large_difference_is_significant_and_none_is_not(seeds: int) -> None:
    base, same, worse = judge_rows(*a_study(seeds))
    assert (base.gain, base.p, base.wins) == (None, None, None)
    assert same.p is not None
    assert same.gain is not None
    assert same.gain.low < 0 < same.gain.high
    assert same.p > 0.05
    assert worse.p is not None
    assert worse.gain is not None
    assert worse.gain.high < 0
    assert worse.p < 0.05
    assert worse.p >= worse.gain.p


def test_row_that_is_not_compared_says_why() -> None:
    rows, tested = a_study(2)
    assert judge_rows(rows[1:], tested)[0].obstacle == "baseline not trained"
    other_seeds = [rows[0][:1], rows[1][1:]]
    assert judge_rows(other_seeds, tested)[1].obstacle == "no seed in common"
    only_base = {run.run_id: tested[run.run_id] for run in rows[0]}
    assert judge_rows(rows, only_base)[1].obstacle == "predictions missing"
    without_base = {run.run_id: tested[run.run_id] for run in rows[1]}
    assert judge_rows(rows, without_base)[1].obstacle == "baseline's predictions missing"


def test_verdict_of_one_seed_has_no_deviation_and_no_wins() -> None:
    base, _, worse = judge_rows(*a_study(1))
    assert (base.deviation, worse.wins, base.seeds, base.grouped) == (None, None, 1, True)


def test_verdict_of_five_seeds_has_their_deviation_and_wins() -> None:
    rows, tested = a_study(5)
    base, _, worse = judge_rows(rows, tested)
    accuracies = [tested[run.run_id].accuracy for run in rows[0]]
    assert base.accuracy is not None
    assert base.accuracy.value == pytest.approx(np.mean(accuracies))
    assert base.deviation == pytest.approx(np.std(accuracies, ddof=1))
    assert worse.wins is not None
    assert (worse.wins.value, worse.pairs) == (0.0, 5)


def test_detectable_difference_is_at_the_level_of_holms_first_step() -> None:
    rows, tested = a_study(3)
    base, same, _ = judge_rows(rows, tested)
    (_, alone) = judge_rows(rows[:2], tested)
    assert base.power is None
    assert same.power is not None
    assert alone.power is not None
    assert same.gain is not None
    assert (same.power.groups, same.power.seeds) == (102, 3)
    assert abs(same.gain.value) < alone.power.smallest < same.power.smallest


def test_difference_larger_than_the_detectable_one_is_significant() -> None:
    _, _, worse = judge_rows(*a_study(5))
    assert worse.power is not None
    assert worse.gain is not None
    assert worse.p is not None
    assert worse.power.smallest < abs(worse.gain.value)
    assert worse.p < 0.05


def test_equal_answers_have_no_detectable_difference() -> None:
    rows, tested = a_study(1)
    tested["2-0"] = tested["1-0"]
    _, same, _ = judge_rows(rows, tested)
    assert same.gain is not None
    assert same.power is None


def test_time_ratio_is_that_of_the_median_fit_times() -> None:
    base, same, _ = judge_rows(*a_study(3))
    assert base.time_ratio is None
    assert same.time_ratio == pytest.approx(201 / 101)


def test_variants_with_unequal_seeds_are_compared_on_shared_seeds() -> None:
    rows, tested = a_study(4)
    found = judge_rows([rows[0], rows[1][1:], rows[2][:1]], tested)
    assert [(v.seeds, v.pairs) for v in found] == [(4, 0), (3, 3), (1, 1)]
    apart = judge_rows([rows[0][:1], rows[1][1:]], tested)[1]
    assert (apart.gain, apart.p, apart.pairs) == (None, None, 0)


def test_runs_without_predictions_give_no_accuracy_and_no_gain() -> None:
    rows, tested = a_study(2)
    without = {name: each for name, each in tested.items() if name not in ("2-0", "2-1", "3-1")}
    base, same, worse = judge_rows(rows, without)
    assert (same.accuracy, same.gain, same.seeds) == (None, None, 0)
    assert same.time_ratio == pytest.approx(200.5 / 100.5)
    assert (base.seeds, worse.seeds) == (2, 1)
    assert all(v.gain is None for v in judge_rows(rows[1:], tested))  # no base


def test_mixed_protocols_are_refused_by_name() -> None:
    rows, tested = a_study(1)
    rows[1] = [make_run(2, split="grouped", epochs=3)]
    with pytest.raises(MixedProtocolsError, match="they differ in split, epochs"):
        judge_rows(rows, tested)
    subset = [[make_run(1, limit=100)], [make_run(2, limit=100)]]
    assert len(judge_rows(subset, tested)) == 2


def test_folds_of_one_seed_count_as_one_test_set() -> None:
    folds = [dataclasses.replace(make_run(1, split="grouped", folds=2, fold=k), run_id=f"f{k}")
             for k in (1, 2)]  # fmt: skip
    halves = [np.array(["a", "b"]), np.array(["c", "d"])]
    parts = [GroupCounts(names, np.array([4, r]), np.array([5, 5]), True)
             for names, r in zip(halves, (3, 5), strict=True)]  # fmt: skip
    (verdict,) = judge_rows([folds], dict(zip(("f1", "f2"), parts, strict=True)))
    assert verdict.accuracy is not None
    assert (verdict.accuracy.value, verdict.seeds) == (pytest.approx(16 / 20), 1)


def predictions(groups: list[str | None]) -> pa.Table:
    table = pd.DataFrame({"image": list("abcd"), "split": "test", "group": groups})
    table["label"] = ["x", "y", "x", "y"]
    table["p_x"], table["p_y"] = [0.9, 0.9, 0.2, 0.1], [0.1, 0.1, 0.8, 0.9]
    return pa.Table.from_pandas(table)


def test_right_and_tested_images_are_counted_by_group() -> None:
    found = count_by_group(predictions(["q", "p", "p", "p"]))
    assert found.grouped
    assert found.groups.tolist() == ["p", "q"]
    assert (found.right.tolist(), found.tested.tolist()) == ([1, 1], [3, 1])
    assert found.accuracy == 0.5
    assert found.only_answer == ""


def test_only_answer_is_the_class_that_all_images_of_several_are_called() -> None:
    table = predictions(list("pppp"))
    constant = table.set_column(table.column_names.index("p_x"), "p_x", pa.array([0.95] * 4))
    assert count_by_group(constant).only_answer == "x"
    one_class = constant.filter(pc.equal(constant["label"], "x"))
    assert count_by_group(one_class).only_answer == ""


@pytest.mark.parametrize(
    "table", [predictions([None] * 4), predictions(list("wxyz")).drop(["group"])]
)
def test_unknown_groups_count_as_single_images(table: pa.Table) -> None:
    found = count_by_group(table)
    assert (found.grouped, found.groups.tolist()) == (False, list("abcd"))
    assert found.right.tolist() == [1, 0, 0, 1]


def make_fold_rows(
    folds: int, trained: int, gains: list[float]
) -> tuple[list[list[FinishedRun]], dict[str, GroupCounts]]:
    """Two variants of one seed, whose first folds are trained; gains of variant 2 by fold."""
    rows: list[list[FinishedRun]] = []
    tested = {}
    for variant in (1, 2):
        row = []
        for fold in range(1, trained + 1):
            run = make_run(variant, split="grouped", folds=folds, fold=fold)
            run = dataclasses.replace(run, run_id=f"{variant}-f{fold}", sizes="64/16/20")
            right = 15 + round(20 * gains[fold - 1]) * (variant - 1)
            names = np.array([f"g{20 * fold + image}" for image in range(20)])
            answers = (np.arange(20) < right).astype(np.int32)
            tested[run.run_id] = GroupCounts(names, answers, np.ones(20, np.int32), True)
            row.append(run)
        rows.append(row)
    return rows, tested


GAINS = [0.1, 0.2, 0.1, 0.25, 0.15]


def test_unfinished_cross_validation_has_no_verdict_and_says_so() -> None:
    base, other = judge_rows(*make_fold_rows(5, 2, GAINS))
    assert (other.accuracy, other.gain, other.p) == (None, None, None)
    assert base.obstacle == other.obstacle == "2 of 5 folds: no verdict yet"


def test_cross_validation_without_predictions_has_no_verdict_and_says_so() -> None:
    rows, tested = make_fold_rows(5, 5, GAINS)
    del tested["2-f3"]
    assert judge_rows(rows, tested)[1].obstacle == "predictions of 1 of 5 folds missing: no verdict"
    rows, _ = make_fold_rows(5, 2, GAINS)
    assert judge_rows(rows, {})[1].obstacle == "2 of 5 folds: no verdict yet"


def test_row_whose_baseline_lacks_folds_says_so() -> None:
    (base, other), tested = make_fold_rows(5, 5, GAINS)
    verdicts = judge_rows([base[:3], other], tested)
    assert verdicts[1].obstacle == "baseline's folds or predictions missing"


def test_unfinished_seed_does_not_count_beside_a_whole_one() -> None:
    rows, tested = make_fold_rows(5, 5, GAINS)
    alone = judge_rows(rows, tested)
    late = dataclasses.replace(
        rows[1][0], run_id="late", config=rows[1][0].config.replace(seed=1, fold=1)
    )
    assert judge_rows([rows[0], [*rows[1], late]], tested | {"late": tested["1-f1"]}) == alone


def test_folds_of_one_seed_are_compared_by_the_corrected_resampled_t_test() -> None:
    _, other = judge_rows(*make_fold_rows(5, 5, GAINS))
    assert other.gain is not None
    gains = np.array(GAINS)
    error = np.sqrt((1 / 5 + 20 / 64) * gains.var(ddof=1))
    assert other.gain.value == pytest.approx(gains.mean())
    assert other.gain.p == pytest.approx(2 * stats.t.sf(gains.mean() / error, 4))
    assert other.power is None
