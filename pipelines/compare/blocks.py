"""Hold the rows of a table in blocks, each of one protocol or sweep."""

from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from statistics import fmean
from typing import TypeVar

from pipelines.compare.cells import SweepCell
from pipelines.compare.columns import format_learning_rate
from pipelines.compare.main_effects import MainEffect
from pipelines.compare.verdict import BASELINE
from pipelines.compare.verdict import Verdict
from pipelines.runs.finished_run import FinishedRun
from pipelines.runs.protocol import VARIED
from study.common.words import format_percent
from study.config.sweep import Sweep
from study.config.trial_config import recipe
from study.config.trial_config import TrialConfig
from study.reported import read_reported
from study.reported import ReportedRow
from study.variants import find_variant


@dataclass(frozen=True)
class Row:
    """One config under a protocol, with its runs of any seeds and folds."""

    runs: list[FinishedRun]
    verdict: Verdict
    cell: SweepCell | None = None  # of a sweep
    is_found: bool = False  # by a search, with settings that no variant has

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
        return None if self.is_found else find_variant(self.config)

    @property
    def label(self) -> str:
        """Return a short name that tells the row from others, as `2 · D(16) · 1e-5`."""
        if self.cell:
            return self.cell.label
        number = f"{self.variant} · " if self.variant else ""
        rate = format_learning_rate(float(f"{self.config.lr:.3g}"))
        return f"{number}{self.config.head_notation} · {rate}"

    @property
    def report(self) -> ReportedRow | None:
        """Return the figures that the report prints for this config, if any."""
        if self.cell and not self._has_report_settings(self.cell):
            return None
        report = read_reported(self.config.dataset).get(self.variant or 0)
        return report if report and report.backbone == self.config.backbone else None

    def _has_report_settings(self, cell: SweepCell) -> bool:
        """Return whether a sweep changes none of the settings that the report left alone."""
        base = recipe(self.config.dataset).as_dict()
        return all(base[name] == value for name, value in cell.values.items() if name not in VARIED)

    @property
    def trained_seeds(self) -> int:
        """Return the number of seeds that were trained, with or without predictions."""
        return len({run.config.seed for run in self.runs})

    @property
    def judged_seeds(self) -> int:
        """Return the number of seeds behind the row's accuracy.

        Where an interval is known, these are the seeds with all their predictions.
        """
        return self.verdict.seeds or self.trained_seeds

    @property
    def is_one_training(self) -> bool:
        """Return whether the row is compared with the baseline by one training of each."""
        return self.verdict.pairs == 1 and not self.config.folds

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

    title: str  # its protocol, or its sweep and protocol, in one line
    rows: list[Row]
    sweep: Sweep | None = None
    effects: list[MainEffect] = field(default_factory=list)  # of a sweep of several fields
    missing_cells: int = 0  # of a sweep, without a finished run
    # The settings in which the rows of a search differ, besides head and rate; None of other blocks
    searched: tuple[str, ...] | None = None

    @property
    def comparisons(self) -> int:
        """Return over how many comparisons of a sweep p is adjusted.

        That of the baseline with the best on validation counts once, and stands in both rows.
        """
        gains = [row.verdict.gain for row in self.rows]
        leads = [row.verdict.lead for row in self.rows if not row.is_baseline]
        return len([pair for pair in (*gains, *leads) if pair is not None])

    @property
    def caption_parts(self) -> list[str]:
        """Return the title, and what predicting the most frequent class would reach."""
        chances = self.chances
        if not chances:
            return [self.title]
        texts = [
            format_percent(chance) + (f" ({split} split)" if len(chances) > 1 else "")
            for split, chance in chances.items()
        ]
        return [self.title, f"Always guessing the most frequent class: {', '.join(texts)}"]

    @property
    def caption(self) -> str:
        """Return the parts of the caption in one line."""
        return ". ".join(self.caption_parts)

    @property
    def best(self) -> Row | None:
        """Return the best row on validation of a sweep."""
        return next((row for row in self.rows if row.cell and row.cell.is_best), None)

    @property
    def chances(self) -> dict[str, float]:
        """Return the mean share, 0 to 1, of the most frequent class, by split.

        The share is among the test images. A sweep of splits has several.
        """
        shares: dict[str, list[float]] = {}
        for row in self.rows:
            if row.verdict.chance is not None:
                shares.setdefault(row.config.split, []).append(row.verdict.chance)
        return {split: fmean(values) for split, values in shares.items()}


AnyRow = TypeVar("AnyRow", bound=Row)


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
