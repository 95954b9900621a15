"""Compare validation accuracies with chance.

Chance is the share of the largest class: always answering with that class is right that often.
"""

from collections.abc import Collection
from statistics import fmean

from study.common.errors import StudyError
from study.job import Outcome
from study.serving.registry import read_predictions
from study.statistics.predictions import compute_majority_share


def explain_no_better_than_chance(outcomes: Collection[Outcome]) -> str:
    """Return why the mean validation accuracy of runs does not beat chance.

    Returns:
        The reason as a clause, or `""` if it does, or if no run's predictions are available.
    """
    tables = [read_predictions(outcome.run_id) for outcome in outcomes]
    shares = [compute_majority_share(table, "val") for table in tables if table is not None]
    accuracy = fmean(outcome.val_accuracy for outcome in outcomes)
    if not shares or accuracy > fmean(shares):
        return ""
    mean = "mean " if len(outcomes) > 1 else ""
    return (
        f"{mean}validation accuracy {accuracy:.4f} does not beat chance "
        f"({fmean(shares):.4f}, the share of the largest class)"
    )


def check_beats_chance(outcomes: Collection[Outcome]) -> None:
    """Check that the mean validation accuracy of runs beats chance.

    Raises:
        StudyError: it does not.
    """
    if reason := explain_no_better_than_chance(outcomes):
        raise StudyError(f"no model is registered: {reason}; --force registers it all the same")
