"""Read and split a trial's images, and measure what the split leaks."""

import functools
import platform
import time
from dataclasses import dataclass

import numpy as np

from study.common.cache import cache_dir
from study.common.errors import DataError
from study.common.progress import format_duration
from study.common.progress import Progress
from study.config.fingerprint import fingerprint
from study.config.trial_config import TrialConfig
from study.data.prepare import Data
from study.data.prepare import prepare
from study.data.split import count_leaking_images
from study.data.split import count_test_groups
from study.data.split import make_split
from study.data.split import Split
from study.data.warnings import print_warnings_once


@dataclass(frozen=True)
class PreparedTrial:
    """A trial's config, its images and their split, and the writer of its progress."""

    config: TrialConfig
    data: Data
    split: Split
    progress: Progress

    @functools.cached_property
    def leaks(self) -> int | None:
        """Return the number of test images with a sibling in train.

        None if groups are unknown.
        """
        return count_leaking_images(self.data, self.split)


def prepare_trial(config: TrialConfig, progress: Progress, *, use_cache: bool) -> PreparedTrial:
    """Read and split the images, and print what a reader of the result should know."""
    data = _read_images(config, progress, use_cache)
    split = make_split(
        data, config.split, config.seed, config.limit, fold=config.fold, folds=config.folds
    )
    trial = PreparedTrial(config, data, split, progress)
    print_warnings_once(config, data, split, trial.leaks, progress.say)
    return trial


def check_images_unchanged(trial: PreparedTrial, key: str) -> None:
    """Check that a trial's images are still those of its fingerprint.

    Raises:
        DataError: files or groups changed between the start of the command and their reading.
    """
    if fingerprint(trial.config, trial.data.digest) != key:
        raise DataError(
            f"the images or groups of {trial.config.dataset} changed after this command began: "
            "repeat it when nobody changes them"
        )


def check_planned(config: TrialConfig, key: str, planned_key: str) -> None:
    """Check that a config has the fingerprint that its driver planned with.

    It has another one if files changed since then, or are others on this machine. The trial would
    be trained on data that the driver knows nothing of.

    Raises:
        DataError: the two differ.
    """
    if key != planned_key:
        weights_part = "" if config.weights in ("imagenet", "none") else ", or the weights file,"
        raise DataError(
            f"the images or groups of {config.dataset}{weights_part} on {platform.node()} are not "
            "those that this command began with: repeat it when nobody changes them"
        )


def _read_images(config: TrialConfig, progress: Progress, use_cache: bool) -> Data:
    start_time = time.perf_counter()
    data = prepare(
        config.dataset,
        config.image_size,
        split=config.split,
        use_cache=use_cache,
        progress=progress.step,
    )
    seconds = time.perf_counter() - start_time
    if seconds > 2:
        place = f"cached in {cache_dir()}" if use_cache else "in memory"
        size = data.x.nbytes / 2**20
        progress.say(
            f"  {len(data.y)} images read in {format_duration(seconds)}, {size:.0f} MiB {place}"
        )
    return data


def measure_independence(trial: PreparedTrial) -> dict[str, float]:
    """Measure how independent the test set is of the training set.

    Returns:
        `leak_fraction`: the share (0 to 1) of test images with a sibling, that is an image of the
        same group, in train; and `test_groups`: the number of groups behind the test images. Empty
        if groups are unknown, or near-duplicates alone.
    """
    groups = count_test_groups(trial.data, trial.split)
    if trial.leaks is None or groups is None or trial.data.has_only_near_duplicates:
        return {}
    return {"leak_fraction": trial.leaks / len(trial.split.test), "test_groups": float(groups)}


def compute_majority(trial: PreparedTrial) -> float:
    """Compute the share (0 to 1) of test images that are of their most frequent class."""
    labels = trial.data.y[trial.split.test]
    return float(np.bincount(labels).max() / len(labels))


def format_leak(trial: PreparedTrial) -> str:
    """Format how many test images have a sibling in train.

    The forms are `3/80`, `at least 3/80` and `unknown`.
    """
    is_minimum = trial.data.has_only_near_duplicates
    if trial.leaks is None or (is_minimum and trial.leaks == 0):
        return "unknown"
    return f"{'at least ' if is_minimum else ''}{trial.leaks}/{len(trial.split.test)}"
