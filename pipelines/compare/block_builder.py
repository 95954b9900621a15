"""Group the runs of a data set into blocks of rows, with a verdict on each row."""

import math
import sys
from collections.abc import Mapping
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from pipelines.compare.block_verdicts import judge_cells
from pipelines.compare.block_verdicts import judge_rows
from pipelines.compare.blocks import Block
from pipelines.compare.blocks import list_runs
from pipelines.compare.blocks import Row
from pipelines.compare.cells import name_field
from pipelines.compare.cells import SweepCell
from pipelines.compare.main_effects import estimate_main_effects
from pipelines.compare.ranking import rank_on_validation
from pipelines.compare.search_block import build_search_blocks
from pipelines.runs.finished_run import FinishedRun
from pipelines.runs.protocol import describe_protocol
from pipelines.runs.protocol import find_differing_settings
from pipelines.runs.protocol import protocol
from pipelines.runs.protocol import VARIED
from pipelines.runs.sweeps import group_cells
from pipelines.runs.sweeps import LoggedSweep
from study.common.words import join_distinct
from study.config.sweep import Sweep
from study.config.sweep import Value
from study.statistics.predictions import GroupCounts
from study.variants import find_variant
from study.variants import VARIANTS


def build_blocks(
    runs: Sequence[FinishedRun],
    counts: Mapping[str, GroupCounts],
    sweeps: Sequence[LoggedSweep] = (),
) -> list[Block]:
    """Group the runs of one data set into blocks of rows, in the order of the table.

    Each protocol has a block: one row for each of the seven variants, and then one for each
    further head and learning rate that is in no sweep. Each sweep has a block with a row for each
    of its cells. Each search has one with variant 1 and its best config. A protocol's own block is
    left out where one of a sweep or a search has all its rows, unless it has all seven variants.

    Args:
        runs: of one data set.
        counts: the test images of each run by group, by run ID. Intervals, and comparisons within
            a block, follow from them.
        sweeps: of the data set.
    """
    named = find_differing_settings(runs)
    sweep_blocks = [
        build_sweep_block(logged.sweep, cells, counts, named)
        for logged in sweeps
        for cells in group_cells(logged, runs)
    ]
    search_blocks = build_search_blocks(runs, counts, named)
    shown_runs = [
        {run.run_id for run in list_runs([block])} for block in (*sweep_blocks, *search_blocks)
    ]
    own_blocks = [
        Block(
            describe_protocol(rows[0][0], named),
            [Row(*pair) for pair in zip(rows, judge_rows(rows, counts), strict=True)],
        )
        for rows in _leave_out_shown(_group_runs(runs), shown_runs)
    ]
    return [*own_blocks, *search_blocks, *sweep_blocks]


def _leave_out_shown(
    blocks: list[list[list[FinishedRun]]], shown_runs: Sequence[set[str]]
) -> list[list[list[FinishedRun]]]:
    """Leave out the rows that the block of a sweep or a search shows.

    A block that one of these shows completely is left out, unless it has all seven variants. Of the
    other blocks, the rows of variants stay.
    """
    anywhere = set().union(*shown_runs)
    remaining = []
    for rows in blocks:
        run_ids = {run.run_id for row in rows for run in row}
        variants = {find_variant(row[0].config) for row in rows} - {None}
        is_shown = any(run_ids <= shown for shown in shown_runs)
        if not is_shown or len(variants) == len(VARIANTS):
            remaining.append(
                [
                    row
                    for row in rows
                    if find_variant(row[0].config) or any(r.run_id not in anywhere for r in row)
                ]
            )
    return [rows for rows in remaining if rows]


def build_sweep_block(
    sweep: Sweep,
    runs_by_cell: Mapping[tuple[Value, ...], list[FinishedRun]],
    counts: Mapping[str, GroupCounts],
    named: Sequence[str],
) -> Block:
    """Build the block of a sweep, with a row for each cell that has a finished run.

    Args:
        sweep: the swept fields and the baseline.
        runs_by_cell: the runs of each cell, in the order of the rows.
        counts: the test images of each run by group, by run ID.
        named: the settings to name in the block's title.
    """
    rows = [sorted(runs, key=_make_run_key) for runs in runs_by_cell.values()]
    places = [dict(zip(sweep.fields, values, strict=True)) for values in runs_by_cell]
    baseline = next((i for i, place in enumerate(places) if place == sweep.baseline), None)
    ties = rank_on_validation(rows).best
    best = ties[0] if ties else None
    verdicts = judge_cells(rows, counts, baseline=baseline, best=best, swept=sweep.fields)
    names = join_distinct(name_field(name) for name in sweep.fields)
    total = math.prod(len(values) for values in sweep.fields.values())
    return Block(
        f"Sweep of {names}: {describe_protocol(rows[0][0], named, sweep.fields)}",
        [
            Row(
                runs,
                verdict,
                SweepCell(place, index == baseline, index == best, len(ties) > 1 and index in ties),
            )
            for index, (runs, verdict, place) in enumerate(zip(rows, verdicts, places, strict=True))
        ],
        sweep,
        estimate_main_effects(sweep, dict(zip(runs_by_cell, rows, strict=True)), counts),
        total - len(rows),
    )


def _group_runs(runs: Sequence[FinishedRun]) -> list[list[list[FinishedRun]]]:
    """Group runs into blocks of rows, each row as the list of its runs."""
    rows: dict[tuple[Any, ...], list[FinishedRun]] = {}
    for run in sorted(runs, key=_make_run_key):
        rows.setdefault(_make_row_key(run), []).append(run)
    ordered = [rows[key] for key in sorted(rows)]
    by_protocol = groupby(ordered, key=lambda row: protocol(row[0]))
    return [list(block) for _, block in by_protocol]


def _make_run_key(run: FinishedRun) -> tuple[Any, ...]:
    """Return the sort key of a run within its row."""
    return run.config.seed, run.config.fold, run.started, run.run_id


def _make_row_key(run: FinishedRun) -> tuple[Any, ...]:
    """Return the sort key of a run's row, which all runs of the row have in common."""
    varied_values = tuple(getattr(run.config, name) for name in VARIED)
    # All other configs come after the seven variants.
    variant = find_variant(run.config) or sys.maxsize
    return (*protocol(run).values(), variant, *varied_values)
