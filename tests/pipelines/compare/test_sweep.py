"""Sweeps: a block with all cells, its comparisons, and each field's effect."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest

from pipelines.compare.answer import write_answer
from pipelines.compare.block_builder import build_blocks
from pipelines.compare.blocks import Block
from pipelines.compare.blocks import find_baseline
from pipelines.compare.blocks import find_main_block
from pipelines.compare.formats import format_difference
from pipelines.compare.reflection import summarize_study
from pipelines.compare.sweep_sentences import describe_best_cell
from pipelines.compare.sweep_sentences import describe_effects
from pipelines.compare.sweep_sentences import describe_missing_cells
from pipelines.compare.table import build_table
from pipelines.page.export_table import build_page
from pipelines.page.gain_charts import draw_effects
from pipelines.page.html_table import build_effects_table
from pipelines.runs.finished_run import FinishedRun
from pipelines.runs.predictions import Predictions
from pipelines.runs.sweeps import LoggedSweep
from study.config.sweep import Sweep
from study.config.trial_config import recipe
from study.statistics.intervals import Estimate
from study.statistics.predictions import GroupCounts
from tests.support.store import final_metrics
from tests.support.store import make_finished_run

IMAGES = 200
SWEEP = Sweep({"lr": (1e-5, 1e-4), "head": ("flatten", "gap")}, {"lr": 1e-5, "head": "flatten"})
SPLITS = Sweep({"split": ("pooled", "grouped")}, {"split": "pooled"})
# Right answers: the rate matters, and the head does not
RIGHT = {(1e-5, "flatten"): 140, (1e-5, "gap"): 141, (1e-4, "flatten"): 180, (1e-4, "gap"): 182}
Counts = dict[str, GroupCounts]


def make_cell_run(
    cell: tuple[object, ...], seed: int, sweep: Sweep = SWEEP, **fields: object
) -> FinishedRun:
    values = dict(zip(sweep.fields, cell, strict=True))
    config = recipe("chest").replace(**values, seed=seed, **fields)
    name = f"{cell} {seed} {config.fold} {config.epochs}"
    return make_finished_run(config, name)


def count_right(run: FinishedRun, right: int, images: int = IMAGES) -> GroupCounts:
    """Single images, of which those of the end are wrong, and some others by chance."""
    rng = np.random.default_rng([run.config.seed, right])
    answers = np.arange(images) < right
    answers[rng.integers(0, images, 4)] ^= True
    names = np.array([f"{run.config.fold}-{image:03}" for image in range(images)])
    labels = {"a": 150, "b": images - 150}
    return GroupCounts(names, answers.astype(np.int32), np.ones(images, np.int32), False, labels)


def make_study(
    right: Mapping[tuple[object, ...], int] = RIGHT,
    seeds: int = 3,
    sweep: Sweep = SWEEP,
    **fields: object,
) -> tuple[list[FinishedRun], Counts]:
    runs = []
    counts = {}
    for cell, number in right.items():
        for seed in range(seeds):
            run = make_cell_run(cell, seed, sweep, **fields)
            counts[run.run_id] = count_right(run, number)
            figures = final_metrics(0) | {"val_accuracy": number / IMAGES}
            runs.append(dataclasses.replace(run, metrics=figures))
    return runs, counts


def log(sweep: Sweep = SWEEP, **fields: object) -> LoggedSweep:
    """A sweep as its parent run tells it."""
    shared = recipe("chest").replace(**fields).as_dict()
    names = shared.keys() - {*sweep.fields, "dataset", "seed", "fold"}
    return LoggedSweep("parent", sweep, {name: shared[name] for name in names})


def build_sweep_block(runs: list[FinishedRun], counts: Counts, **fields: object) -> Block:
    (block,) = [block for block in build_blocks(runs, counts, [log(**fields)]) if block.sweep]
    return block


def test_sweep_has_one_block_with_its_cells_in_the_order_of_its_values() -> None:
    runs, counts = make_study()
    (block,) = build_blocks(runs[::-1], counts, [log()])
    assert [row.label for row in block.rows] == [
        "lr=1e-5 head=flatten",
        "lr=1e-5 head=gap",
        "lr=1e-4 head=flatten",
        "lr=1e-4 head=gap",
    ]
    assert block.title.startswith("Sweep of lr and head: MobileNet, pooled split")
    baseline = find_baseline(block.rows)
    assert baseline is block.rows[0]


def test_cell_trained_elsewhere_belongs_to_the_sweep_by_its_config() -> None:
    runs, counts = make_study()
    adopted = [dataclasses.replace(run, parent="other" if i else "") for i, run in enumerate(runs)]
    other = make_cell_run((1e-5, "flatten"), 0, epochs=2)
    block = build_sweep_block([*adopted, other], counts)
    assert [len(row.runs) for row in block.rows] == [3, 3, 3, 3]


def test_sweep_trained_on_other_images_leaves_out_those_of_before() -> None:
    runs, counts = make_study()
    own = [dataclasses.replace(run, parent="parent") for run in runs]
    older = dataclasses.replace(runs[0], run_id="older", data_digest="other")
    block = build_sweep_block([*own, older], counts | {"older": counts[runs[0].run_id]})
    assert "older" not in [run.run_id for row in block.rows for run in row.runs]


def test_seven_variants_keep_their_block_beside_a_sweep() -> None:
    sweep = Sweep({"lr": (1e-5, 2e-5)}, {"lr": 1e-5})
    runs, counts = make_study({(1e-5,): 140, (2e-5,): 150}, sweep=sweep)
    variant = make_cell_run((5e-5,), 0, sweep)
    counts[variant.run_id] = count_right(variant, 140)
    variants, swept = build_blocks([*runs, variant], counts, [log(sweep)])
    assert [row.variant for row in variants.rows] == [1, 6]  # 2e-5 is in the sweep only
    assert [row.config.lr for row in swept.rows] == [1e-5, 2e-5]


def test_statement_speaks_of_variant_1_only_where_it_was_trained() -> None:
    sweep = Sweep({"lr": (2e-5, 3e-5)}, {"lr": 2e-5})
    runs, counts = make_study({(2e-5,): 140, (3e-5,): 150}, sweep=sweep)
    other = make_cell_run((4e-5,), 0, sweep)
    page = build_page([*runs, other], Predictions(counts), [log(sweep)])
    assert [block.sweep for block in page.blocks] == [None, sweep]
    assert "variant 1" not in page.statement
    variant = make_cell_run((1e-5,), 0, sweep)
    page = build_page([*runs, variant], Predictions(counts), [log(sweep)])
    assert "variant 1" in page.statement


def test_main_block_is_the_one_with_the_most_rows_compared() -> None:
    runs, counts = make_study()
    variant = make_cell_run((5e-5, "flatten"), 0)
    counts[variant.run_id] = count_right(variant, 140)
    blocks = build_blocks([*runs, variant], counts, [log()])
    assert find_main_block(blocks).sweep is SWEEP


def test_baseline_and_best_are_compared_with_all_others_and_adjusted_together() -> None:
    block = build_sweep_block(*make_study())
    base, other, flatten, best = block.rows
    assert block.best is best
    assert (base.verdict.gain, best.verdict.lead) == (None, None)
    assert best.verdict.gain is not None
    assert base.verdict.lead is not None
    assert base.verdict.lead.value == pytest.approx(-best.verdict.gain.value)
    assert base.verdict.lead_p == best.verdict.p  # one comparison, counted once
    assert best.verdict.p is not None
    # Of five comparisons, the smallest p is multiplied by five
    comparisons = [row.verdict.gain.p for row in (other, flatten, best) if row.verdict.gain]
    comparisons += [row.verdict.lead.p for row in (other, flatten) if row.verdict.lead]
    adjusted = [row.verdict.p for row in (other, flatten, best)]
    adjusted += [row.verdict.lead_p for row in (other, flatten)]
    assert min(p for p in adjusted if p is not None) == pytest.approx(5 * min(comparisons))
    assert describe_best_cell(block.rows)[1] == (
        "On the test images it is significantly more accurate than two of the three others."
    )


def test_configs_that_tie_on_validation_are_counted_and_the_first_one_named() -> None:
    block = build_sweep_block(*make_study(dict.fromkeys(RIGHT, 140)))
    sentence = describe_best_cell(block.rows)[0]
    first = "The first of them is the baseline, lr=1e-5 head=flatten; its test accuracy is "
    assert sentence.startswith(f"4 configs tie for the best on validation (val 0.7000). {first}")
    assert build_table([block])["Best on Validation"].tolist() == ["yes", "tied", "tied", "tied"]
    answer = write_answer(block.rows)[0]
    first = "The first of the 4 that tie for the best on validation, config lr=1e-5 head=flatten,"
    assert first in answer.text


def test_best_on_validation_is_found_on_the_seeds_that_all_configs_share() -> None:
    runs, counts = make_study(dict.fromkeys(RIGHT, 140))
    high = [
        dataclasses.replace(run, metrics=run.metrics | {"val_accuracy": value})
        for run, value in zip(runs[3:6], (0.8, 0.5, 0.5), strict=True)
    ]
    block = build_sweep_block([runs[0], *runs[1:3], *high, *runs[6:7], runs[9]], counts)
    assert block.best is block.rows[1]
    assert describe_best_cell(block.rows)[0].startswith(
        "Config lr=1e-5 head=gap is the best on validation (on the one seed that all share); its"
    )


def test_sweep_of_one_seed_speaks_of_trainings() -> None:
    block = build_sweep_block(*make_study(seeds=1))
    one_seed = "Another seed may show otherwise."
    assert describe_best_cell(block.rows)[1:] == [
        "On the test images of the one seed compared, it was significantly more accurate than two "
        "of the three others.",
        one_seed,
    ]
    on_rate = describe_effects(block)[0]
    assert on_rate.startswith("lr: 1e-4 was better than 1e-5 by ")
    assert on_rate.endswith(f"averaged over head. {one_seed}")
    assert build_table([block])["Seeds Compared"].tolist() == ["", "1", "1", "1"]
    assert build_table([build_sweep_block(*make_study())])["Seeds Compared"].tolist()[1] == "3"


def test_effect_that_only_the_adjustment_hides_says_so() -> None:
    block = build_sweep_block(*make_study())
    rate, head = block.effects
    level = dataclasses.replace(head.levels[1], gain=Estimate(0.02, 0.001, 0.039, 0.03), p=0.06)
    head = dataclasses.replace(head, levels=[head.levels[0], level])
    assert describe_effects(dataclasses.replace(block, effects=[rate, head]))[1] == (
        "head: gap does not differ from flatten significantly after adjustment for two comparisons "
        "(+2.0 points, +0.1 to +3.9, adjusted p = 0.06), averaged over lr."
    )


def test_answer_on_a_sweep_says_how_small_a_difference_would_show() -> None:
    block = build_sweep_block(*make_study())
    lines = {line.label: line.text for line in write_answer(block.rows)}
    text = lines["How small a difference would show?"]
    assert text.startswith(f"With 3 seeds, which test {IMAGES} test images in all, only ")


def test_best_in_a_cross_validation_is_compared_with_nothing() -> None:
    runs = []
    counts = {}
    for fold in (1, 2):
        more_runs, more_counts = make_study(seeds=1, split="grouped", folds=2, fold=fold)
        runs += more_runs
        counts |= more_counts
    block = build_sweep_block(runs, counts, split="grouped", folds=2, fold=1)
    assert all(row.verdict.lead is None for row in block.rows)
    assert block.rows[-1].verdict.gain is not None
    assert "Nothing is compared with it" in describe_best_cell(block.rows)[1]


def test_effect_of_a_field_is_the_mean_over_the_cells_of_the_others() -> None:
    block = build_sweep_block(*make_study())
    rate, head = block.effects
    means = [row.verdict.accuracy.value for row in block.rows if row.verdict.accuracy]
    gain = rate.levels[1].gain
    assert gain is not None
    assert gain.value == pytest.approx((means[2] + means[3] - means[0] - means[1]) / 2)
    assert rate.levels[0].accuracy.value == pytest.approx((means[0] + means[1]) / 2)
    assert (rate.others, rate.cells, head.cells) == (("head",), 2, 2)
    on_rate, on_head = describe_effects(block)
    assert on_rate.startswith("lr: 1e-4 is better than 1e-5 by 19.8 points (")
    assert on_rate.endswith("averaged over head.")
    assert on_head.startswith("head: there is no evidence that gap differs from flatten (")


def test_difference_on_few_images_has_one_decimal_in_table_sentence_and_chart() -> None:
    runs, _ = make_study()
    right = {"flatten": 54, "gap": 55}
    counts = {run.run_id: count_right(run, right[run.config.head], images=80) for run in runs}
    block = build_sweep_block(runs, counts)
    on_head = block.effects[1]
    gain = on_head.levels[1].gain
    assert gain is not None
    text = format_difference(gain)
    assert text.startswith(f"{100 * gain.value:+.1f} (")
    chart = draw_effects(block.effects)
    assert chart is not None
    assert f"head gap: {text} points" in chart.words
    assert text.split()[0] + " points" in describe_effects(block)[1]
    cells = [cell.text for _, row in build_effects_table(block).rows for cell in row]
    assert text in [cell.replace("\N{NO-BREAK SPACE}", " ") for cell in cells]


def test_effect_counts_only_cells_and_seeds_with_their_counterparts() -> None:
    runs, counts = make_study()
    last = [run for run in runs if (run.config.lr, run.config.head) == (1e-4, "gap")]
    some = [run for run in runs if run not in last[1:]]
    rate, _ = build_sweep_block(some, counts).effects
    one_seed = [run for run in runs if run.config.seed == 0]
    assert rate == build_sweep_block(one_seed, counts).effects[0]
    block = build_sweep_block([run for run in runs if run not in last], counts)
    assert [effect.cells for effect in block.effects] == [1, 1]
    assert describe_missing_cells(block)[0].startswith(
        "1 of 4 configs has no comparable finished run yet."
    )


def test_summary_counts_the_configs_of_a_large_sweep() -> None:
    sweep = Sweep({"lr": (1e-5, 2e-5, 3e-5, 4e-5, 5e-5, 6e-5)}, {"lr": 1e-5})
    right = {(rate,): 190 if rate == 1e-5 else 120 for rate in sweep.fields["lr"]}
    runs, counts = make_study(right, sweep=sweep)
    (block,) = [block for block in build_blocks(runs, counts, [log(sweep)]) if block.sweep]
    (sentence,) = summarize_study(block.rows)
    assert sentence.startswith(
        "Five configs are significantly less accurate than the baseline, by 3"
    )


def test_cells_with_other_test_images_are_not_compared() -> None:
    pooled, grouped = (
        dataclasses.replace(make_cell_run((split,), 0, SPLITS), metrics=final_metrics(0))
        for split in ("pooled", "grouped")
    )
    counts = {
        pooled.run_id: count_right(pooled, 150),
        grouped.run_id: count_right(grouped, 150, images=180),
    }
    (block,) = build_blocks([pooled, grouped], counts, [log(SPLITS)])
    assert block.rows[1].verdict.gain is None
    assert block.rows[1].verdict.obstacle == "other test images"
    assert summarize_study(block.rows) == [
        "Config split=grouped cannot be compared with the baseline: other test images."
    ]
    assert block.best is None
    assert describe_best_cell(block.rows) == [
        "No config is named the best, because the configs are validated on different images."
    ]


def make_split_runs(groups: str = "groups") -> list[FinishedRun]:
    """A pooled and a grouped run of equal images, whose digests differ by the groups."""
    runs = [make_cell_run((split,), 0, SPLITS) for split in ("pooled", "grouped")]
    digests = ("images", groups)
    return [
        dataclasses.replace(run, name_digest="images", data_digest=digest, run_id=digest)
        for run, digest in zip(runs, digests, strict=True)
    ]


def test_sweep_of_splits_with_a_groups_file_has_one_block() -> None:
    pooled, grouped = make_split_runs()
    pooled = dataclasses.replace(pooled, parent="parent")  # the grouped one was trained before
    counts = {run.run_id: count_right(run, 150) for run in (pooled, grouped)}
    (block,) = build_blocks([pooled, grouped], counts, [log(SPLITS)])
    assert [row.label for row in block.rows] == ["split=pooled", "split=grouped"]
    assert "digest" not in block.title
    assert describe_missing_cells(block) == []


def test_sweep_of_splits_keeps_grouped_runs_of_other_groups_apart() -> None:
    runs = [*make_split_runs(), make_split_runs("other groups")[1]]
    counts = {run.run_id: count_right(run, 150) for run in runs}
    blocks = build_blocks(runs, counts, [log(SPLITS)])
    run_ids = [[run.run_id for row in block.rows for run in row.runs] for block in blocks]
    assert run_ids == [["images", "groups"], ["images", "other groups"]]


def test_chance_is_the_share_of_the_most_frequent_class() -> None:
    block = build_sweep_block(*make_study())
    assert block.caption.endswith("Always guessing the most frequent class: 75.0 %")


def test_chance_of_a_sweep_of_splits_is_that_of_each_split() -> None:
    runs = make_split_runs()
    counts = {
        run.run_id: dataclasses.replace(count_right(run, 150), labels={"a": most, "b": 200 - most})
        for run, most in zip(runs, (150, 125), strict=True)
    }
    (block,) = build_blocks(runs, counts, [log(SPLITS)])
    assert block.caption.endswith(
        "Always guessing the most frequent class: 75.0 % (pooled split), 62.5 % (grouped split)"
    )
