"""Charts of predictions and learning curves: what their figures and words say."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from pipelines.compare.evidence import DetailedRow
from pipelines.compare.verdict import Verdict
from pipelines.page.diagnostics import draw_rocs
from pipelines.runs.predictions import Answers
from tests.pipelines.compare.test_block_verdicts import make_run


def make_answers(seed: int, shift: float) -> Answers:
    """Scores of 400 images that tell two classes apart well, shifted by a constant."""
    labels = np.arange(400) % 2
    scores = np.random.default_rng(seed).normal(2.5 * labels + shift)
    right = expit(scores)
    return Answers(("a", "b"), labels, np.column_stack([1 - right, right]))


def make_row(*answers: Answers) -> DetailedRow:
    return DetailedRow([make_run(1)], Verdict(), curves=[], answers_by_run=list(answers))


def test_roc_of_several_runs_is_the_mean_of_theirs_whatever_their_scale() -> None:
    shifts = (-5.0, 0.0, 5.0)
    answers = [make_answers(seed, shift) for seed, shift in enumerate(shifts)]
    areas = [roc_auc_score(each.labels, each.probabilities[:, 1]) for each in answers]
    row = make_row(*answers)
    assert row.answers is not None
    pooled = roc_auc_score(row.answers.labels, row.answers.probabilities[:, 1])
    assert pooled < np.mean(areas) - 0.05
    chart = draw_rocs([row])
    assert chart is not None
    assert chart.words == (
        "Curves and areas are means over the runs of a row, without intervals. "
        f"AUC of {row.label}: {np.mean(areas):.3f}"
    )
    curve = chart.figure.data[0]
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(np.mean(areas), abs=0.003)


def test_roc_leaves_out_a_run_that_lacks_a_class() -> None:
    one = make_answers(0, 0.0)
    lacking = Answers(one.classes, one.labels[::2], one.probabilities[::2])
    both = draw_rocs([make_row(one, lacking)])
    alone = draw_rocs([make_row(one)])
    assert both is not None
    assert alone is not None
    assert both.words == alone.words
    assert draw_rocs([make_row(lacking)]) is None
