"""Show a finished run's most confident mistakes and least confident hits.

    python -m pipelines.cases --run 0f3a...
    python -m pipelines.cases --run 0f3a... --dataset folder:PATH

Writes cases.html, a self-contained page with heat maps, and stores it in the run at MLflow, folder
`cases`. It needs the images that the run was trained on. If they lie in another folder now, name it
with --dataset. Heat maps need a run that was trained with --log-model.
"""

import sys

from study.common.command import run_command
from study.common.parser import parse_count
from study.common.parser import Parser
from study.common.paths import parse_path


def main() -> None:
    """Parse the flags, build the page, and store it in the folder and in the run."""
    parser = Parser(__doc__ or "", "pipelines.cases")
    parser.add_argument(
        "--run",
        required=True,
        metavar="ID",
        help="ID of a finished run in MLflow, or its beginning",
    )
    parser.add_argument(
        "--dataset",
        metavar="X",
        help="where the run's images are now, such as ./cells [default: where they were]",
    )
    parser.add_argument(
        "--count",
        type=_parse_count,
        default=12,
        metavar="N",
        help="number of cases of each kind [default: 12]",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=parse_path,
        help="folder to write to [default: exports/cases-ID]",
    )
    args = parser.parse_args()
    # Late, because MLflow takes seconds to load: --help and bad flags do not need it
    from pipelines.cases.show_cases import show_cases

    show_cases(args.run, args.dataset, args.count, args.out)


def _parse_count(text: str) -> int:
    return parse_count("count", text, 1000)


if __name__ == "__main__":
    sys.exit(run_command(main))
