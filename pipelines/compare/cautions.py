"""List the reasons to trust the accuracies of a table less."""

from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence

from pipelines.compare.blocks import Block
from pipelines.compare.blocks import list_runs
from pipelines.runs.finished_run import FinishedRun
from pipelines.runs.predictions import Predictions
from pipelines.runs.protocol import format_share
from study.common.words import join_distinct
from study.common.words import pluralize
from study.config.trial_config import TrialConfig
from study.statistics.predictions import GroupCounts


def list_cautions(blocks: Sequence[Block], predictions: Predictions) -> list[str]:
    """Return one plain line for each reason to trust the accuracies less.

    Args:
        blocks: of the table.
        predictions: of their runs.
    """
    # A run that belongs to several blocks counts once
    runs = list({run.run_id: run for run in list_runs(blocks)}.values())
    return [
        *_warn_of_only_answers(runs, predictions.counts),
        *_warn_of_subsets(runs),
        *_warn_of_leaks(runs),
        *_warn_of_unknown_leaks(runs),
        *_warn_of_single_seeds(blocks),
        *_warn_of_missing_predictions(runs, predictions.problems),
        *_warn_of_missing_folds(runs),
    ]


def _warn_of_only_answers(
    runs: Sequence[FinishedRun], counts: Mapping[str, GroupCounts]
) -> list[str]:
    """Warn of runs that predict one class for all test images, one line for each class."""
    runs_by_answer: dict[str, list[FinishedRun]] = {}
    for run in runs:
        if run.run_id in counts and (answer := counts[run.run_id].only_answer):
            runs_by_answer.setdefault(answer, []).append(run)
    return [
        f"Warning: in {format_share(constant_runs, runs)}, every test image is classified as"
        f" {answer}: the model did not learn to tell the classes apart, and its accuracy is only"
        " the share of this class."
        for answer, constant_runs in sorted(runs_by_answer.items())
    ]


def _warn_of_subsets(runs: Sequence[FinishedRun]) -> list[str]:
    subset_runs = [run for run in runs if run.config.limit]
    if not subset_runs:
        return []
    limits = sorted({run.config.limit for run in subset_runs})
    sizes = join_distinct(str(limit) for limit in limits)
    return [f"Subset: {format_share(subset_runs, runs)} used only about {sizes} images."]


def _warn_of_leaks(runs: Sequence[FinishedRun]) -> list[str]:
    leaking_runs = [run for run in runs if run.least_leaking and run.least_leaking[0]]
    if not leaking_runs:
        return []
    most, total = max(run.least_leaking for run in leaking_runs if run.least_leaking)
    limit = "up to" if all(run.leaking for run in leaking_runs) else "at least"
    return [
        f"Warning: in {format_share(leaking_runs, runs)}, test images have a sibling in training,"
        f" an image of the same patient or original ({limit} {most} of {total}): test accuracy"
        " partly measures memory."
    ]


def _warn_of_unknown_leaks(runs: Sequence[FinishedRun]) -> list[str]:
    unknown_runs = [run for run in runs if run.leaking is None]
    if not unknown_runs:
        return []
    return [
        f"In {format_share(unknown_runs, runs)}, it is unknown how many test images have a"
        " sibling in training."
    ]


def _warn_of_single_seeds(blocks: Sequence[Block]) -> list[str]:
    # The folds of one seed are several trainings.
    rows = [row for block in blocks for row in block.rows if not row.config.folds]
    count = sum(row.judged_seeds == 1 for row in rows)
    if not count:
        return []
    where = "One seed" if count == len(rows) else f"One seed in {count} of {len(rows)} rows"
    return [
        f"{where}: the intervals cover the choice of test images, but not that of the seed, which"
        " can change an accuracy by some points. A difference may be due to chance: train more"
        " seeds with --seeds 5."
    ]


def _warn_of_missing_predictions(
    runs: Sequence[FinishedRun], problems: Mapping[str, str]
) -> list[str]:
    lacking_runs = [run for run in runs if run.run_id in problems]
    if not lacking_runs:
        return []
    counts = Counter(problems[run.run_id] for run in lacking_runs)
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items())
    return [
        f"Warning: the predictions of {format_share(lacking_runs, runs)} are missing ({reasons}):"
        " intervals and comparisons leave these runs out."
    ]


def _warn_of_missing_folds(runs: Sequence[FinishedRun]) -> list[str]:
    folds_by_setup: dict[tuple[TrialConfig, str, str, str, str], set[int]] = {}
    for run in (run for run in runs if run.config.folds):
        origin = (run.weights_kind, run.weights_file, run.weights_digest, run.data_digest)
        # Folds of one cross-validation have equal configs but for the fold.
        setup = (run.config.replace(fold=1), *origin)
        folds_by_setup.setdefault(setup, set()).add(run.config.fold)
    count = sum(len(folds) < config.folds for (config, *_), folds in folds_by_setup.items())
    if not count:
        return []
    return [
        f"In {count} of {pluralize(len(folds_by_setup), 'cross-validation')}, folds are missing:"
        " intervals and comparisons leave these runs out."
    ]
