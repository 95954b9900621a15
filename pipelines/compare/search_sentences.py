"""Say in plain sentences whether a search found better than variant 1, from which it started."""

from collections.abc import Sequence

from pipelines.compare.blocks import Block
from pipelines.compare.blocks import Row
from pipelines.compare.formats import format_accuracy
from pipelines.compare.reflection import is_significant
from pipelines.compare.reflection import spell_count
from pipelines.compare.reflection import summarize_study
from pipelines.runs.protocol import describe_settings
from study.common.words import join_texts


def answer_for_search(block: Block) -> str:
    """Say in a word whether the best of a search is more accurate than its start."""
    rows = block.rows[1:]
    gains = [row.verdict.gain.value for row in rows if row.verdict.gain and is_significant(row)]
    if not gains:
        return "This is not shown."
    return "Yes." if max(gains) > 0 else "No, it is worse."


def describe_search(block: Block) -> list[str]:
    """Say how the best of a search compares with its start on the same fresh seeds.

    There are no sentences for other blocks.
    """
    if block.searched is None:
        return []
    start, *found = block.rows
    sentences = summarize_study(block.rows)
    if start.verdict.accuracy is None or any(row.verdict.gain is None for row in found):
        return sentences
    count = max(row.verdict.pairs for row in found)
    seeds = "one fresh seed" if count == 1 else f"the same {spell_count(count)} fresh seeds"
    results = join_texts([_describe_result(row, block.searched) for row in found])
    return [
        f"With {seeds}, variant 1 is right on {format_accuracy(start.verdict.accuracy)} of the "
        f"test images, and what the search found best on validation, {results}.",
        *sentences,
    ]


def _describe_result(row: Row, searched: Sequence[str]) -> str:
    assert row.verdict.accuracy is not None
    settings = describe_settings(row.runs[0], searched)
    name = f"{row.label} with {settings}" if settings else row.label
    return f"{name}, on {format_accuracy(row.verdict.accuracy)}"
