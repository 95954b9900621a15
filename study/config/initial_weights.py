"""Name the weights that a backbone starts from, and compare them."""

from pathlib import Path

from study.config.backbones import BACKBONES
from study.config.trial_config import TrialConfig
from study.weights import compare_with_published
from study.weights import hash_file
from study.weights import WeightsComparison


def weights_kind(config: TrialConfig) -> str:
    """Name the weights that the backbone starts from.

    A file counts as `imagenet` only if all its tensors are the published ones, and as `partial` if
    some of them are. Where the published tensors are not known, a file counts as `partial` if that
    word is a part of its name between dots.

    Returns:
        `imagenet`, `none`, `partial` or `file`.
    """
    if config.weights in ("imagenet", "none"):
        return config.weights
    if starts_from_published(config):
        return "imagenet"
    comparison = compare_weights(config)
    if comparison is None:
        return "partial" if "partial" in Path(config.weights).name.split(".") else "file"
    return "partial" if comparison.equal else "file"


def compare_weights(config: TrialConfig) -> WeightsComparison | None:
    """Count the tensors of a config's weights file that equal the published ones.

    Returns:
        None if there is no file, or the backbone's published tensors are not known here.
    """
    if config.weights in ("imagenet", "none"):
        return None
    return compare_with_published(Path(config.weights), config.backbone, config.alpha)


def starts_from_published(config: TrialConfig) -> bool:
    """Return whether the tensors that the backbone starts from are the published ones."""
    if config.weights in ("imagenet", "none"):
        return config.weights == "imagenet"
    comparison = compare_weights(config)
    if comparison is not None:
        return comparison.equal == comparison.total
    return hash_file(Path(config.weights), "md5") in BACKBONES[config.backbone].published_md5
