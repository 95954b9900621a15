"""How long the rest of a grid takes."""

from study.search.time_estimate import extrapolate_time


def test_time_left_on_one_worker_is_that_of_the_trials_so_far() -> None:
    assert extrapolate_time(elapsed=200, trained=2, in_training=0, remaining=5) == 500


def test_time_left_counts_the_trials_on_other_workers_as_half_done() -> None:
    # Two workers: one has ended its first trial of ten minutes, the other is about to
    assert extrapolate_time(elapsed=600, trained=1, in_training=1, remaining=4) == 1400
    assert extrapolate_time(elapsed=600, trained=1, in_training=3, remaining=3) == 360
