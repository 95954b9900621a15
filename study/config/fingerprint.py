"""Compute the fingerprint of all that decides a trial's numbers."""

import dataclasses
import hashlib
import json
from pathlib import Path

from study.common.folder_names import drop_folder_path
from study.config.initial_weights import starts_from_published
from study.config.trial_config import TrialConfig
from study.weights import hash_file

# Part of every fingerprint. Raise it when a change of the code changes the numbers that a config
# trains to, so that runs of the old code are never taken for runs of the new code.
PROTOCOL_VERSION = 2


def fingerprint(config: TrialConfig, data_digest: str) -> str:
    """Return a SHA-256 (64 hex digits) of all that decides a trial's numbers.

    Contents count, paths do not: a folder enters by its data digest, and a weights file by its own
    digest, or as `imagenet` if its tensors are the published ones. A field at its declared default
    is left out, so that a knob added later does not change the fingerprints of earlier runs.
    """
    defaults = {spec.name: spec.default for spec in dataclasses.fields(config)}
    content = {k: v for k, v in config.as_dict().items() if v != defaults[k]}
    content["dataset"] = drop_folder_path(config.dataset)
    if starts_from_published(config):
        content.pop("weights", None)  # like the default, `imagenet`
    elif config.weights != "none":
        content["weights"] = "sha256:" + hash_file(Path(config.weights), "sha256")
    content |= {"data_digest": data_digest, "protocol_version": PROTOCOL_VERSION}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
