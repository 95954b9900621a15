"""Format shares, differences, p-values and times with the digits readers need."""

from study.common.words import format_percent
from study.statistics.intervals import Estimate
from study.statistics.intervals import SIGNIFICANCE_LEVEL


def format_signed_points(difference: float) -> str:
    """Format a difference, -1 to 1, in percentage points, as `-1.1`.

    Zero is `+0.0`, never `-0.0`.
    """
    return f"{round(100 * difference, 1) + 0.0:+.1f}"


def format_accuracy(accuracy: Estimate) -> str:
    """Format an accuracy as `97.6 % (96.5 to 98.4)`."""
    return f"{format_percent(accuracy.value)} ({format_interval(accuracy)})"


def format_interval(accuracy: Estimate) -> str:
    """Format the interval of an accuracy, in percent, as `96.5 to 98.4`."""
    return f"{100 * accuracy.low:.1f} to {100 * accuracy.high:.1f}"


def format_difference(difference: Estimate) -> str:
    """Format an accuracy difference in percentage points: `-1.1 (-2.1 to -0.2)`."""
    value, low, high = format_bounds(difference)
    return f"{value} ({low} to {high})"


def format_bounds(difference: Estimate) -> tuple[str, str, str]:
    """Format a difference and the ends of its interval, in signed percentage points."""
    value, low, high = (
        format_signed_points(bound) for bound in (difference.value, difference.low, difference.high)
    )
    return value, low, high


def format_distance(difference: Estimate) -> str:
    """Format a gain or loss without its sign, as `1.1 points (0.2 to 2.1)`."""
    sign = 1 if difference.value > 0 else -1
    low, high = sorted(100 * sign * bound for bound in (difference.low, difference.high))
    size = 100 * sign * difference.value
    return f"{size:.1f} points ({low:.1f} to {high:.1f})"


def format_p(p: float) -> str:
    """Format a p-value with two significant digits, as `0.31`, `1` or `< 0.001`."""
    if p < 0.001:
        return "< 0.001"
    return format_beside_level(p, ".2g", ".3g", ".4g", ".6g", ".9g")


def format_beside_level(p: float, first: str, *longer: str) -> str:
    """Format a p-value with the first format that shows on which side of 0.05 it lies.

    If none does, it is the first of them.
    """
    texts = [format(p, spec) for spec in (first, *longer)]
    level = f"{SIGNIFICANCE_LEVEL:g}"
    return next((text for text in texts if f"{float(text):g}" != level), texts[0])


def state_p(p: float) -> str:
    """Return a p-value for a sentence, as `p = 0.31` or `p < 0.001`."""
    text = format_p(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def format_duration(seconds: float) -> str:
    """Format a time as `3.2 s`, `45 s`, `2.5 min` or `120 min`."""
    value, unit = (seconds, "s") if seconds < 100 else (seconds / 60, "min")
    return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
