"""The charts of a search: of one protocol, and importances only of many trials."""

from pipelines.page.search_charts import draw_search_charts
from pipelines.runs.finished_run import FinishedRun
from study.config.trial_config import recipe
from tests.support.store import make_finished_run


def make_search(count: int, **fields: object) -> list[FinishedRun]:
    """Trials of demo with rising rates, of which the highest is the best on validation."""
    runs = []
    for number in range(count):
        config = recipe("demo").replace(lr=1e-3 * 1.05**number, **fields)
        name = f"{number} {fields}"
        runs.append(make_finished_run(config, name, {"val_accuracy": 0.5 + number / 100}, "search"))
    return runs


def test_search_charts_are_of_the_protocol_with_the_most_trials() -> None:
    main = make_search(31, dropout=0.5)
    others = [
        *make_search(9, limit=100),
        *make_search(12, split="grouped"),
        *make_search(20, seed=4),
    ]
    importances, trials = draw_search_charts([*others, *main])
    assert importances.title == "Importance of each field in the search (31 of 72 trials)"
    assert trials.title == "The search's trials (31 of 72)"
    for chart in (importances, trials):
        assert "pooled split" in chart.words
        assert "all images, seed 0. " in chart.words
    assert "Best validation accuracy, 0.8000: lr 0.00432" in trials.words


def test_importances_need_thirty_trials() -> None:
    (trials,) = draw_search_charts(make_search(29))
    assert trials.title == "The search's trials (29)"
    assert len(draw_search_charts(make_search(30))) == 2
    assert draw_search_charts(make_search(7)) == []


def test_trial_of_several_seeds_counts_once_with_their_mean() -> None:
    runs = [run for seed in (0, 1) for run in make_search(8, seed=seed)]
    for number, run in enumerate(runs):
        run.metrics["val_accuracy"] += (number >= 8) / 5  # all of seed 1
    (trials,) = draw_search_charts(runs)
    assert trials.title == "The search's trials (8)"
    assert "seed 0 and 1. Best validation accuracy, 0.6700" in trials.words


def test_search_is_drawn_by_its_own_objective() -> None:
    runs = make_search(30)
    for number, run in enumerate(runs):
        run.metrics["val_loss"] = abs(number - 3) / 100
    _, trials = draw_search_charts(runs, {"": "val_loss"})
    assert trials.figure.layout.xaxis.ticktext[0] == "validation loss"
    assert "Best validation loss, 0.0000: lr 0.00115" in trials.words
    assert trials.min_width == 200  # the objective, and the rate
