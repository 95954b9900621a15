"""Write a report as one self-contained HTML page with charts and a sortable table."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plotly.offline import get_plotlyjs

from pipelines.compare.answer import AnswerLine
from pipelines.compare.answer import write_answer
from pipelines.compare.blocks import Block
from pipelines.compare.blocks import Row
from pipelines.compare.cells import name_field
from pipelines.compare.evidence import DetailedRow
from pipelines.compare.reflection import answer_questions
from pipelines.compare.row_figures import format_counts
from pipelines.compare.search_sentences import answer_for_search
from pipelines.compare.search_sentences import describe_search
from pipelines.compare.sweep_sentences import describe_effects
from pipelines.compare.sweep_sentences import describe_missing_cells
from pipelines.page.figure import Chart
from pipelines.page.html_table import build_block_tables
from pipelines.page.html_table import build_effects_table
from pipelines.page.render import NOTES
from pipelines.page.render import Page
from pipelines.runs.protocol import describe_weights
from study.common.html import read_files
from study.common.html import render_page
from study.common.words import join_distinct
from study.common.words import pluralize
from study.config.backbones import BACKBONES
from study.config.names import describe_split

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Report:
    """The tables of all protocols, with cautions, rows and charts of the main one."""

    page: Page
    main_block: Block
    rows: list[DetailedRow]
    charts: list[Chart]  # the first stands beside the answer
    cautions: list[str]
    other_cautions: list[str]  # on the other protocols


def render_report(report: Report) -> str:
    """Return the whole page. The same runs give the same bytes."""
    page = report.page
    tables = [
        (block is report.main_block, build_block_tables(block, rows))
        for block, rows in page.list_tables()
    ]
    return render_page(
        HERE / "report.html.j2",
        [HERE / "comparison.css", HERE / "report.css"],
        title=page.title.replace("Comparison table", "Report"),
        page=page,
        question=_write_question(report),
        protocol=_describe_protocol(report.rows),
        answer=[*write_answer(report.rows), *_answer_for_searches(page.blocks)],
        reflection=answer_questions(report.rows),
        missing_cells=describe_missing_cells(report.main_block),
        effects=describe_effects(report.main_block),
        effects_table=build_effects_table(report.main_block),
        main_tables=next(pair for is_main, pair in tables if is_main),
        other_tables=[pair for is_main, pair in tables if not is_main],
        charts=report.charts,
        cautions=report.cautions,
        other_cautions=report.other_cautions,
        notes_heading=NOTES,
        scripts=_list_scripts(report.charts),
    )


def _answer_for_searches(blocks: Sequence[Block]) -> list[AnswerLine]:
    return [
        AnswerLine("Did a search find better?", " ".join([answer_for_search(block), *sentences]))
        for block in blocks
        if (sentences := describe_search(block))
    ]


def _write_question(report: Report) -> str:
    models = join_distinct(BACKBONES[row.config.backbone].title for row in report.rows)
    name = report.page.title.partition(": ")[2]
    factors = "its hidden layers, dense units and learning rate"
    if sweep := report.main_block.sweep:
        factors = join_distinct(name_field(field) for field in sweep.fields)
    be = "are" if " and " in models else "is"
    verb = "does" if sweep and len(sweep.fields) == 1 else "do"
    is_pretrained = any(run.weights_kind != "none" for row in report.rows for run in row.runs)
    training = "fine-tuned" if is_pretrained else "trained from random weights"
    return (
        f"How accurate {be} {models}, {training} on {name}, and {verb} {factors} make a difference?"
    )


def _describe_protocol(rows: Sequence[Row]) -> list[str]:
    runs = [run for row in rows for run in row.runs]
    seeds = sorted({run.config.seed for run in runs})
    group_counts = [
        round(run.metrics["test_groups"]) for run in runs if "test_groups" in run.metrics
    ]
    models = join_distinct(BACKBONES[run.config.backbone].title for run in runs)
    weights = join_distinct(describe_weights(run) for run in runs)
    pixels = join_distinct(f"{run.config.image_size} x {run.config.image_size}" for run in runs)
    epochs = join_distinct(str(run.config.epochs) for run in runs)
    batches = join_distinct(str(run.config.batch_size) for run in runs)
    splits = join_distinct(describe_split(run.config) for run in runs)
    sizes = format_counts([run.sizes for run in runs])
    return [
        f"Model: {models}, {weights}, all images {pixels} pixels.",
        f"Training: at most {epochs} {'epoch' if epochs == '1' else 'epochs'}, batches of "
        f"{batches}, Adam, weights of the last epoch.",
        f"Data: {splits}, {sizes} images for training, validation and test. "
        f"{_describe_groups(group_counts)}",
        f"{'Seed' if len(seeds) == 1 else 'Seeds'} {join_distinct(map(str, seeds))}; "
        f"{pluralize(len(runs), 'run')}.",
        _describe_tests(rows),
    ]


def _describe_tests(rows: Sequence[Row]) -> str:
    """Say what the intervals and the paired tests take into account."""
    if rows[0].config.folds:
        return (
            "All intervals are 95 % intervals. Those of accuracies take the groups of the test "
            "images into account. Differences are tested by the corrected resampled t-test over "
            "the folds. p is adjusted by Holm's method; intervals of differences are not adjusted."
        )
    return (
        "All intervals are 95 % intervals. They and the paired tests take the groups of the test "
        "images and the seeds into account. p is adjusted by Holm's method; intervals of "
        "differences are not adjusted."
    )


def _describe_groups(counts: Sequence[int]) -> str:
    """Say how many groups, such as patients, the test images of the runs come from."""
    if not counts:
        return "The groups of the test images are not known."
    if len(set(counts)) == 1:
        return f"The test images of each run come from {pluralize(counts[0], 'group')}."
    return f"The test images of a run come from {min(counts)} to {max(counts)} groups."


def _list_scripts(charts: Sequence[Chart]) -> list[str]:
    """Return plotly, the data of the charts, and the script that draws them."""
    figures = [json.loads(chart.figure.to_json()) for chart in charts]
    for figure in figures:
        # The page has its own look, and plotly's takes 7 kB per chart
        figure["layout"].pop("template", None)
    # "</script>" in a label would end the script
    data = json.dumps(figures, separators=(",", ":")).replace("</", "<\\/")
    return [
        get_plotlyjs(),
        f"const FIGURES = {data};",
        read_files(HERE / "report.js"),
    ]
