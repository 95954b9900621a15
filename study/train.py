"""Train one config and record it as one MLflow run.

    python -m study.train --dataset chest --variant 2
    python -m study.train --dataset demo --epochs 3

A finished config is not trained again, and an interrupted one continues from its last epoch, in the
same run. Look at the runs with `mlflow ui`.
"""

import argparse
import sys

from study.common.command import run_command
from study.common.memory import keep_freed_memory
from study.common.parser import Parser
from study.common.progress import Progress
from study.common.settings import check_keras_backend
from study.flags import add_config_flags
from study.flags import add_trial_flags
from study.flags import add_variant_flag
from study.flags import check_register_flags
from study.flags import config_from_flags
from study.job import Options


def _parse_args() -> argparse.Namespace:
    parser = Parser(__doc__ or "", "study.train")
    add_trial_flags(parser)
    parser.add_argument("--again", action="store_true", help="train even if a run is finished")
    add_variant_flag(parser)
    add_config_flags(parser)
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    keep_freed_memory()
    args = _parse_args()
    check_keras_backend()
    check_register_flags(args)
    config = config_from_flags(args)
    options = Options(
        use_cache=not args.no_cache,
        log_model=args.log_model or args.register,
        retrain=args.again,
    )
    # Late, because MLflow takes seconds to load: --help and bad flags do not need it
    from study.serving.chance import check_beats_chance
    from study.serving.registry import register_model
    from study.tracking.connection import connect
    from study.trial.train_config import train_config

    outcome = train_config(config, options)
    if args.register:
        reason = "the config asked for"
        client = connect()
        if not args.force:
            check_beats_chance([outcome])
        register_model(client, outcome.run_id, config, reason, Progress(), name=args.name)


if __name__ == "__main__":
    sys.exit(run_command(main))
