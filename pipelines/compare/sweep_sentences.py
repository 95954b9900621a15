"""Say in plain sentences what a sweep shows.

The sentences name the best config on validation, and the effect of each field.
"""

from collections.abc import Sequence

from pipelines.compare.best_sentence import describe_best
from pipelines.compare.best_sentence import find_best
from pipelines.compare.blocks import Block
from pipelines.compare.blocks import Row
from pipelines.compare.cells import format_value
from pipelines.compare.cells import name_field
from pipelines.compare.formats import format_bounds
from pipelines.compare.formats import format_distance
from pipelines.compare.formats import state_p
from pipelines.compare.main_effects import Level
from pipelines.compare.main_effects import MainEffect
from pipelines.compare.reflection import describe_adjustment
from pipelines.compare.reflection import on_one_seed
from pipelines.compare.reflection import ONE_SEED
from pipelines.compare.reflection import spell_count
from study.common.words import join_distinct
from study.common.words import pluralize
from study.statistics.intervals import Estimate
from study.statistics.intervals import SIGNIFICANCE_LEVEL


def describe_sweep(block: Block) -> list[str]:
    """Describe the results of a sweep, in a paragraph each.

    There are none for a block of variants.
    """
    if not any(row.cell for row in block.rows):
        return []
    return [
        *filter(None, [" ".join(describe_best_cell(block.rows))]),
        *describe_effects(block),
        *describe_missing_cells(block),
    ]


def describe_best_cell(rows: Sequence[Row]) -> list[str]:
    """Name the best row on validation, and compare it with all others.

    They are compared on test images.
    """
    sentences = describe_best(rows)
    best = find_best(rows)
    if best is None or best.verdict.accuracy is None:
        return sentences
    if best.config.folds and len(rows) > 1:
        return [
            *sentences,
            "Nothing is compared with it: in a cross-validation, the validation images of one fold "
            "are the test images of another.",
        ]
    return [*sentences, *_describe_leads(rows)]


def _describe_leads(rows: Sequence[Row]) -> list[str]:
    """Say which rows differ significantly from the best on validation.

    Nothing is said if no row is compared with it.
    """
    leads = [(row, row.verdict.lead, p) for row in rows if (p := row.verdict.lead_p) is not None]
    if not leads:
        return []
    significant = [
        (row, lead) for row, lead, p in leads if lead is not None and p < SIGNIFICANCE_LEVEL
    ]
    one_training = [row for row, _ in significant if row.verdict.lead_pairs == 1]
    worse_count = sum(lead.value < 0 for _, lead in significant)
    better = [(row, lead) for row, lead in significant if lead.value > 0]
    count = len(leads)
    others = "the other one" if count == 1 else f"the {spell_count(count)} others"
    if not significant:
        whom = others if count == 1 else f"any of {others}"
        smallest = "" if count == 1 else "smallest "
        p_text = f"{smallest}adjusted {state_p(min(p for *_, p in leads))}"
        return [f"On the test images it does not differ significantly from {whom} ({p_text})."]
    sentences = []
    if worse_count:
        whom = others if worse_count == count == 1 else f"{spell_count(worse_count)} of {others}"
        whom = f"all of {others}" if worse_count == count > 1 else whom
        where = "On the test images it is"
        if one_training:
            seeds = "the one seed" if len(one_training) == len(significant) else "the seeds"
            where = f"On the test images of {seeds} compared, it was"
        sentences.append(f"{where} significantly more accurate than {whom}.")
    sentences += [_describe_better(row, lead) for row, lead in better]
    return [*sentences, *([ONE_SEED] if one_training else [])]


def _describe_better(row: Row, lead: Estimate) -> str:
    distance = format_distance(lead)
    if row.verdict.lead_pairs == 1:
        words = "was significantly more accurate than it"
        return on_one_seed(f"config {row.label} {words}, by {distance}.")
    return f"Config {row.label} is significantly more accurate than it, by {distance}."


def describe_effects(block: Block) -> list[str]:
    """Say what each field of a sweep changes, one sentence for each."""
    levels = [level for effect in block.effects for level in effect.levels]
    comparisons = sum(level.gain is not None for level in levels)
    return [_describe_effect(effect, comparisons) for effect in block.effects]


def _describe_effect(effect: MainEffect, comparisons: int) -> str:
    base = format_value(effect.field, effect.baseline)
    contrasts = [
        _describe_contrast(
            format_value(effect.field, level.value),
            base,
            level,
            is_one_seed=effect.is_one_seed,
            comparisons=comparisons,
        )
        for level in effect.levels
        if level.gain is not None
    ]
    others = join_distinct(name_field(name) for name in effect.others)
    sentence = f"{name_field(effect.field)}: {'; '.join(contrasts)}, averaged over {others}."
    has_claim = any(level.p is not None and level.p < SIGNIFICANCE_LEVEL for level in effect.levels)
    return f"{sentence} {ONE_SEED}" if effect.is_one_seed and has_claim else sentence


def _describe_contrast(
    value: str, base: str, level: Level, *, is_one_seed: bool, comparisons: int
) -> str:
    """Say how one value compares with the baseline's."""
    assert level.gain is not None
    assert level.p is not None
    if level.p < SIGNIFICANCE_LEVEL:
        direction = "better" if level.gain.value > 0 else "worse"
        distance = format_distance(level.gain).removesuffix(")")
        verb = "was" if is_one_seed else "is"
        return f"{value} {verb} {direction} than {base} by {distance}, adjusted {state_p(level.p)})"
    figures = f"({_format_gain(level.gain)}, adjusted {state_p(level.p)})"
    if level.gain.p < SIGNIFICANCE_LEVEL:
        adjusted = describe_adjustment(comparisons)
        return f"{value} does not differ from {base} significantly {adjusted} {figures}"
    return f"there is no evidence that {value} differs from {base} {figures}"


def _format_gain(gain: Estimate) -> str:
    value, low, high = format_bounds(gain)
    return f"{value} points, {low} to {high}"


def describe_missing_cells(block: Block) -> list[str]:
    """Say how many cells of a sweep have no finished run, if any."""
    if not block.missing_cells:
        return []
    total = block.missing_cells + len(block.rows)
    verb = "has" if block.missing_cells == 1 else "have"
    sentence = f"{block.missing_cells} of {pluralize(total, 'config')} {verb} no comparable"
    sentences = [f"{sentence} finished run yet."]
    if block.effects:
        sentences.append(
            "What a field changes is averaged only over the configs that were trained with each of "
            "its values."
        )
    return [" ".join(sentences)]
