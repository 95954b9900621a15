"""Put numbers and lists into words, for everything that a person reads."""

from collections.abc import Iterable


def format_percent(share: float) -> str:
    """Format a share, 0 to 1, as `97.6 %`."""
    return f"{100 * share:.1f} %"


def pluralize(count: int, noun: str) -> str:
    """Return a count with its noun, as `1 run` or `1,168 runs`."""
    ending = "" if count == 1 else "s"
    return f"{count:,} {noun}{ending}"


def join_texts(texts: Iterable[str]) -> str:
    """Join texts as in `a`, `a and b`, `a, b and c`."""
    *others, last = texts
    return f"{', '.join(others)} and {last}" if others else last


def join_distinct(texts: Iterable[str]) -> str:
    """Join texts, each once, in the order of first appearance."""
    return join_texts(dict.fromkeys(texts))


def name_metric(metric: str) -> str:
    """Name a logged metric for readers: `validation AUC` for `val_auc`."""
    return metric.replace("val_", "validation ").replace("_", " ").replace("auc", "AUC")
