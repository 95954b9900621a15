"""Audit a data set, and write what was found."""

import dataclasses
import json
import shlex
import shutil
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from study.common.cache import cache_dir
from study.common.cache import cache_lock
from study.common.errors import DataError
from study.common.files import atomic_write
from study.common.folder_names import get_folder_path
from study.common.folder_names import is_folder_name
from study.common.folder_names import make_folder_name
from study.common.paths import parse_path
from study.common.progress import Progress
from study.config.dataset_names import data_name
from study.data.audit import near_duplicates
from study.data.audit.facts import Audit
from study.data.audit.facts import build_audit
from study.data.audit.facts import drop_repeated_images
from study.data.audit.facts import group_by_names
from study.data.audit.facts import ImageEvidence
from study.data.audit.file_names import check_groups
from study.data.audit.file_names import Pattern
from study.data.audit.findings import ImageSet
from study.data.audit.html import render_audit
from study.data.audit.result_folder import write_errors_as_data_errors
from study.data.audit.scan import scan_images
from study.data.audit.splits import draw_pooled_parts
from study.data.audit.thumbnails import make_strips
from study.data.audit.thumbnails import Strip
from study.data.digest import compute_digest
from study.data.digest import hash_files
from study.data.groups_file import format_groups_csv
from study.data.groups_file import GROUPS_FILE
from study.data.listing import Listing
from study.data.names import format_audit_command
from study.data.registry import get_dataset

# Raise the number whenever a change makes find_near_groups find other groups.
NEAR_FILE = "near-v1.json"
# For a first look at a few hundred images. With the recipe's momentum, so few steps would leave the
# averages of batch normalization at their first values.
QUICK_FLAGS = "--image-size 64 --epochs 10 --bn-momentum 0.9"


@dataclass(frozen=True)
class AuditResult:
    """An audit and what is written beside it."""

    audit: Audit
    group_of: Mapping[str, str]  # of every listed image
    strips: list[Strip]


def audit_dataset(
    dataset: str, progress: Progress, patterns: Sequence[Pattern] = ()
) -> AuditResult:
    """Audit every image of a data set.

    An audit that was stopped continues with the images that it has not yet read.

    Args:
        dataset: "chest", "blood", "demo" or "folder:PATH".
        progress: shows how far the audit has come.
        patterns: by which the groups are taken from file names, if any.

    Raises:
        DataError: the data set cannot be found or changes meanwhile, a pattern gives no useful
            groups, or the cache folder cannot be written. The message says what to do next.
    """
    listing = get_dataset(dataset).find()
    if patterns:
        listing = _check_patterns(listing, patterns)
    hashes = hash_files(listing, progress.step, remember=True)
    # The key leaves out groups.csv, so that adding one does not start the search anew.
    key = compute_digest(dataclasses.replace(listing, extras=()), hashes)
    folder = cache_dir() / "audit" / key
    with cache_lock(f"audit-{key}"):
        records = scan_images(listing, hashes, folder, progress.step)
        near = _load_or_find_near_groups(
            listing.root, drop_repeated_images(records), folder, progress
        )
        digest = compute_digest(listing, hashes)
        name = name_without_path(dataset, key)
        evidence = ImageEvidence(
            name, digest, listing, hashes, records, near, near_duplicates.LIMITS
        )
        if patterns:
            evidence = group_by_names(evidence, patterns)
        audit = build_audit(evidence)
        parts = draw_pooled_parts(evidence.samples)
        group_strips = make_strips(audit.groups.members, evidence, parts, folder / "pictures")
    return AuditResult(audit, evidence.group_of, group_strips)


def _check_patterns(listing: Listing, patterns: Sequence[Pattern]) -> Listing:
    """Check the patterns before images are read.

    Returns:
        The listing, with notes on the patterns.

    Raises:
        DataError: the listing has groups of its own, or a pattern is not possible.
    """
    if listing.groups is not None and not listing.groups_found_by:
        raise DataError(
            f"{listing.root} has groups of its own ({listing.groups_from}), which --groups-from "
            f"would replace: leave it out, or move {GROUPS_FILE} away first"
        )
    notes = (*listing.notes, *check_groups(listing.entries, patterns))
    return dataclasses.replace(listing, notes=notes)


def _load_or_find_near_groups(
    root: Path, images: list[str], folder: Path, progress: Progress
) -> list[ImageSet]:
    file = folder / NEAR_FILE
    try:
        return [tuple(group) for group in json.loads(file.read_bytes())]
    except (OSError, ValueError, TypeError):  # no such file yet, or a broken one
        pass
    groups = near_duplicates.find_near_groups(root, images, folder / "near", progress.step)
    atomic_write(file, json.dumps(groups).encode())
    # The work folder takes 35 kB per image and is no longer needed.
    shutil.rmtree(folder / "near", ignore_errors=True)
    return groups


def name_without_path(dataset: str, digest: str) -> str:
    """Return a data set's name fit to be shown, such as `folder:cells-3f2a9c`."""
    name = data_name(dataset, digest)
    return make_folder_name(name) if is_folder_name(dataset) else name


def write_result(result: AuditResult, out: Path) -> None:
    """Write audit.json, audit.html and groups.csv into a folder.

    Raises:
        DataError: the folder cannot be written.
    """
    groups = format_groups_csv(result.group_of, result.audit.groups.found_by)
    contents = {
        "audit.json": result.audit.as_json().encode(),
        "audit.html": render_audit(result.audit, result.strips).encode(),
        GROUPS_FILE: groups.encode("utf-8", "surrogateescape"),
    }
    with write_errors_as_data_errors(out):
        for name, content in contents.items():
            atomic_write(out / name, content)


def format_closing_lines(result: AuditResult, out: Path, dataset: str, flags: str) -> list[str]:
    """Return lines that say what was written and what to do next.

    Args:
        result: what was found.
        out: the folder that it was written to.
        dataset: as the user named it.
        flags: further flags of the user's command, with a blank before them.
    """
    lines = [f"Written: {out / 'audit.html'}, audit.json and {GROUPS_FILE} beside it."]
    root = get_folder_path(dataset)
    groups = result.audit.groups
    if root is None:
        return lines
    if suggestion := result.audit.suggestion:
        patterns = [f" --groups-from {shlex.quote(p.regex)}" for p in suggestion.patterns]
        lines += [
            "If the file names do identify patients, take the groups from them:",
            f"  {format_audit_command(dataset)}{''.join(patterns)}{flags}",
        ]
    if not groups.known and groups.members:
        target = parse_path(root) / GROUPS_FILE
        lines += [
            f"{'If not' if suggestion else 'Next'}, look at the groups, copy the file, and train:",
            f"  cp {shlex.quote(str(out / GROUPS_FILE))} {shlex.quote(str(target))}",
            f"  python -m study.grid --dataset {shlex.quote(dataset)} --split grouped",
            f"A first answer takes minutes: add {QUICK_FLAGS} (docs/own-images.md).",
        ]
    return lines
