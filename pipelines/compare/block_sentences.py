"""Say below a table, in plain sentences, what it shows."""

from pipelines.compare.blocks import Block
from pipelines.compare.search_sentences import describe_search
from pipelines.compare.sweep_sentences import describe_sweep


def describe_block(block: Block) -> list[str]:
    """Describe the results of a sweep or a search, in a paragraph each.

    There are none for a block of variants.
    """
    return [*describe_sweep(block), *filter(None, [" ".join(describe_search(block))])]
