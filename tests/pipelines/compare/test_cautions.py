"""What a report says of leaks before its table."""

import numpy as np
import pytest

from pipelines.compare.blocks import Block
from pipelines.compare.cautions import list_cautions
from pipelines.runs.predictions import Predictions
from study.statistics.predictions import GroupCounts
from tests.pipelines.compare.test_answer import make_row


@pytest.mark.parametrize(
    ("leaks", "words"),
    [
        (["3/80", "5/80"], ["in all runs", "(up to 5 of 80)"]),
        (["at least 3/80"], ["in all runs", "(at least 3 of 80)", "it is unknown how many"]),
        (["unknown"], ["it is unknown how many"]),
    ],
)
def test_cautions_name_the_leak_and_what_is_not_known_of_it(
    leaks: list[str], words: list[str]
) -> None:
    rows = [make_row(number, 0.97, leak=leak) for number, leak in enumerate(leaks, start=1)]
    text = " ".join(list_cautions([Block("pooled", rows)], Predictions()))
    for word in words:
        assert word in text
    assert ("test images have a sibling in training," in text) == (leaks != ["unknown"])


def test_caution_counts_the_runs_that_call_every_test_image_the_same() -> None:
    rows = [make_row(number, 0.97) for number in (1, 2)]
    one = np.ones(1, np.int32)
    counts = {
        run.run_id: GroupCounts(np.array(["g"]), one, one, True, only_answer=answer)
        for row, answer in zip(rows, ("", "PNEUMONIA"), strict=True)
        for run in row.runs
    }
    blocks = [Block("pooled", rows), Block("a sweep of the same runs", rows)]
    first = list_cautions(blocks, Predictions(counts))[0]
    assert first.startswith(
        "Warning: in 1 of 2 runs, every test image is classified as PNEUMONIA: "
    )
