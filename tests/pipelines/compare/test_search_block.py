"""The best of a search beside variant 1, with the same fresh seeds."""

import dataclasses

import pytest

from pipelines.compare.block_builder import build_blocks
from pipelines.compare.blocks import Block
from pipelines.compare.search_sentences import answer_for_search
from pipelines.compare.search_sentences import describe_search
from pipelines.compare.short_table import select_short_columns
from pipelines.compare.short_table import write_short_rows
from pipelines.compare.table import build_table
from pipelines.runs.finished_run import FinishedRun
from study.config.trial_config import recipe
from study.config.trial_config import TrialConfig
from study.statistics.predictions import GroupCounts
from tests.pipelines.compare.test_sweep import count_right
from tests.support.store import final_metrics
from tests.support.store import make_finished_run

START = recipe("chest")
BEST = START.replace(lr=2e-4, dense_units=22, dropout=0.2)
FRESH = range(1, 6)
Study = tuple[list[FinishedRun], dict[str, GroupCounts]]


def train(
    config: TrialConfig, right: int, seeds: range = FRESH, role: str = "confirm", search: str = "s"
) -> Study:
    """Runs of a config, each with so many right answers of 200."""
    runs = []
    counts = {}
    for seed in seeds:
        name = f"{config} {seed} {search}"
        run = make_finished_run(config.replace(seed=seed), name, final_metrics(0), role)
        runs.append(dataclasses.replace(run, parent=search))
        counts[name] = count_right(run, right)
    return runs, counts


def build(*studies: Study) -> list[Block]:
    counts = {name: each for _, counts in studies for name, each in counts.items()}
    return build_blocks([run for runs, _ in studies for run in runs], counts)


def test_best_of_a_search_is_compared_with_variant_1_on_the_same_seeds() -> None:
    # The search itself has trained variant 1 with seed 0, on which it was more accurate
    searched = train(START, 199, seeds=range(1), role="search")
    own, block = build(searched, train(START, 140), train(BEST, 180))
    assert [row.variant for row in own.rows] == [1]
    start, best = block.rows
    assert (start.is_baseline, best.config) == (True, BEST.replace(seed=1))
    assert [run.config.seed for run in start.runs] == list(FRESH)
    gain = best.verdict.gain
    assert gain is not None
    assert gain.value == pytest.approx(0.2, abs=0.01)
    assert best.verdict.p == gain.p < 0.001
    assert block.title.startswith("Best of a search, with fresh seeds: MobileNet, pooled split")
    assert "dropout" not in block.title


def test_table_of_a_search_names_the_settings_in_which_its_rows_differ() -> None:
    (block,) = build(train(START, 140), train(BEST, 180))
    table = build_table([block])
    columns = select_short_columns(block, table)
    titles = [column.title for column in columns]
    assert titles[:4] == ["Variant", "Head", "Rate", "Other settings"]
    start, best = write_short_rows(block, table, columns)
    assert start[:4] == ["1", "D(8)", "1e-5", "dropout 0.5"]
    assert best[:4] == ["other", "D(22)", "2e-4", "dropout 0.2"]
    assert start[titles.index("Points from baseline (95 % interval)")] == "baseline"


@pytest.mark.parametrize(
    ("right", "answer"),
    [(180, "Yes."), (140, "This is not shown."), (100, "No, it is worse.")],
)
def test_answer_on_a_search_follows_from_the_difference(right: int, answer: str) -> None:
    (block,) = build(train(START, 140), train(BEST, right))
    assert answer_for_search(block) == answer
    first, *_ = describe_search(block)
    assert first.startswith("With the same five fresh seeds, variant 1 is right on 68.8 % (")
    assert "what the search found best on validation, D(22) · 2e-4 with dropout 0.2, on " in first


def test_best_with_the_head_and_rate_of_a_variant_is_no_variant() -> None:
    (block,) = build(train(START, 140), train(START.replace(dropout=0.2), 180))
    start, best = block.rows
    assert (start.variant, best.variant, best.is_baseline, best.report) == (1, None, False, None)
    *_, difference = describe_search(block)
    assert difference.startswith("Config D(8) · 1e-5 is significantly more accurate than the base")


def test_variant_1_that_a_grid_has_trained_with_the_seeds_serves_as_the_start() -> None:
    own, block = build(train(START, 140, seeds=range(6), role="", search="grid"), train(BEST, 180))
    assert [run.config.seed for run in own.rows[0].runs] == list(range(6))
    assert [run.config.seed for run in block.rows[0].runs] == list(FRESH)
    assert block.rows[1].verdict.pairs == 5


def test_variant_1_of_a_grid_and_of_the_search_is_one_row() -> None:
    by_grid = train(START, 140, seeds=range(1, 4), role="", search="grid")
    *_, block = build(by_grid, train(START, 140, seeds=range(4, 6)), train(BEST, 180))
    assert [row.config.dropout for row in block.rows] == [0.5, 0.2]
    assert [run.config.seed for run in block.rows[0].runs] == list(FRESH)


def test_start_is_the_one_of_the_search_among_equals() -> None:
    small, large = START.replace(image_size=64), START.replace(image_size=128)
    by_grid = train(large, 150, role="", search="grid")
    best = train(BEST.replace(image_size=64), 180)
    *_, block = build(by_grid, train(small, 140), best)
    assert [row.config.image_size for row in block.rows] == [64, 64]


def test_search_without_predictions_in_common_says_so_alone() -> None:
    runs, counts = train(BEST, 180)
    start_runs, start_counts = train(START, 140)
    study = runs, {name: counts[name] for name in list(counts)[:2]}
    start = start_runs, {name: start_counts[name] for name in list(start_counts)[2:]}
    block = build(start, study)[-1]
    (sentence,) = describe_search(block)
    assert sentence.endswith("cannot be compared with the baseline: no seed in common.")


def test_best_without_variant_1_on_its_seeds_has_no_comparison() -> None:
    blocks = build(train(START, 140, seeds=range(1), role="search"), train(BEST, 180))
    assert [block.searched for block in blocks] == [None, None]
    assert {row.verdict.obstacle for block in blocks for row in block.rows} == {
        "baseline not trained",
        "",
    }


def test_search_that_variant_1_has_won_has_no_block() -> None:
    (block,) = build(train(START, 140))
    assert block.searched is None


def test_each_search_is_compared_with_its_own_start() -> None:
    fixed = START.replace(epochs=3, dropout=0.0)
    blocks = build(
        train(START, 140),
        train(BEST, 180),
        train(fixed, 120, search="t"),
        train(fixed.replace(lr=1e-4), 130, search="t"),
    )
    found = [block for block in blocks if block.searched is not None]
    assert [[row.config.epochs for row in block.rows] for block in found] == [[30, 30], [3, 3]]
    assert [block.rows[0].config.dropout for block in found] == [0.5, 0.0]
    assert found[1].searched == ()
    assert found[1].rows[1].variant == 7  # it differs from variant 1 by its rate alone


def test_second_best_of_a_search_that_went_on_stands_beside_the_first() -> None:
    later = BEST.replace(dropout=0.3)
    (block,) = build(train(START, 140), train(BEST, 180), train(later, 190))
    assert [row.config.dropout for row in block.rows] == [0.5, 0.2, 0.3]
    first, *_ = describe_search(block)
    assert "with dropout 0.2, on 8" in first
    assert ") and D(22) · 2e-4 with dropout 0.3, on 9" in first
