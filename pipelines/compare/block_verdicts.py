"""Judge the rows of a block together, with p adjusted for all comparisons."""

from collections.abc import Collection
from collections.abc import Sequence
from dataclasses import replace

from statsmodels.stats.multitest import multipletests

from pipelines.compare.pairing import CountsByRun
from pipelines.compare.pairing import list_seeds
from pipelines.compare.pairing import pair_runs
from pipelines.compare.pairing import select_whole_seeds
from pipelines.compare.verdict import BASELINE
from pipelines.compare.verdict import compare_with_baseline
from pipelines.compare.verdict import judge_alone
from pipelines.compare.verdict import Verdict
from pipelines.runs.finished_run import FinishedRun
from pipelines.runs.protocol import find_differing_settings
from pipelines.runs.protocol import may_differ
from study.common.errors import StudyError
from study.statistics.intervals import SIGNIFICANCE_LEVEL
from study.statistics.power import compute_power
from study.statistics.power import Power
from study.variants import find_variant


class MixedProtocolsError(StudyError):
    """Error for a comparison of runs with different protocols."""


Rows = Sequence[Sequence[FinishedRun]]


def judge_rows(
    rows: Rows, counts_by_run: CountsByRun, searched: Collection[str] = ()
) -> list[Verdict]:
    """Return a verdict on each row.

    Args:
        rows: the runs of each config, of one protocol, with any seeds and folds.
        counts_by_run: the test images of each run by group, by run ID. A run that is not among them
            counts only in the learning times.
        searched: the settings in which rows may differ all the same.

    Raises:
        MixedProtocolsError: the runs are of several protocols.
    """
    _check_protocols(rows, searched)
    baseline = next((row for row in rows if find_variant(row[0].config) == BASELINE), None)
    verdicts = [judge_alone(row, counts_by_run) for row in rows]
    verdicts = [
        verdict if row is baseline else _compare_or_explain(verdict, row, baseline, counts_by_run)
        for verdict, row in zip(verdicts, rows, strict=True)
    ]
    return _adjust_for_family(verdicts, [find_variant(row[0].config) is not None for row in rows])


def judge_cells(
    rows: Rows,
    counts_by_run: CountsByRun,
    *,
    baseline: int | None,
    best: int | None,
    swept: Collection[str],
) -> list[Verdict]:
    """Return a verdict on each row of a sweep.

    Each row is compared with the baseline, and with the best on validation.

    Args:
        rows: the runs of each config.
        counts_by_run: the test images of each run by group, by run ID.
        baseline: the index of the row that the others are compared with, if it was trained.
        best: the index of the best row on validation, if known.
        swept: the config fields in which rows may differ.

    Raises:
        MixedProtocolsError: the runs differ in other settings.
    """
    _check_protocols(rows, swept)
    verdicts = [judge_alone(row, counts_by_run) for row in rows]
    verdicts = _add_gains(verdicts, rows, counts_by_run, baseline)
    if best is not None and best != baseline:
        verdicts = _add_leads(verdicts, rows, counts_by_run, best)
    return _adjust_cells(verdicts, baseline, best)


def _add_gains(
    verdicts: Sequence[Verdict], rows: Rows, counts_by_run: CountsByRun, baseline: int | None
) -> list[Verdict]:
    """Add to the verdict on each cell how it compares with the baseline, if that was trained."""
    base = None if baseline is None else rows[baseline]
    return [
        verdict if index == baseline else _compare_or_explain(verdict, row, base, counts_by_run)
        for index, (verdict, row) in enumerate(zip(verdicts, rows, strict=True))
    ]


def _add_leads(
    verdicts: Sequence[Verdict], rows: Rows, counts_by_run: CountsByRun, best: int
) -> list[Verdict]:
    """Add to the verdict on each cell its lead over the best on validation.

    This is fair, because the best is chosen on other images than it is tested on. The highest test
    accuracy would be compared with others on the very images that singled it out. In a
    cross-validation, each validation image is a test image of another fold, so nothing is added.
    """
    if rows[best][0].config.folds:
        return list(verdicts)
    return [
        verdict if index == best else _add_lead(verdict, row, rows[best], counts_by_run)
        for index, (verdict, row) in enumerate(zip(verdicts, rows, strict=True))
    ]


def _compare_or_explain(
    verdict: Verdict,
    row: Sequence[FinishedRun],
    baseline: Sequence[FinishedRun] | None,
    counts_by_run: CountsByRun,
) -> Verdict:
    """Compare a row with the baseline, or say why that is not possible."""
    if baseline is not None:
        verdict = compare_with_baseline(verdict, row, baseline, counts_by_run)
    if verdict.gain is not None or verdict.obstacle:
        return verdict
    return replace(verdict, obstacle=_name_obstacle(row, baseline, counts_by_run))


def _name_obstacle(
    row: Sequence[FinishedRun], baseline: Sequence[FinishedRun] | None, counts_by_run: CountsByRun
) -> str:
    """Name in a few words what a comparison with the baseline lacks."""
    if baseline is None:
        return "baseline not trained"
    seeds, base_seeds = (
        set(list_seeds(select_whole_seeds(run for run in runs if run.run_id in counts_by_run)))
        for runs in (row, baseline)
    )
    missing = "folds or predictions" if baseline[0].config.folds else "predictions"
    if not seeds:
        return f"{missing} missing"
    if not base_seeds:
        return f"baseline's {missing} missing"
    return "other test images" if seeds & base_seeds else "no seed in common"


def _add_lead(
    verdict: Verdict,
    row: Sequence[FinishedRun],
    best: Sequence[FinishedRun],
    counts_by_run: CountsByRun,
) -> Verdict:
    pairs = pair_runs(row, best, counts_by_run)
    if pairs is None:
        return verdict
    return replace(verdict, lead=pairs.estimate_gain(), lead_pairs=len(pairs.seeds))


def _adjust_cells(verdicts: list[Verdict], baseline: int | None, best: int | None) -> list[Verdict]:
    """Adjust p by Holm's method over all comparisons of a sweep, and add their power.

    The comparison of the baseline with the best is one, whichever of them is named first.
    """
    p_by_pair: dict[frozenset[int | None], float] = {}
    for index, verdict in enumerate(verdicts):
        for other, estimate in ((baseline, verdict.gain), (best, verdict.lead)):
            if estimate is not None:
                p_by_pair[frozenset((index, other))] = estimate.p
    if not p_by_pair:
        return verdicts
    adjusted = multipletests(list(p_by_pair.values()), method="holm")[1].tolist()
    p_by_pair = dict(zip(p_by_pair, adjusted, strict=True))
    return [
        replace(
            verdict,
            p=p_by_pair[frozenset((index, baseline))] if verdict.gain else None,
            lead_p=p_by_pair[frozenset((index, best))] if verdict.lead else None,
            power=_compute_power(verdict, comparisons=len(p_by_pair)),
        )
        for index, verdict in enumerate(verdicts)
    ]


def _check_protocols(rows: Rows, swept: Collection[str] = ()) -> None:
    """Raise an error if runs differ in settings other than those that are swept."""
    runs = [run for row in rows for run in row]
    names = [name for name in find_differing_settings(runs) if not may_differ(name, swept)]
    if fields := [name for name in names if name != "limit" or _count_limits(runs) > 1]:
        raise MixedProtocolsError(
            f"runs of different protocols cannot be compared: they differ in {', '.join(fields)}"
        )


def _count_limits(runs: Sequence[FinishedRun]) -> int:
    return len({run.config.limit for run in runs})


def _adjust_for_family(verdicts: list[Verdict], are_variants: list[bool]) -> list[Verdict]:
    """Replace each pair's own p by Holm's, and add the power that this leaves.

    The variants are adjusted among themselves, and so are the other configs.
    """
    adjusted_verdicts = list(verdicts)
    for family in (True, False):
        indices = [
            index
            for index, (verdict, is_variant) in enumerate(zip(verdicts, are_variants, strict=True))
            if verdict.gain is not None and is_variant is family
        ]
        if indices:
            p_values = multipletests([verdicts[index].p for index in indices], method="holm")[1]
            for index, p in zip(indices, p_values, strict=True):
                power = _compute_power(verdicts[index], comparisons=len(indices))
                adjusted_verdicts[index] = replace(verdicts[index], p=float(p), power=power)
    return adjusted_verdicts


def _compute_power(verdict: Verdict, *, comparisons: int) -> Power | None:
    """Compute the power of a comparison at the level of Holm's first step."""
    if verdict.variance is None or verdict.gain is None:
        return None
    return compute_power(verdict.variance, verdict.gain.value, SIGNIFICANCE_LEVEL / comparisons)
