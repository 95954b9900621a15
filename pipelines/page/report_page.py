"""Write a report as one self-contained HTML page with charts and a sortable table."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plotly.offline import get_plotlyjs

from pipelines.compare.answer import write_answer
from pipelines.compare.blocks import Block
from pipelines.compare.blocks import Row
from pipelines.compare.cells import name_field
from pipelines.compare.evidence import DetailedRow
from pipelines.compare.reflection import answer_questions
from pipelines.compare.sweep_sentences import describe_effects
from pipelines.compare.sweep_sentences import describe_missing_cells
from pipelines.page.figure import Chart
from pipelines.page.html_table import build_block_tables
from pipelines.page.html_table import build_effects_table
from pipelines.page.render import NOTES
from pipelines.page.render import Page
from pipelines.runs.protocol import describe_split
from pipelines.runs.protocol import describe_weights
from pipelines.runs.protocol import join_texts
from pipelines.runs.protocol import pluralize
from pipelines.runs.protocol import protocol
from study.common.html import read_files
from study.common.html import render_page
from study.config.backbones import BACKBONES

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
        answer=write_answer(report.rows),
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


def _write_question(report: Report) -> str:
    config = report.rows[0].runs[0].config
    name = report.page.title.partition(": ")[2]
    factors = "its hidden layers, dense units and learning rate"
    if sweep := report.main_block.sweep:
        factors = join_texts(name_field(field) for field in sweep.fields)
    verb = "does" if sweep and len(sweep.fields) == 1 else "do"
    return (
        f"How accurate is {BACKBONES[config.backbone].title}, fine-tuned on {name}, and {verb} "
        f"{factors} make a difference?"
    )


def _describe_protocol(rows: Sequence[Row]) -> list[str]:
    runs = [run for row in rows for run in row.runs]
    first = runs[0]
    fields = protocol(first)
    seeds = sorted({run.config.seed for run in runs})
    group_counts = [
        round(run.metrics["test_groups"]) for run in runs if "test_groups" in run.metrics
    ]
    return [
        f"Model: {BACKBONES[first.config.backbone].title}, {describe_weights(first)}, all "
        f"images {first.config.image_size} x {first.config.image_size} pixels.",
        f"Training: at most {pluralize(fields['epochs'], 'epoch')}, batches of "
        f"{fields['batch_size']}, Adam, weights of the last epoch.",
        f"Data: {describe_split(first)}, {first.sizes} images for training, validation and test. "
        f"{_describe_groups(group_counts)}",
        f"{'Seed' if len(seeds) == 1 else 'Seeds'} {join_texts(map(str, seeds))}; "
        f"{pluralize(len(runs), 'run')}.",
        "Intervals are of 95 %. They and the paired tests take the groups of the test images and "
        "the seeds into account. p is adjusted by Holm's method.",
    ]


def _describe_groups(counts: Sequence[int]) -> str:
    """Say how many groups, such as patients, the test images of the runs come from."""
    if not counts:
        return "The groups of the test images are not known."
    least = "" if len(set(counts)) == 1 else "at least "
    return f"The test images come from {least}{pluralize(min(counts), 'group')}."


def _list_scripts(charts: Sequence[Chart]) -> list[str]:
    """Return plotly, the data of the figures, and the script that draws them."""
    figures = [json.loads(chart.figure.to_json()) for chart in charts]
    for figure in figures:
        # The page has its own look, and plotly's takes 7 kB per figure
        figure["layout"].pop("template", None)
    # "</script>" in a label would end the script
    data = json.dumps(figures, separators=(",", ":")).replace("</", "<\\/")
    return [
        get_plotlyjs(),
        f"const FIGURES = {data};",
        read_files(HERE / "report.js"),
    ]
