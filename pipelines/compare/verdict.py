"""Which differences between configs are real: each row of a table beside the base variant."""

import math
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from statistics import median

import numpy as np
from statsmodels.stats.multitest import multipletests

from pipelines.runs.finished import FinishedRun
from pipelines.runs.protocol import differing
from study.common.errors import StudyError
from study.statistics.intervals import accuracy
from study.statistics.intervals import chance_to_win
from study.statistics.intervals import Counts
from study.statistics.intervals import difference
from study.statistics.intervals import Estimate
from study.statistics.predictions import Tested
from study.variants import variant_of

BASE = 1  # the variant that the others are compared with


class MixedProtocolsError(StudyError):
    """Runs that were not trained and tested alike cannot be compared."""


@dataclass(frozen=True)
class Verdict:
    """What is known of one config; accuracies 0 to 1, differences -1 to 1. None: not known.

    accuracy: the mean over seeds, with its interval;
    deviation: the standard deviation of accuracy between seeds, from two on;
    gain: accuracy above that of the base, on the same seeds and images, with the p of that pair;
    p: the same, by Holm's method for all configs that are compared with the base;
    wins: the probability that a training beats one of the base on the same seed, from two on;
    time_ratio: median learning time over the base's.
    """

    accuracy: Estimate | None = None
    deviation: float | None = None
    gain: Estimate | None = None
    p: float | None = None
    wins: Estimate | None = None
    time_ratio: float | None = None
    seeds: int = 0  # with predictions
    pairs: int = 0  # of these, shared with the base
    grouped: bool = False  # whether the interval respects groups


Rows = Sequence[Sequence[FinishedRun]]


def judge(rows: Rows, tested: Mapping[str, Tested]) -> list[Verdict]:
    """A verdict on each row.

    Args:
        rows: the runs of each config, of one protocol, with any seeds and folds.
        tested: their predictions, by run ID; a run without any counts for nothing.

    Raises:
        MixedProtocolsError: they are of several.
    """
    runs = [run for row in rows for run in row]
    if fields := [name for name in differing(runs) if name != "limit" or _limits(runs) > 1]:
        raise MixedProtocolsError(
            f"runs of mixed protocols are not comparable: they differ in {', '.join(fields)}"
        )
    base = next((row for row in rows if variant_of(row[0].config) == BASE), None)
    found = [_alone(row, tested) for row in rows]
    if base is not None:
        found = [
            verdict if row is base else _beside(verdict, row, base, tested)
            for verdict, row in zip(found, rows, strict=True)
        ]
    return _adjusted(found, [variant_of(row[0].config) is not None for row in rows])


def _limits(runs: Sequence[FinishedRun]) -> int:
    return len({run.config.limit for run in runs})


def _alone(row: Sequence[FinishedRun], tested: Mapping[str, Tested]) -> Verdict:
    known = [run for run in row if run.run_id in tested]
    seeds = _seeds(known)
    if not seeds:
        return Verdict()
    (counts,) = _counts([known], seeds, tested)
    deviation = float(counts.by_seed.std(ddof=1)) if len(seeds) > 1 else None
    grouped = all(tested[run.run_id].grouped for run in known)
    return Verdict(accuracy(counts), deviation, seeds=len(seeds), grouped=grouped)


def _beside(
    verdict: Verdict,
    row: Sequence[FinishedRun],
    base: Sequence[FinishedRun],
    tested: Mapping[str, Tested],
) -> Verdict:
    times = [median(_times(runs) or [math.nan]) for runs in (row, base)]
    verdict = replace(verdict, time_ratio=times[0] / times[1] if times[1] else math.nan)
    # a pair is a seed and fold that both have, for these share their test images
    known = [{_draw(run): run for run in runs if run.run_id in tested} for runs in (row, base)]
    common = sorted(known[0].keys() & known[1].keys())
    if not common:
        return verdict
    pair = [[runs[draw] for draw in common] for runs in known]
    seeds = _seeds(pair[0])
    one, other = _counts(pair, seeds, tested)
    gain = difference(one, other)
    wins = chance_to_win(one, other) if len(seeds) > 1 else None
    return replace(verdict, gain=gain, p=gain.p, wins=wins, pairs=len(seeds))


def _times(runs: Sequence[FinishedRun]) -> list[float]:
    return [run.metrics["fit_seconds"] for run in runs if "fit_seconds" in run.metrics]


def _draw(run: FinishedRun) -> tuple[int, int]:
    return run.config.seed, run.config.fold


def _seeds(runs: Sequence[FinishedRun]) -> list[int]:
    return sorted({run.config.seed for run in runs})


def _counts(rows: Rows, seeds: list[int], tested: Mapping[str, Tested]) -> list[Counts]:
    """The counts of each row over the same groups and seeds; the folds of a seed together."""
    sets = {id(t.groups): t.groups for row in rows for t in (tested[run.run_id] for run in row)}
    names = np.unique(np.concatenate(list(sets.values())))
    places = {key: np.searchsorted(names, groups) for key, groups in sets.items()}
    found = []
    for row in rows:
        right, asked = np.zeros((2, len(names), len(seeds)))
        for run in row:
            part, column = tested[run.run_id], seeds.index(run.config.seed)
            right[places[id(part.groups)], column] += part.right
            asked[places[id(part.groups)], column] += part.tested
        found.append(Counts(right, asked))
    return found


def _adjusted(verdicts: list[Verdict], reported: list[bool]) -> list[Verdict]:
    """With Holm's p in place of each pair's own: the variants among themselves, as are others."""
    result = list(verdicts)
    for kind in (True, False):
        places = [i for i, v in enumerate(verdicts) if v.gain is not None and reported[i] is kind]
        if places:
            adjusted = multipletests([verdicts[i].p for i in places], method="holm")[1]
            for place, p in zip(places, adjusted, strict=True):
                result[place] = replace(verdicts[place], p=float(p))
    return result
