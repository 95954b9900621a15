"""Compare the whole grid of seven variants with the usual alternatives.

    DATA_DIR=../shared/data python -m benchmarks.rivals
    DATA_DIR=../shared/data python -m benchmarks.rivals --dataset blood --files small

All train the same seven networks for as many steps on the same images, each in processes of its
own, one after the other:

    notebook    Keras: ImageDataGenerator from folders, a model of keras.applications, fit, evaluate
    tuner       the same models by KerasTuner's GridSearch, on arrays in memory
    torch       PyTorch: DataLoader with workers, channels last, no tracking; always random weights
    ours cold   study.grid, with MLflow on SQLite and the state saved each epoch; nothing decoded
    ours warm   the same once more, with the images decoded, and a new record

Seconds are from a process's start to its end, with all it does: imports, reading, building models,
training, validation after each epoch, and test. `small` files are those of the data set; `large`
ones, 1,300 x 1,000 JPEGs made of them, stand for the X-rays as Kaggle has them.
"""

import argparse
import importlib.util
import json
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from dotenv import load_dotenv
from mlflow.tracking import MlflowClient

from benchmarks.rivals.images import KINDS
from benchmarks.rivals.images import write_images
from benchmarks.rivals.job import ask
from benchmarks.rivals.job import Grid
from benchmarks.rivals.table import machine
from benchmarks.rivals.table import OURS
from benchmarks.rivals.table import Run
from benchmarks.rivals.table import table
from benchmarks.settings import config_of
from benchmarks.settings import parser_of
from benchmarks.settings import run_module
from study.common.command import run_command
from study.common.errors import StudyError
from study.config import recipe
from study.config import TrialConfig
from study.data.split import PART_NAMES
from study.search.grid_plan import BY_VARIANT
from study.tracking import queries
from study.variants import format_flags
from study.variants import variant_fields
from study.variants import VARIANTS

# rival -> the words that start it, and the packages it needs beside the project's own
RIVALS = {
    "notebook": (("benchmarks.rivals.keras_loops", "notebook"), ()),
    "tuner": (("benchmarks.rivals.keras_loops", "tuner"), ("keras-tuner", "tensorboard")),
    "torch": (("benchmarks.rivals.torch_loop",), ("torch", "torchvision")),
}


def run_rival(who: str, configs: list[TrialConfig], folder: Path, images: Path) -> Run:
    """Run a rival's grid in an empty folder."""
    (module, *words), _ = RIVALS[who]
    job, told = folder / "job.json", folder / "told.json"
    ask(configs, images, job)
    started = time.perf_counter()
    cpu = run_module(module, [*words, str(job), str(told)], folder, folder)
    seconds = time.perf_counter() - started
    return Run(images.name, who, seconds, cpu, Grid(**json.loads(told.read_text())))


def run_ours(who: str, base: TrialConfig, folder: Path, images: Path, cache: Path) -> Run:
    """Run the real command in an empty folder, and read what it recorded."""
    started = time.perf_counter()
    cpu = run_module("study.grid", format_flags(base, leave_out=BY_VARIANT), folder, cache)
    seconds = time.perf_counter() - started
    return Run(images.name, who, seconds, cpu, recorded(folder, base, images))


def recorded(folder: Path, base: TrialConfig, images: Path) -> Grid:
    """Read a grid from the MLflow file of a folder, in the order of training."""
    client, grid = MlflowClient(f"sqlite:///{folder}/mlflow.db"), Grid()
    batches = math.ceil(sum(1 for _ in images.glob("train/*/*")) / base.batch_size)
    for run in queries.search_runs(client, "tags.finished = 'true'"):
        points = client.get_metric_history(run.info.run_id, "train_loss")
        grid.epochs.append([(point.timestamp / 1000, point.value) for point in points])
        grid.steps += batches * len(points)
        grid.test_accuracy.append(run.data.metrics["test_accuracy"])
    return grid


def turns(who: list[str], settings: TrialConfig, images: Path, folder: Path) -> Iterator[Run]:
    """Run each once on one kind of files.

    Args:
        who: rivals and kinds of `OURS`, in this order.
        settings: the base config.
        images: the folder of files.
        folder: a new one, deleted at the end.
    """
    base = settings.replace(dataset=f"folder:{images}", split="official")
    configs = [base.replace(**variant_fields(each.number, base)) for each in VARIANTS]
    for name in who:
        own = folder / name.replace(" ", "-")
        own.mkdir(parents=True)
        if name in RIVALS:
            yield run_rival(name, configs, own, images)
        else:
            yield run_ours(name, base, own, images, folder / "cache")
    shutil.rmtree(folder)


def available(wanted: list[str]) -> list[str]:
    """List the wanted rivals that are installed, in order, and print which are not."""
    found = []
    for name, (_, needs) in RIVALS.items():
        missing = [n for n in needs if not importlib.util.find_spec(n.replace("-", "_"))]
        if name in wanted and missing:
            print(f"{name} is left out: python -m pip install {' '.join(missing)}", flush=True)
        elif name in wanted:
            found.append(name)
    return [*found, *OURS] if "ours" in wanted else found


def check(runs: list[Run]) -> None:
    """Check that all trained the seven variants for the same number of steps.

    Raises:
        StudyError: a run differs from the first.
    """
    for run in runs:
        done, steps = len(run.grid.test_accuracy), run.grid.steps
        if (done, steps) != (len(VARIANTS), runs[0].grid.steps):
            raise StudyError(f"{run.who} is not like {runs[0].who}: {done} variants, {steps} steps")


def compare(args: argparse.Namespace) -> None:
    who = available(args.only)
    settings = config_of(
        args,
        lr=recipe("chest").lr,  # a folder's, for the grid takes no other
        epochs=args.epochs,
        weights=args.weights if args.weights == "none" else str(Path(args.weights).resolve()),
    )
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        root = Path(name)
        for kind in args.files:
            write_images(args.dataset, args.images, root / kind, kind)
        for repeat in range(args.repeats):
            for kind in args.files:
                for run in turns(who, settings, root / kind, root / f"{kind}-{repeat}"):
                    print(f"{run.files}, {run.who}: {run.seconds:.1f} s", flush=True)
                    runs.append(run)
        sizes = [sum(1 for _ in (root / args.files[0]).glob(f"{p}/*/*")) for p in PART_NAMES]
    check(runs)
    print(
        f"\n{args.dataset}, {settings.backbone}, {settings.image_size} px, batch "
        f"{settings.batch_size}, {settings.epochs} epochs; {sizes[0]} images to train, "
        f"{sizes[1]} to validate, {sizes[2]} to test; {runs[0].grid.steps} steps each"
    )
    print(machine(), "\n")
    print("\n".join(table(runs, who)))


def main() -> None:
    parser = parser_of(__doc__)
    parser.prog = "python -m benchmarks.rivals"
    add, everyone = parser.add_argument, (*RIVALS, "ours")
    add("--images", type=int, default=200, help="about how many, 0 for all [default: 200]")
    add("--epochs", type=int, default=2, help="of each variant [default: 2]")
    add("--weights", default="none", help="none, or FILE of the backbone [default: none]")
    add("--files", nargs="+", choices=KINDS, default=KINDS, help="default: both kinds")
    add("--only", nargs="+", choices=everyone, default=everyone, help="default: all of them")
    add("--repeats", type=int, default=1, help="of all turns; medians count [default: 1]")
    compare(parser.parse_args())


if __name__ == "__main__":
    load_dotenv(".env")
    sys.exit(run_command(main))
