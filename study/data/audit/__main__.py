r"""Audit a data set: broken files, duplicates, groups and leaking splits.

    python -m study.data.audit --dataset demo
    DATA_DIR=~/data python -m study.data.audit --dataset chest
    python -m study.data.audit --dataset folder:~/my-images

Finds files that cannot be used, equal images, near-duplicates and groups, and what each split
leaks. Prints a short report and writes audit.json, audit.html and groups.csv.

If file names identify the patient, --groups-from takes the groups from them, by regular expressions
with a named group. Of several, the first that matches counts:

    python -m study.data.audit --dataset folder:~/xrays --groups-from '^(?P<group>person\d+)'

10,000 images take minutes. If stopped, the same command continues where it left off. Once it has
finished, running it again takes a second or two.
"""

import argparse
import shlex
import sys
from pathlib import Path

from study.common.command import run_command
from study.common.errors import DataError
from study.common.folder_names import FOLDER_PREFIX
from study.common.folder_names import is_folder_name
from study.common.parser import Parser
from study.common.paths import check_outside
from study.common.paths import parse_path
from study.common.progress import Progress
from study.config.dataset_names import resolve_dataset
from study.data.audit.file_names import parse_pattern
from study.data.audit.result_folder import check_writable


def _parse_args() -> argparse.Namespace:
    parser = Parser(__doc__ or "", "study.data.audit")
    parser.add_argument(
        "--dataset",
        default="demo",
        type=resolve_dataset,
        help="chest, blood, demo or the path of a folder [default: demo]",
    )
    parser.add_argument("--out", metavar="DIR", type=parse_path, help="[default: audits/<dataset>]")
    parser.add_argument(
        "--groups-from",
        metavar="REGEX",
        action="append",
        default=[],
        help="take the group of an image from its file name: the regular expression's named group "
        "`group`, or all its named groups joined; may be given several times",
    )
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = _parse_args()
    patterns = [parse_pattern(text) for text in args.groups_from]
    if patterns and not is_folder_name(args.dataset):
        raise DataError(
            f"--groups-from works only with a folder: give the path of {args.dataset}'s images"
        )
    place = args.out or Path("audits")
    check_outside(place, args.dataset)
    check_writable(place)
    # Late, because SciPy and OpenCV take seconds to load: --help and bad flags do not need them
    from study.data.audit.run_audit import audit_dataset
    from study.data.audit.run_audit import format_closing_lines
    from study.data.audit.run_audit import write_result
    from study.data.audit.terminal import print_audit

    progress = Progress()
    try:
        result = audit_dataset(args.dataset, progress, patterns)
    finally:
        progress.close()
    out = args.out or place / result.audit.dataset.removeprefix(FOLDER_PREFIX)
    write_result(result, out)
    flags = f" --out {shlex.quote(str(args.out))}" if args.out else ""
    print_audit(result.audit, format_closing_lines(result, out, args.dataset, flags))


if __name__ == "__main__":
    sys.exit(run_command(main))
