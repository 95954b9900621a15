"""Train the seven variants as a Keras notebook does, or by KerasTuner.

Started by `benchmarks.rivals`, in a process of its own: `notebook` or `tuner`, then two files.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras.src.legacy.preprocessing.image import ImageDataGenerator  # as in tf.keras.preprocessing

from benchmarks.plain import build_plain_model
from benchmarks.plain import compile_plain_model
from benchmarks.rivals.job import Grid
from benchmarks.rivals.job import run_job
from study.config.trial_config import TrialConfig


def make_callback(grid: Grid) -> keras.callbacks.Callback:
    """Make a callback that reports steps and epochs to the grid.

    It consists of functions, because KerasTuner copies its callbacks.
    """

    def on_step(batch: int, logs: object) -> None:  # noqa: ARG001 (Keras passes them by name)
        grid.steps += 1

    return keras.callbacks.LambdaCallback(
        on_train_begin=lambda _: grid.begin_variant(),
        on_train_batch_end=on_step,
        on_epoch_end=lambda _, logs: grid.add_epoch(logs["loss"]),
    )


def train_as_notebook(configs: list[TrialConfig], images: Path, grid: Grid) -> None:
    """Build, fit and evaluate each variant, with images decoded in every epoch."""
    size = configs[0].image_size
    train, val, test = (
        ImageDataGenerator(rescale=1 / 255).flow_from_directory(
            images / part,
            target_size=(size, size),
            batch_size=configs[0].batch_size,
            class_mode="sparse",
            shuffle=part == "train",
        )
        for part in ("train", "val", "test")
    )
    for config in configs:
        model = build_plain_model(config, train.num_classes, dtype="float32")
        compile_plain_model(model, config.lr)
        model.fit(
            train,
            validation_data=val,
            epochs=config.epochs,
            callbacks=[make_callback(grid)],
            verbose=0,
        )
        grid.test_accuracy.append(model.evaluate(test, verbose=0)[1])


def load_images(folder: Path, size: int) -> tuple[Any, Any]:
    """Load class folders as labels and float32 images (n, size, size, 3), 0 to 1."""
    x = []
    y = []
    for label, name in enumerate(sorted(each.name for each in folder.iterdir())):
        for file in sorted((folder / name).iterdir()):
            image = keras.utils.load_img(file, target_size=(size, size))
            x.append(keras.utils.img_to_array(image) / 255)
            y.append(label)
    return np.stack(x), np.array(y)


def train_with_tuner(configs: list[TrialConfig], images: Path, grid: Grid) -> None:
    """Search over the variants with GridSearch, and evaluate the best model of each.

    The images are arrays in memory.
    """
    import keras_tuner  # imported late, because the notebook does not need it

    size = configs[0].image_size
    batch_size = configs[0].batch_size
    train, val, test = (load_images(images / part, size) for part in ("train", "val", "test"))
    classes = len(np.unique(train[1]))

    def build(hp: Any) -> keras.Model:
        config = configs[hp.Choice("variant", list(range(len(configs))))]
        model = build_plain_model(config, classes, dtype="float32")
        compile_plain_model(model, config.lr)
        return model

    with tempfile.TemporaryDirectory() as folder:
        search = keras_tuner.GridSearch(build, objective="val_accuracy", directory=folder)
        search.search(
            *train,
            validation_data=val,
            epochs=configs[0].epochs,
            batch_size=batch_size,
            callbacks=[make_callback(grid)],
            verbose=0,
        )
        for model in search.get_best_models(len(configs)):
            grid.test_accuracy.append(model.evaluate(*test, batch_size=batch_size, verbose=0)[1])


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    run_job({"notebook": train_as_notebook, "tuner": train_with_tuner}[sys.argv[1]])
