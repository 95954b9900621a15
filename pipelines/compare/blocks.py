"""Group the runs of a data set into blocks of rows, with a verdict on each row."""

import math
import sys
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from itertools import groupby
from statistics import fmean
from typing import Any
from typing import TypeVar

from pipelines.compare.cells import Cell
from pipelines.compare.cells import find_best_on_validation
from pipelines.compare.cells import name_field
from pipelines.compare.columns import format_learning_rate
from pipelines.compare.formats import count_digits
from pipelines.compare.formats import format_percent
from pipelines.compare.main_effects import estimate_main_effects
from pipelines.compare.main_effects import MainEffect
from pipelines.compare.verdict import BASELINE
from pipelines.compare.verdict import judge_cells
from pipelines.compare.verdict import judge_rows
from pipelines.compare.verdict import Verdict
from pipelines.runs.finished import FinishedRun
from pipelines.runs.protocol import describe_protocol
from pipelines.runs.protocol import find_differing_settings
from pipelines.runs.protocol import join_texts
from pipelines.runs.protocol import protocol
from pipelines.runs.protocol import VARIED
from pipelines.runs.sweeps import group_cells
from pipelines.runs.sweeps import LoggedSweep
from study.config.sweep import Sweep
from study.config.sweep import Value
from study.config.trial_config import recipe
from study.config.trial_config import TrialConfig
from study.reported import read_reported
from study.reported import ReportedRow
from study.statistics.predictions import GroupCounts
from study.variants import find_variant
from study.variants import VARIANTS


@dataclass(frozen=True)
class Row:
    """One config under a protocol, with its runs of any seeds and folds."""

    runs: list[FinishedRun]
    verdict: Verdict
    cell: Cell | None = None  # of a sweep

    @property
    def is_baseline(self) -> bool:
        """Return whether this is the row that the others of its block are compared with."""
        return self.cell.is_baseline if self.cell else self.variant == BASELINE

    @property
    def config(self) -> TrialConfig:
        """Return the config of the first run, from which others differ by seed and fold."""
        return self.runs[0].config

    @property
    def variant(self) -> int | None:
        """Return the number of the variant, 1 to 7, or None for any other config."""
        return find_variant(self.config)

    @property
    def label(self) -> str:
        """Return a short name that tells the row from others, as `2 · D(16) · 1e-5`."""
        if self.cell:
            return self.cell.label
        number = f"{self.variant} · " if self.variant else ""
        rate = format_learning_rate(float(f"{self.config.lr:.3g}"))
        return f"{number}{self.config.head_notation} · {rate}"

    @property
    def digits(self) -> int:
        """Return how many decimals a percent of this row's test images needs."""
        return count_digits(self.verdict.images)

    @property
    def report(self) -> ReportedRow | None:
        """Return the figures that the report prints for this config, if any."""
        if self.cell and not self._has_report_settings(self.cell):
            return None
        report = read_reported(self.config.dataset).get(self.variant or 0)
        return report if report and report.backbone == self.config.backbone else None

    def _has_report_settings(self, cell: Cell) -> bool:
        """Return whether a sweep changes none of the settings that the report left alone."""
        base = recipe(self.config.dataset).as_dict()
        return all(base[name] == value for name, value in cell.values.items() if name not in VARIED)

    @property
    def is_reproduced(self) -> bool | None:
        """Return whether the reported accuracy lies in the interval, or None if unknown."""
        accuracy = self.verdict.accuracy
        if self.report is None or accuracy is None:
            return None
        return accuracy.low <= self.report.test_acc <= accuracy.high


@dataclass(frozen=True)
class Block:
    """The rows that share a protocol, so that they may be compared."""

    protocol: str  # in one line
    rows: list[Row]
    sweep: Sweep | None = None
    effects: list[MainEffect] = field(default_factory=list)  # of a sweep of several fields
    missing_cells: int = 0  # of a sweep, without a finished run

    @property
    def digits(self) -> int:
        """Return how many decimals a percent of its test images needs."""
        return min((row.digits for row in self.rows), default=1)

    @property
    def caption(self) -> str:
        """Return the protocol, and what predicting the most frequent class would reach."""
        if self.chance is None:
            return self.protocol
        chance = format_percent(self.chance, self.digits)
        return f"{self.protocol}. Always the most frequent class: {chance}"

    @property
    def best(self) -> Row | None:
        """Return the best row on validation of a sweep."""
        return next((row for row in self.rows if row.cell and row.cell.is_best), None)

    @property
    def chance(self) -> float | None:
        """Return the mean share, 0 to 1, of the most frequent class among the test images."""
        shares = [row.verdict.chance for row in self.rows if row.verdict.chance is not None]
        return fmean(shares) if shares else None


AnyRow = TypeVar("AnyRow", bound=Row)


def build_blocks(
    runs: Sequence[FinishedRun],
    counts: Mapping[str, GroupCounts],
    sweeps: Sequence[LoggedSweep] = (),
) -> list[Block]:
    """Group the runs of one data set into blocks of rows, in the order of the table.

    Each protocol has a block: one row for each of the seven variants, and then one for each
    further head and learning rate that is in no sweep. Each sweep has a block with a row for each
    of its cells. A protocol's own block is left out where one of a sweep has all its rows, unless
    it has all seven variants.

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
    swept_runs = [{run.run_id for run in list_runs([block])} for block in sweep_blocks]
    own_blocks = [
        Block(
            describe_protocol(rows[0][0], named),
            [Row(*pair) for pair in zip(rows, judge_rows(rows, counts), strict=True)],
        )
        for rows in _leave_out_swept(_group_runs(runs), swept_runs)
    ]
    return [*own_blocks, *sweep_blocks]


def _leave_out_swept(
    blocks: list[list[list[FinishedRun]]], swept_runs: Sequence[set[str]]
) -> list[list[list[FinishedRun]]]:
    """Leave out the rows that the block of a sweep shows.

    A block that one sweep shows completely is left out, unless it has all seven variants. Of the
    other blocks, the rows of variants stay.
    """
    anywhere = set().union(*swept_runs)
    remaining = []
    for rows in blocks:
        run_ids = {run.run_id for row in rows for run in row}
        variants = {find_variant(row[0].config) for row in rows} - {None}
        is_swept = any(run_ids <= swept for swept in swept_runs)
        if not is_swept or len(variants) == len(VARIANTS):
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
    best = find_best_on_validation(rows)
    verdicts = judge_cells(rows, counts, baseline=baseline, best=best, swept=sweep.fields)
    names = join_texts(name_field(name) for name in sweep.fields)
    total = math.prod(len(values) for values in sweep.fields.values())
    return Block(
        f"Sweep of {names}: {describe_protocol(rows[0][0], named, sweep.fields)}",
        [
            Row(runs, verdict, Cell(place, index == baseline, index == best))
            for index, (runs, verdict, place) in enumerate(zip(rows, verdicts, places, strict=True))
        ],
        sweep,
        estimate_main_effects(sweep, dict(zip(runs_by_cell, rows, strict=True)), counts),
        total - len(rows),
    )


def find_main_block(blocks: Sequence[Block]) -> Block:
    """Return the block that the report is about.

    It is the one with the most rows that are compared with the baseline, among equals the one with
    the most variants, and then with the most runs.
    """

    def count_content(block: Block) -> tuple[int, int, int]:
        compared_rows = [row for row in block.rows if row.verdict.gain is not None]
        variants = {row.variant for row in block.rows} - {None}
        return len(compared_rows), len(variants), len(list_runs([block]))

    return max(blocks, key=count_content)


def find_baseline(rows: Iterable[AnyRow]) -> AnyRow | None:
    """Return the row that the others of its block are compared with, if any."""
    return next((row for row in rows if row.is_baseline), None)


def list_runs(blocks: Iterable[Block]) -> list[FinishedRun]:
    """List the runs of some blocks, in the order of the table."""
    return [run for block in blocks for row in block.rows for run in row.runs]


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
