"""Deliver the records of trials that ended while the MLflow server did not answer.

    python -m study.sync
    python -m study.sync --from records
    python -m study.sync --moved

The records wait in the cache folder of the machine that trained. Repeating the command does no
harm, and every command that trains delivers them, too, before it begins. With --from, the command
delivers what `study.offline` trained: each finished record becomes a run, unless its config has
one. With --moved, it has MLflow look for the files of runs in the mlruns folder beside mlflow.db,
after both were moved or copied together.
"""

import sys

from study.common.command import run_command
from study.common.errors import ConfigError
from study.common.parser import Parser
from study.common.paths import parse_path
from study.common.settings import tracking_uri


def main() -> None:
    """Run the command."""
    parser = Parser(__doc__ or "", "study.sync")
    parser.add_argument(
        "--from",
        metavar="DIR",
        dest="folder",
        type=parse_path,
        help="folder that study.offline wrote to",
    )
    parser.add_argument(
        "--moved", action="store_true", help="mlflow.db and mlruns were moved or copied"
    )
    args = parser.parse_args()
    if args.moved and args.folder is not None:
        raise ConfigError("--moved and --from are two different jobs: leave one of them out")
    # Late, because MLflow takes seconds to load: --help and bad flags do not need it
    from study.tracking.deliver_records import sync_folder
    from study.tracking.deliver_records import sync_spool
    from study.tracking.moved_artifacts import point_to_moved_artifacts

    if args.moved:
        print(point_to_moved_artifacts(tracking_uri()))
    else:
        print(sync_spool() if args.folder is None else sync_folder(args.folder))


if __name__ == "__main__":
    sys.exit(run_command(main))
