"""Name the best row on validation in a sentence."""

from collections.abc import Sequence

from pipelines.compare.blocks import Row
from pipelines.compare.formats import format_accuracy
from pipelines.compare.ranking import rank_on_validation
from pipelines.compare.ranking import Ranking
from pipelines.compare.reflection import choose_noun
from pipelines.compare.reflection import name_rows
from pipelines.compare.reflection import spell_count


def describe_best(rows: Sequence[Row]) -> list[str]:
    """Name the best row on validation with its test accuracy, or say why there is none.

    The row with the highest test accuracy is not named, because it would be singled out by the
    very images that then judge it.

    Returns:
        One sentence, or none if there are no accuracies.
    """
    ranking = rank_on_validation([row.runs for row in rows])
    noun = choose_noun(rows)
    if ranking.obstacle:
        return [
            f"No {noun.removesuffix('s')} is named the best, because the {noun} {ranking.obstacle}."
        ]
    best = find_best(rows)
    if best is None or best.verdict.accuracy is None:
        return []
    accuracy = format_accuracy(best.verdict.accuracy)
    return [f"{_name_best(best, noun, ranking)}; its test accuracy is {accuracy}."]


def find_best(rows: Sequence[Row]) -> Row | None:
    """Find the best row on validation, or the first of those that tie for it."""
    indices = rank_on_validation([row.runs for row in rows]).best
    return rows[indices[0]] if indices else None


def _name_best(best: Row, noun: str, ranking: Ranking) -> str:
    """Name the best row on validation, or say that it is the first of several that tie."""
    shared = _describe_shared_seeds(ranking)
    name = name_rows([best])
    name = f"{name[0].lower()}{name[1:]}"
    if best.is_baseline:
        name = f"the baseline, {best.label if best.cell else name},"
    count = len(ranking.best)
    if count == 1:
        where = f" ({shared})" if shared else ""
        return f"{name[0].upper()}{name[1:]} is the best on validation{where}"
    val = ", ".join(filter(None, [f"val {ranking.means[ranking.best[0]]:.4f}", shared]))
    return (
        f"{count} {noun} tie for the best on validation ({val}). "
        f"The first of them is {name.removesuffix(',')}"
    )


def _describe_shared_seeds(ranking: Ranking) -> str:
    """Say over which seeds rows are ranked, where some have more."""
    if ranking.seeds is None:
        return ""
    seeds = "seed" if ranking.seeds == 1 else "seeds"
    return f"on the {spell_count(ranking.seeds)} {seeds} that all share"
