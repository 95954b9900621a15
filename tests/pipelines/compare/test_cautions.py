"""What a report says of leaks before its table."""

import pytest

from pipelines.compare.blocks import Block
from pipelines.compare.cautions import list_cautions
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
    text = " ".join(list_cautions([Block("pooled", rows)], {}))
    for word in words:
        assert word in text
    assert ("test images have a sibling in training," in text) == (leaks != ["unknown"])
