"""Warn of what is odd about a trial's images, their split and its number of steps."""

import math
from collections import Counter
from collections.abc import Callable

from study.config.backbones import BACKBONES
from study.config.trial_config import TrialConfig
from study.data.names import escape_name
from study.data.names import format_audit_command
from study.data.prepare import Data
from study.data.registry import get_dataset
from study.data.split import format_sizes
from study.data.split import format_split
from study.data.split import get_report_sizes
from study.data.split import Split

MAX_SKIPPED = 5  # images that are named
# With less, which config is best on validation is mostly chance
MIN_VAL_IMAGES = 20
MIN_VAL_SHARE = 0.05  # of the training images
QUICK_MOMENTUM = 0.9  # of moving averages that follow within some thirty steps
STEP_FIELDS = ("epochs", "batch_size", "backbone", "bn_momentum", "trainable")
MAX_KEPT_SHARE = 0.05  # of a moving average's first value, at the end of training

# What this process, which may train a whole grid, has warned about: images with their split, and
# fields that decide the number of steps and what it does
_warned: set[tuple[object, ...]] = set()


def print_warnings_once(
    config: TrialConfig, data: Data, split: Split, leaks: int | None, say: Callable[[str], None]
) -> None:
    """Print what is odd about the images, their split and the steps, once per process.

    Args:
        config: the trial's config.
        data: its images.
        split: of these.
        leaks: the number of test images with a sibling in train; None if groups are unknown.
        say: prints a line.
    """
    split_key = (data.digest, config.split, config.limit)
    steps_key = (*split_key, *(getattr(config, name) for name in STEP_FIELDS))
    lines: list[str] = []
    if split_key not in _warned:
        lines += data.notes
        lines += _describe_skipped(data)
        lines += _describe_unusual(data)
        lines += _describe_departure(config, data, split)
        lines += _describe_small_validation(config, data, split)
        lines += _describe_leaks(data, split, leaks)
    if steps_key not in _warned:
        lines += _describe_few_steps(config, split)
    _warned.update((split_key, steps_key))
    for line in lines:
        say(f"  {line}")


def _describe_skipped(data: Data) -> list[str]:
    named = [f"skipped {escape_name(image)}: {why}" for image, why in data.skipped[:MAX_SKIPPED]]
    rest = len(data.skipped) - len(named)
    return [*named, f"skipped {rest} more: see the run's skipped.csv"] if rest > 0 else named


def _describe_unusual(data: Data) -> list[str]:
    lines = []
    for form, count in Counter(form for _, form in data.unusual).most_common():
        example = next(image for image, image_form in data.unusual if image_form == form)
        lines.append(
            f"{count} of {len(data.images)} images are unusual: {form} "
            f"(such as {escape_name(example)})"
        )
    return lines


def _describe_departure(config: TrialConfig, data: Data, split: Split) -> list[str]:
    """Say that a copy of a known set is not complete, or that its split is not the report's."""
    listed = len(data.images) + len(data.skipped)
    complete = get_dataset(config.dataset).image_count
    facts = []
    report_sizes = get_report_sizes(config.dataset, config.split)
    if report_sizes is not None and format_sizes(report_sizes) != format_split(split):
        facts.append(
            f"split {format_split(split)} (train/val/test) differs from the report's "
            f"{format_sizes(report_sizes)}"
        )
    if complete and listed != complete:
        facts.append(
            f"this copy has {listed} image files, and the complete set {complete}: unless that is "
            "intended, unpack or download it again"
        )
    return ["; ".join(facts)] if facts else []


def _describe_small_validation(config: TrialConfig, data: Data, split: Split) -> list[str]:
    """Warn of few validation images, unless `limit` asks for few images."""
    least = max(MIN_VAL_IMAGES, MIN_VAL_SHARE * len(split.train))
    if len(split.val) >= least or config.limit:
        return []
    is_own_folder = {data.folders[row] for row in split.val} == {"val"}
    advice = (
        "move those of the validation folder into the training folder, of which 20 % are then taken"
        if config.split == "official" and is_own_folder
        else "add images"
    )
    return [
        f"warning: {len(split.val)} validation images for {len(split.train)} training images are "
        f"too few to tell which config is best: {advice}"
    ]


def _describe_few_steps(config: TrialConfig, split: Split) -> list[str]:
    """Warn if batch normalization's moving averages hardly leave their first values.

    Validation and test use the averages, and training does not.
    """
    steps = config.epochs * math.ceil(len(split.train) / config.batch_size)
    kept_share = config.bn_momentum**steps
    has_averages = BACKBONES[config.backbone].has_batchnorm and config.trainable > 0
    if not has_averages or kept_share <= MAX_KEPT_SHARE:
        return []
    is_cured = QUICK_MOMENTUM**steps <= MAX_KEPT_SHARE
    advice = f"use --bn-momentum {QUICK_MOMENTUM}" if is_cured else "train more epochs"
    return [
        f"warning: after {steps} training steps, batch normalization's moving averages still keep "
        f"{100 * kept_share:.0f} % of their first values (bn_momentum={config.bn_momentum:g}), so "
        f"validation and test may lag far behind training: {advice}"
    ]


def _describe_leaks(data: Data, split: Split, leaks: int | None) -> list[str]:
    if leaks is None:
        reason = f" ({data.why_no_groups})" if data.why_no_groups else ""
        return [
            "which images show the same patient or original is not known, nor whether test images "
            f"have a sibling in train{reason}: see {format_audit_command(data.dataset)}"
        ]
    least = "at least " if data.has_only_near_duplicates else ""
    if leaks:
        return [
            f"warning: {least}{leaks} of {len(split.test)} test images have a sibling (same "
            "original or patient) in train, so test accuracy partly measures memory"
        ]
    if data.has_only_near_duplicates:
        return [
            "no test image has a near-duplicate in train, but groups.csv was written by an audit, "
            "and does not say which images show the same patient. If file names identify them, see "
            f"{format_audit_command(data.dataset)}"
        ]
    return []
