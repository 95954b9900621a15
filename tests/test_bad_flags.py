"""A bad flag ends any command at once: one line that says what to write, and nothing left behind.

A new case is a line in the table of its command. What a command refuses for another reason, such
as a missing model, is tested beside the command.
"""

import shlex
from pathlib import Path

import pytest

from tests.support.commands import run_here

# For each command its flags, and what the line must say of them
GRID = {
    "--seeds 0": ["seeds='0'"],
    "--seeds two": ["seeds='two'"],
    "--variant 2": ["--variant"],
    "--lr 1e-3": ["--lr", "--sweep lr=1e-3"],
    "--dense-units 8,16": ["--dense-units", "--sweep dense_units=8,16"],
    "--dropout 0.1,0.2": ["--dropout", "--sweep dropout=0.1,0.2"],
    "--seed 1,2": ["--seed", "--seeds"],
    "--dataset mnist": ["dataset='mnist'", "folder:PATH"],
    "--folds 5": ["set split=grouped"],
    "--split grouped --folds 1": ["use 2 to 1000"],
    "--split grouped --folds many": ["folds='many'"],
    "--split grouped --fold 1": ["add folds"],
    "--split grouped --folds 3 --fold 4": ["use 1 to 3"],
    "--budget fast --dataset demo --epochs 2": ["so epochs=2 is too few: use 3 or more"],
    "--budget fast --dataset demo --register": ["--register needs a finished model"],
    "--budget quick --dataset demo": ["--budget 'quick' is unknown: choose one of"],
    "--budget fast --sweep epochs=3,6": ["one number of epochs"],
    "--baseline lr=1e-3": ["--baseline", "--sweep"],
}
SWEEP = {
    "--sweep lr": ["--sweep lr", "name=value"],
    "--sweep rate=1": ["rate", "not a field", "lr"],
    "--sweep lr=": ["lr=''", "number"],
    "--sweep lr=1e-3,": ["lr=''", "number"],
    "--sweep lr=1e-3,fast": ["lr='fast'", "number"],
    "--sweep lr=1e-3,2": ["lr=2.0 is out of range"],
    "--sweep head=gap,max": ["head='max' is unknown", "flatten, gap"],
    "--sweep lr=1e-3,0.001": ["lr", "1e-3 is given twice"],
    "--sweep lr=1e-3 --sweep lr=1e-2": ["lr is given twice"],
    "--sweep weights=none,nowhere.h5": ["weights=nowhere.h5", "no file"],
    "--sweep lr=1e-3,5e-3 --lr 1e-3": ["--lr contradicts --sweep lr"],
    "--sweep batch-size=8 --batch-size 8": ["--batch-size contradicts --sweep batch_size"],
    "--sweep hidden_layers=0,1 --sweep dense_units=8,16": ["dense_units changes nothing"],
    "--sweep dropout=0,0.5 --hidden-layers 0": ["dropout changes nothing"],
    "--sweep seed=1,2": ["seed", "--seeds"],
    "--sweep fold=1,2": ["fold", "--folds"],
    "--sweep folds=5,10": ["folds", "--folds"],
    "--sweep dataset=demo,chest": ["dataset", "repeat the command"],
    "--sweep variant=1,2": ["variant", "without --sweep"],
    "--sweep backbone=mobilenet,vgg16 --alpha 0.5": ["backbone=vgg16", "alpha=0.5"],
    "--sweep split=pooled,grouped --folds 3": ["split=pooled", "set split=grouped"],
    "--sweep lr=1e-3,5e-3 --baseline lr=1e-2": ["lr=1e-2 is not in the grid", "1e-3, 5e-3"],
    "--sweep lr=1e-3,5e-3 --baseline head=gap": ["head: not swept"],
    "--sweep lr=1e-3 --baseline lr=1e-3,lr=1e-3": ["--baseline lr is given twice"],
    "--sweep lr=1e-3,5e-3 --baseline lr": ["--baseline lr", "name=value"],
    "--sweep lr=1e-3,5e-3 --seeds 0": ["seeds='0'"],
}
TPE = {
    "--trials 0": ["trials='0'"],
    "--timeout soon": ["timeout='soon'"],
    "--confirm -1": ["confirm='-1'"],
    "--register --confirm 0": ["--register", "use --confirm 1 or more"],
    "--fix lr": ["name=value"],
    "--fix epochs=3": ["not a searched field"],
    "--fix lr=fast": ["lr='fast'"],
    "--fix lr=1e-3 --lr 1e-4": ["contradicts"],
    "--fix dropout=2": ["dropout=2.0 is out of range"],
    "--sampler best": ["--sampler"],
    "--dataset mnist": ["dataset='mnist'"],
}
WORKERS = {
    "--workers 0": ["workers='0' is out of range: use 1 to 1000"],
    "--workers 1001": ["workers='1001'"],
    "--workers -1": ["workers='-1'"],
    "--workers two": ["workers='two' is not a whole number"],
    "--gpus-per-trial -1": ["gpus_per_trial='-1' is out of range: use 0 to 64"],
    "--gpus-per-trial 65": ["gpus_per_trial='65'"],
    "--gpus-per-trial nan": ["gpus_per_trial='nan'"],
    "--gpus-per-trial all --engine ray": ["gpus_per_trial='all' is not a number"],
    "--engine threads": ["--engine"],
    "--gpus-per-trial 1": ["--gpus-per-trial", "--engine ray"],
    "--ray-address 10.0.0.1:6379": ["--ray-address", "--engine ray"],
}
TRAIN = {
    "--force": ["--force is for --register"],
    "--name cells": ["--name cells", "add --register"],
    "--register --name a/b": ["name='a/b' cannot name a model", "letters"],
    "--dataset mnist": ["dataset='mnist'", "folder:PATH"],
    "--lr abc": ["lr='abc' is not a number"],
    "--lr -1": ["lr=-1", "range"],
    "--lr nan": ["lr=nan", "range"],
    "--epochs 1.5": ["epochs='1.5' is not a whole number"],
    "--image-size 16": ["image_size=16", "32"],
    "--image_size=16": ["image_size=16", "32"],
    "--backbone inception_v3 --alpha 1 --image-size 64": ["75"],
    "--weights nowhere.h5": ["weights", "'nowhere.h5'", "imagenet"],
    "--variant 8": ["variant=8", "1 to 7"],
    "--variant two": ["variant='two'"],
    "--split grouped --folds 5": ["folds=5", "fold=1", "study.grid"],
    "--folds 5 --fold 1": ["folds=5", "split=grouped"],
    "--learning-rate 1": ["--learning-rate", "--help"],
    "--epoch 1": ["--epoch", "--help"],  # no abbreviations
    "--lr": ["--lr needs a value; see", "--help"],
    "stray": ["stray", "--help"],
}
OFFLINE = {
    "--out records --minutes 0": ["minutes='0' is out of range"],
    "--out records --variant 1,9": ["variant='1,9' is unknown"],
    "--out records --lr 1e-3": ["--lr", "--sweep lr=1e-3"],
    "--out records --sweep lr=1e-3 --variant 1": ["--variant", "--sweep"],
    "--out records --sweep lr=1e-3,2": ["lr=2.0 is out of range"],
    "--sweep lr=1e-3 --dataset ./images --out images/out": ["images/out", "--out"],
    "--out records --workers 0": ["workers='0' is out of range: use 1 to 1000"],
    "--dataset folder:images --out images/out": ["images/out", "each folder is a class", "--out"],
    "--dataset folder:images --out images": ["each folder is a class", "--out"],
}
AUDIT = {
    "--dataset mnist": ["'mnist'", "folder:PATH"],
    "--dataset folder:/no/such/place": ["/no/such/place", "check the path"],
    "--data demo": ["--data", "--help"],
    "--dataset folder:.": ["audits is within", "each folder is a class", "--out"],
    "--dataset demo --out file": ["file", "--out"],
}
CASES = {
    "--run 0 --count=0": ["count='0' is out of range"],
    "--run 0 --count=-3": ["count='-3' is out of range"],
    "--run 0 --count=many": ["count='many' is not a whole number: use 1 to 1000"],
}
EXPORT = {
    "--dataset ./images --out images/out": ["images/out", "each folder is a class", "--out"],
    "--dataset folder:images --out images/out": ["images/out", "each folder is a class", "--out"],
}
POWER = {
    "--dataset nothing": ["dataset='nothing'"],
    "--dataset demo --accuracy 0.9": ["--accuracy needs --groups and --images"],
    "--dataset demo --agreement 0.9": ["--agreement needs --accuracy and --groups and --images"],
    "--dataset demo --accuracy 95 --groups 9 --images 90": ["accuracy='95' is out of range"],
    "--dataset demo --accuracy 0.9 --groups 1 --images 90": ["groups='1' is out of range"],
    "--dataset demo --accuracy 0.9 --groups 9 --images 8": ["images='8'", "use 9 to"],
    "--dataset demo --accuracy 0.9 --groups 9 --images 90 --correlation=-1": ["correlation='-1'"],
    "--dataset demo --seed-sd some": ["seed_sd='some' is not a number: use 0 to 50"],
    "--seeds 5 --dataset demo": ["--seeds", "--help"],
}
TABLE = {
    "study.train": TRAIN,
    "study.grid": GRID | SWEEP | WORKERS,
    "study.tpe": TPE | WORKERS,
    "study.offline": OFFLINE,
    "study.sync": {
        "--from nowhere": ["no records in nowhere"],
        "--from records --moved": ["--moved and --from", "leave one of them out"],
    },
    "study.predict": {
        "images": ["--model", "--help"],
        "--model M --out images/a/out.csv images": ["images/a/out.csv among the images", "--out"],
        "--model M --out=~nobody-here/x images": ["'~nobody-here/x'", "check it"],
    },
    "study.data.audit": AUDIT,
    "pipelines.cases": CASES,
    "pipelines.export": {"--data demo": ["--data", "--help"], **EXPORT},
    "pipelines.power": POWER,
    "pipelines.report": {"--dataset nothing": ["dataset='nothing'"], **EXPORT},
}


def list_cases() -> list[object]:
    return [
        pytest.param(module, flags, words, id=f"{module} {flags}")
        for module, refused in TABLE.items()
        for flags, words in refused.items()
    ]


@pytest.mark.parametrize(("module", "flags", "words"), list_cases())
def test_command_with_a_bad_flag_ends_with_one_line_that_names_it(
    tmp_path: Path, module: str, flags: str, words: list[str]
) -> None:
    (tmp_path / "file").touch()
    done = run_here(module, *shlex.split(flags), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert [word for word in words if word not in done.stderr] == []
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
