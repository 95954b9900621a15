"""Write the comparison table of finished runs as CSV, Markdown, HTML and LaTeX.

    python -m pipelines.export --dataset chest

The table is about the finished runs of one data set. They are read from MLflow only
(MLFLOW_TRACKING_URI, or mlflow.db of the working directory): no image, no weights and no TensorFlow
are needed. The same runs give the same bytes. The files are also uploaded to the parent runs of the
studies that trained these runs (artifacts, `report/`), unless --no-upload is given.
"""

import sys

from study.common.command import run_command
from study.common.parser import Parser
from study.common.paths import check_outside
from study.common.paths import parse_path
from study.config.dataset_names import resolve_dataset
from study.config.trial_config import recipe


def main() -> None:
    """Parse the flags, read the runs, and write, upload and print the table."""
    parser = Parser(__doc__ or "", "pipelines.export")
    parser.add_argument(
        "--dataset",
        required=True,
        metavar="X",
        type=resolve_dataset,
        help="chest, blood, demo, or the path of a folder",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=parse_path,
        help="folder to write to [default: exports/DATASET]",
    )
    parser.add_argument(
        "--experiment", metavar="NAME", help="read only this MLflow experiment [default: all]"
    )
    parser.add_argument("--no-upload", action="store_true", help="leave MLflow as it is")
    args = parser.parse_args()
    # This raises an error for an unknown name.
    recipe(args.dataset)
    check_outside(args.out, args.dataset)
    # Late, because MLflow takes seconds to load: --help and bad flags do not need it
    from pipelines.page.export_table import export_table

    export_table(args.dataset, args.experiment, args.out, upload=not args.no_upload)


if __name__ == "__main__":
    sys.exit(run_command(main))
