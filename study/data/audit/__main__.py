"""Audit a data set: broken files, duplicates, groups and leaking splits.

    python -m study.data.audit --dataset demo
    DATA_DIR=~/data python -m study.data.audit --dataset chest
    python -m study.data.audit --dataset folder:~/my-images

Finds files that cannot be used, equal images, near-duplicates and groups, and what each split
leaks. Prints a short report and writes audit.json, audit.html and groups.csv.

10,000 images take minutes. If stopped, the same command continues where it left off. Once it has
finished, running it again takes a second or two.
"""

import contextlib
import csv
import dataclasses
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from study.common.cache import cache_dir
from study.common.cache import cache_lock
from study.common.command import Parser
from study.common.command import run_command
from study.common.errors import DataError
from study.common.files import atomic_write
from study.common.paths import check_outside
from study.common.paths import parse_path
from study.common.paths import resolve_path
from study.common.progress import Progress
from study.data.audit import near_duplicates
from study.data.audit.facts import Audit
from study.data.audit.facts import build_audit
from study.data.audit.facts import drop_repeated_images
from study.data.audit.facts import ImageEvidence
from study.data.audit.findings import ImageSet
from study.data.audit.html import render_audit
from study.data.audit.scan import scan
from study.data.audit.splits import draw_pooled_parts
from study.data.audit.terminal import print_audit
from study.data.audit.thumbnails import make_strips
from study.data.audit.thumbnails import Strip
from study.data.digest import compute_digest
from study.data.digest import hash_files
from study.data.folder import GROUPS_FILE
from study.data.registry import get_dataset
from study.flags import resolve_dataset

# Raise the number whenever a change makes near_groups find other groups.
NEAR_FILE = "near-v1.json"


@dataclass(frozen=True)
class Report:
    """An audit and what is written beside it."""

    audit: Audit
    group_of: Mapping[str, str]  # of every listed image
    strips: list[Strip]


def audit(dataset: str, progress: Progress) -> Report:
    """Audit every image of a data set.

    An audit that was stopped continues with the images that it has not yet read.

    Args:
        dataset: "chest", "blood", "demo" or "folder:PATH".
        progress: shows how far the audit has come.

    Raises:
        DataError: the data set cannot be found or changes meanwhile, or the cache folder cannot
            be written. The message says what to do next.
    """
    listing = get_dataset(dataset).find()
    hashes = hash_files(listing, progress.step, remember=True)
    # The key leaves out groups.csv, so that adding one does not start the search anew.
    key = compute_digest(dataclasses.replace(listing, extras=()), hashes)
    folder = cache_dir() / "audit" / key
    with cache_lock(f"audit-{key}"):
        records = scan(listing, hashes, folder, progress.step)
        near = _load_or_find_near_groups(
            listing.root, drop_repeated_images(records), folder, progress
        )
        digest = compute_digest(listing, hashes)
        name = name_without_path(dataset)
        evidence = ImageEvidence(
            name, digest, listing, hashes, records, near, near_duplicates.LIMITS
        )
        result = build_audit(evidence)
        parts = draw_pooled_parts(evidence.samples)
        group_strips = make_strips(result.groups.members, evidence, parts, folder / "pictures")
    return Report(result, evidence.group_of, group_strips)


def _load_or_find_near_groups(
    root: Path, images: list[str], folder: Path, progress: Progress
) -> list[ImageSet]:
    file = folder / NEAR_FILE
    try:
        return [tuple(group) for group in json.loads(file.read_bytes())]
    except (OSError, ValueError, TypeError):  # no such file yet, or a broken one
        pass
    groups = near_duplicates.near_groups(root, images, folder / "near", progress.step)
    atomic_write(file, json.dumps(groups).encode())
    # The work folder takes 35 kB per image and is no longer needed.
    shutil.rmtree(folder / "near", ignore_errors=True)
    return groups


def name_without_path(dataset: str) -> str:
    """Return the data set's name without the path to it, fit to be shown."""
    kind, _, path = dataset.partition(":")
    if kind != "folder":
        return dataset
    return f"folder:{resolve_path(path.strip()).name or 'root'}"


def write_report(report: Report, out: Path) -> None:
    """Write audit.json, audit.html and groups.csv into a folder.

    Raises:
        DataError: the folder cannot be written.
    """
    contents = {
        "audit.json": report.audit.as_json().encode(),
        "audit.html": render_audit(report.audit, report.strips).encode(),
        GROUPS_FILE: format_groups_csv(report.group_of).encode("utf-8", "surrogateescape"),
    }
    with _write_errors_as_data_errors(out):
        for name, content in contents.items():
            atomic_write(out / name, content)


def format_groups_csv(group_of: Mapping[str, str]) -> str:
    """Format the groups as CSV with the columns image,group.

    This is the file that `folder:PATH` reads.
    """
    stream = io.StringIO()
    # Everything is quoted, because a name may hold commas, quotes and line ends.
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(("image", "group"))
    writer.writerows(group_of.items())
    return stream.getvalue()


def format_closing_lines(report: Report, out: Path, root: str) -> list[str]:
    """Return lines that say what was written and what to do next."""
    lines = [f"Written: {out / 'audit.html'}, audit.json and {GROUPS_FILE} beside it."]
    groups = report.audit.groups
    if root and not groups.known and groups.members:
        lines.append(
            f"Next: look at the groups, copy {out / GROUPS_FILE} to {root}, and train with "
            "--split grouped."
        )
    return lines


def main() -> None:
    """Run the command."""
    parser = Parser(__doc__ or "", "study.data.audit")
    parser.add_argument(
        "--dataset",
        default="demo",
        type=resolve_dataset,
        help="chest, blood, demo or the path of a folder [default: demo]",
    )
    parser.add_argument("--out", metavar="DIR", type=parse_path, help="[default: audits/<dataset>]")
    args = parser.parse_args()
    kind, _, path = args.dataset.partition(":")
    root = path.strip() if kind == "folder" else ""
    out = args.out or Path("audits", name_without_path(args.dataset).replace(":", "-"))
    check_outside(out, args.dataset)
    _check_writable(out)
    progress = Progress()
    try:
        report = audit(args.dataset, progress)
    finally:
        progress.close()
    write_report(report, out)
    print_audit(report.audit, format_closing_lines(report, out, root))


def _check_writable(out: Path) -> None:
    """Raise at once if `out` cannot be written, not after minutes of work.

    The folder is not made: an audit that is refused leaves nothing behind.
    """
    with _write_errors_as_data_errors(out):
        existing = next(path for path in (out, *out.absolute().parents) if os.path.lexists(path))
        tempfile.TemporaryFile(dir=existing).close()


@contextlib.contextmanager
def _write_errors_as_data_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write to {out} ({error.strerror or error}): choose another folder with --out"
        ) from None


if __name__ == "__main__":
    sys.exit(run_command(main))
