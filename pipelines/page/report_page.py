"""Write a report as one self-contained HTML page with charts and a sortable table."""

import json
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from plotly.offline import get_plotlyjs

from pipelines.compare.blocks import Block
from pipelines.compare.blocks import Row
from pipelines.compare.evidence import DetailedRow
from pipelines.compare.reflection import answer_questions
from pipelines.compare.reflection import summarize_study
from pipelines.page.figure import Chart
from pipelines.page.render import NOTES
from pipelines.page.render import Page
from pipelines.page.render import render_html_table
from pipelines.runs.protocol import describe_split
from pipelines.runs.protocol import describe_weights
from pipelines.runs.protocol import protocol
from study.common.html import render_page
from study.config import BACKBONES

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Report:
    """The tables of all protocols, with rows and charts of the main one."""

    page: Page
    main_block: Block
    rows: list[DetailedRow]
    charts: list[Chart]


def render_report(report: Report) -> str:
    """Return the whole page. The same runs give the same bytes."""
    page = report.page
    rows = report.rows
    tables = sorted(page.list_tables(), key=lambda table: table[0] is not report.main_block)
    main, *others = [render_html_table(block.protocol, frame) for block, frame in tables]
    body = [
        f'<p class="question">{escape(_write_question(report))}</p>',
        *_render_list(_describe_protocol(rows), "protocol"),
        *(f'<p class="caution">{escape(line)}</p>' for line in page.cautions),
        "<h2>In short</h2>",
        *(f"<p>{escape(line)}</p>" for line in summarize_study(rows)),
        "<h2>The table</h2>",
        "<p>Select a heading to sort by it.</p>",
        *main,
        *_render_charts(report.charts),
        *_render_reflection(rows),
        *_render_errata(page.notes),
        *(line for table in others for line in table),
        f'<p class="fine">{escape(page.statement)}</p>',
        *_render_scripts(report.charts),
    ]
    return render_page(page.title.replace("Comparison table", "Report"), _list_styles(), body)


def _write_question(report: Report) -> str:
    config = report.rows[0].runs[0].config
    name = report.page.title.partition(": ")[2]
    return (
        f"How accurate is {BACKBONES[config.backbone].title}, fine-tuned on {name}, and which of "
        "its hidden layers, dense units and learning rates makes a difference?"
    )


def _describe_protocol(rows: Sequence[Row]) -> list[str]:
    runs = [run for row in rows for run in row.runs]
    first = runs[0]
    fields = protocol(first)
    seeds = sorted({run.config.seed for run in runs})
    group_counts = [
        round(run.metrics["test_groups"]) for run in runs if "test_groups" in run.metrics
    ]
    groups = f"from {min(group_counts)} groups or more" if group_counts else "of unknown groups"
    return [
        f"Model: {BACKBONES[first.config.backbone].title}, {describe_weights(first)}, all "
        f"images {first.config.image_size} x {first.config.image_size} pixels.",
        f"Training: at most {fields['epochs']} epochs, batches of {fields['batch_size']}, Adam, "
        "the last weights.",
        f"Split: {describe_split(first)}, {first.sizes} images for training, validation and test, "
        f"{groups}.",
        f"Seeds: {len(seeds)} ({', '.join(map(str, seeds))}); {len(runs)} runs.",
        "Intervals (95 %) and paired tests respect the groups of the test images and the seeds; "
        "p by Holm's method.",
    ]


def _render_list(lines: Sequence[str], kind: str) -> list[str]:
    return [f'<ul class="{kind}">', *(f"<li>{escape(line)}</li>" for line in lines), "</ul>"]


def _render_charts(charts: Sequence[Chart]) -> Iterator[str]:
    for number, chart in enumerate(charts):
        yield f'<section aria-labelledby="h{number}">'
        yield f'<h2 id="h{number}">{escape(chart.title)}</h2>'
        yield f'<div class="chart" id="chart{number}" role="img" aria-labelledby="h{number}"'
        yield f' aria-describedby="w{number}" style="height:{chart.figure.layout.height}px"></div>'
        yield f'<details><summary>In words</summary><p id="w{number}">{escape(chart.words)}</p>'
        yield "</details></section>"


def _render_reflection(rows: Sequence[Row]) -> Iterator[str]:
    answers = answer_questions(rows)
    if not answers:
        return
    yield "<h2>Reflection</h2>"
    for question, sentences in answers.items():
        yield f"<h3>{escape(question)}</h3>"
        yield f"<p>{escape(' '.join(sentences))}</p>"


def _render_errata(notes: Sequence[str]) -> list[str]:
    if not notes:
        return []
    return [f"<h2>{NOTES}</h2>", *_render_list(notes, "errata")]


def _render_scripts(charts: Sequence[Chart]) -> Iterator[str]:
    figures = [json.loads(chart.figure.to_json()) for chart in charts]
    for figure in figures:
        # The page has its own look, and plotly's takes 7 kB per figure
        figure["layout"].pop("template", None)
    # "</script>" in a label would end the script
    data = json.dumps(figures, separators=(",", ":")).replace("</", "<\\/")
    yield f"<script>{get_plotlyjs()}</script>"
    yield f"<script>const FIGURES = {data};</script>"
    yield f"<script>{(HERE / 'report.js').read_text(encoding='utf-8')}</script>"


def _list_styles() -> Sequence[Path]:
    return [HERE / "comparison.css", HERE / "report.css"]
