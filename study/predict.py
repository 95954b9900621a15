"""Classify a folder's images into a CSV file, with a model of the MLflow registry.

    python -m study.predict --model models:/blood@best FOLDER
    python -m study.predict --model models:/blood/3 --out blood.csv FOLDER

The file has a line for each image: its path in FOLDER, the likeliest class, and the probability of
each class. Of an image that cannot be read, the column `error` says why. Line breaks in a file
name, and bytes that are not valid UTF-8, are written as escapes. Not a medical device.
"""

import sys
from pathlib import Path

from study.common.command import run_command
from study.common.errors import StudyError
from study.common.parser import Parser
from study.common.paths import is_within
from study.common.paths import parse_path
from study.common.progress import Progress
from study.common.settings import check_keras_backend


def main() -> None:
    """Run the command."""
    parser = Parser(__doc__ or "", "study.predict")
    parser.add_argument(
        "folder", metavar="FOLDER", type=parse_path, help="of images, with its subfolders"
    )
    parser.add_argument(
        "--model",
        required=True,
        metavar="URI",
        help="models:/NAME@best, models:/NAME/VERSION, runs:/ID/model, or a model's folder",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=parse_path,
        help="the CSV file [default: predictions.csv]",
    )
    args = parser.parse_args()
    if args.out and is_within(args.out.parent, args.folder):
        raise StudyError(
            f"cannot write {args.out} among the images of {args.folder}: choose another --out"
        )
    check_keras_backend()
    # Late, because MLflow takes seconds to load: --help and bad flags do not need it
    from study.serving.predict_folder import predict

    predict(args.model, args.folder, args.out or Path("predictions.csv"), Progress())


if __name__ == "__main__":
    sys.exit(run_command(main))
