"""Group the runs of a data set into blocks of rows, with a verdict on each row."""

import sys
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from typing import TypeVar

from pipelines.compare.columns import format_learning_rate
from pipelines.compare.verdict import BASELINE
from pipelines.compare.verdict import judge_rows
from pipelines.compare.verdict import Verdict
from pipelines.runs.finished import FinishedRun
from pipelines.runs.protocol import describe_protocol
from pipelines.runs.protocol import find_differing_settings
from pipelines.runs.protocol import protocol
from pipelines.runs.protocol import VARIED
from study.config.trial_config import TrialConfig
from study.reported import read_reported
from study.reported import ReportedRow
from study.statistics.predictions import GroupCounts
from study.variants import find_variant


@dataclass(frozen=True)
class Row:
    """One config under a protocol, with its runs of any seeds and folds."""

    runs: list[FinishedRun]
    verdict: Verdict

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
        head = self.config.head_notation.removeprefix("F - ").replace(" - ", "·")
        number = f"{self.variant} · " if self.variant else ""
        return f"{number}{head} · {format_learning_rate(float(f'{self.config.lr:.3g}'))}"

    @property
    def report(self) -> ReportedRow | None:
        """Return the figures that the report prints for this config, if any."""
        report = read_reported(self.config.dataset).get(self.variant or 0)
        return report if report and report.backbone == self.config.backbone else None

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


AnyRow = TypeVar("AnyRow", bound=Row)


def build_blocks(runs: Sequence[FinishedRun], counts: Mapping[str, GroupCounts]) -> list[Block]:
    """Group the runs of one data set into blocks of rows, in the order of the table.

    There is one row for each protocol and variant, and after the seven variants one for each
    further head and learning rate.

    Args:
        runs: of one data set.
        counts: the test images of each run by group, by run ID. Intervals, and comparisons within
            a block, follow from them.
    """
    named = find_differing_settings(runs)
    return [
        Block(
            describe_protocol(rows[0][0], named),
            [Row(*pair) for pair in zip(rows, judge_rows(rows, counts), strict=True)],
        )
        for rows in _group_runs(runs)
    ]


def find_main_block(blocks: Sequence[Block]) -> Block:
    """Return the block with the most variants, or among equals the most runs."""

    def count_variants_and_runs(block: Block) -> tuple[int, int]:
        variants = {row.variant for row in block.rows} - {None}
        return len(variants), len(list_runs([block]))

    return max(blocks, key=count_variants_and_runs)


def find_baseline(rows: Iterable[AnyRow]) -> AnyRow | None:
    """Return the row of the variant that the others are compared with, if any."""
    return next((row for row in rows if row.variant == BASELINE), None)


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
