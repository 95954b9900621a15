"""What tests/training/test_loop_jax.py does with either backend, in processes of their own.

python -m tests.support.fit_jax_tasks FOLDER TASK ...
"""

import gc
import json
import os
import sys
from pathlib import Path
from unittest import mock

import keras
import numpy as np

from study.config.trial_config import TrialConfig
from study.training import fit
from study.training.arrays import Arrays
from study.training.fit import Callbacks
from study.training.fit import TrialResult
from study.training.runtime import prepare_backend

CONFIG = TrialConfig(
    alpha=0.25, weights="none", image_size=32, batch_size=27, epochs=1, lr=1e-5, dense_units=16,
    head="gap", dropout=0.0, bn_momentum=0.9,
)  # fmt: skip
# With fewer layers to train it compiles sooner.
RANDOM = CONFIG.replace(dropout=0.5, augment=0.5, trainable=0.3, batch_size=16, epochs=2)


def arrays() -> Arrays:
    """88 images, 54 of them for training: 2 batches of 27, or 3 of 16 and one of 6."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (88, 32, 32, 3), np.uint8)
    y = rng.integers(0, 3, 88)
    x[..., 0] = x[..., 0] // 4 + 60 * y[:, None, None]  # something to learn
    rows = rng.permutation(88)
    return Arrays(x, y, rows[:54], rows[54:70], rows[70:], 3)


def tell(folder: Path, name: str, result: TrialResult) -> None:
    """Write what is to be compared."""
    history = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in result.history]
    (folder / f"{name}.json").write_text(json.dumps([history, result.figures]))
    np.savez(folder / f"{name}.npz", val=result.val_probabilities, test=result.test_probabilities)


def same_start(folder: Path) -> None:
    """A trial from weights that are the same with each backend."""
    made = fit.build_compiled_model

    def compiled(config: TrialConfig, classes: int) -> keras.Model:
        model, rng = made(config, classes), np.random.default_rng(1)
        for variable in model.weights:
            if len(variable.shape) > 1:
                scale = np.prod(variable.shape[:-1]) ** -0.5
                variable.assign(rng.normal(0, scale, variable.shape).astype(np.float32))
        return model

    backend = keras.backend.backend()
    with mock.patch.object(fit, "build_compiled_model", compiled):
        result = fit.fit(CONFIG.replace(class_weights="balanced"), arrays(), folder / backend)
    tell(folder, backend, result)
    averages = [
        each.numpy() for each in result.model.non_trainable_variables if "moving" in each.path
    ]
    np.savez(folder / f"{backend}-averages.npz", *averages)


def killed(folder: Path) -> None:
    """A trial that dies with its first epoch's state on disk."""
    fit.fit(
        RANDOM, arrays(), folder / "state", Callbacks(on_epoch=lambda _: os.kill(os.getpid(), 9))
    )


def resumed(folder: Path) -> None:
    """The same, taken up."""
    tell(folder, "resumed", fit.fit(RANDOM, arrays(), folder / "state"))


def whole(folder: Path) -> None:
    """Trials after one another in a process: nothing is compiled twice, nothing stays behind."""
    from study.training import loop_jax

    other = RANDOM.replace(seed=3, lr=5e-3)
    steps: list[tuple[int, int]] = []
    first = fit.fit(
        other, arrays(), folder / "other", Callbacks(on_step=lambda *s: steps.append(s))
    )
    del first
    programs = set(loop_jax._programs)
    before = living()
    same = arrays()
    tell(folder, "whole", fit.fit(RANDOM, same, folder / "whole"))
    told = {
        "steps": steps,
        "programs": len(programs),
        "new": len(set(loop_jax._programs) - programs),
    }
    told["left"] = living() - before
    there = batches_of(same)
    loop_jax._images_on_device.clear()
    share = loop_jax.IMAGE_MEMORY_SHARE
    loop_jax.IMAGE_MEMORY_SHARE = 0.0  # no room on the device
    told["same"] = there == batches_of(same)
    told["resident"] = len(loop_jax._images_on_device)
    loop_jax.IMAGE_MEMORY_SHARE = share
    (folder / "told.json").write_text(json.dumps(told))


def batches_of(same: Arrays) -> list[tuple[list[int], list[int]]]:
    """Pixel sums and labels of the batches that a program would take of 20 times two rows."""
    from study.training import loop_jax

    loop = loop_jax.JaxLoop(CONFIG, same, None, None)
    fed = loop._feed_chunks(same.train[:40].reshape(20, 2), loop_jax.STEPS_PER_CALL)
    return [
        (np.asarray(x[order[i]]).sum(axis=(1, 2, 3)).tolist(), np.asarray(y[order[i]]).tolist())
        for (x, y, order), count in fed
        for i in range(count)
    ]


def living() -> int:
    """Bytes of the arrays that JAX holds."""
    import jax

    keras.utils.clear_session()
    gc.collect()
    return sum(each.nbytes for each in jax.live_arrays())


def precise(folder: Path) -> None:
    """An epoch in each precision of 16 bits."""
    for precision in ("mixed_bfloat16", "mixed_float16"):
        config = CONFIG.replace(precision=precision, epochs=1, hidden_layers=0)
        tell(folder, precision, fit.fit(config, arrays(), folder / precision))


if __name__ == "__main__":
    prepare_backend()  # so that one task's programs are compiled for all
    for task in sys.argv[2:]:
        globals()[task](Path(sys.argv[1]))
