"""Keras' training step and prediction on JAX, many steps in one device call.

The images are copied to the device once per process, and each call passes only row numbers. Its
program is compiled once for all trials of one architecture: weights, learning rate and seeds are
inputs. Programs are also kept in the cache folder, so that a restarted process need not compile
them.
"""

import math
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import psutil
from numpy.typing import NDArray

from study.config.trial_config import fields_affecting
from study.config.trial_config import TrialConfig
from study.training.arrays import Arrays
from study.training.lean_keras import keras

# Between two calls, progress is shown and Ctrl-C takes effect.
STEPS_PER_CALL = 16
# Of the device's free memory, the share that images may take. The rest is the network's.
IMAGE_MEMORY_SHARE = 0.5
MAX_PROGRAMS = 64  # a trial has three
# All other fields change only the inputs of a program.
PROGRAM_FIELDS = fields_affecting("program")

Rows = NDArray[np.int64]
Program = Callable[..., Any]
_programs: "dict[object, Future[Program]]" = {}  # the least recently used first
_compilers = ThreadPoolExecutor(3)
# One pair at most: the images on the host, and on the device
_images_on_device: list[tuple[NDArray[np.uint8], jax.Array]] = []


@dataclass
class JaxLoop:
    """Loops over the batches of rows, for training and for prediction, on JAX."""

    config: TrialConfig
    arrays: Arrays
    model: keras.Model
    probe: keras.Model
    class_weights: NDArray[np.float32] | None = field(init=False)
    has_programs: bool = field(default=False, init=False)  # or is compiling them

    def __post_init__(self) -> None:
        self.class_weights = self.arrays.weigh_classes(self.config.class_weights)

    def train(self, rows: Rows, on_step: Callable[[int, int], None]) -> dict[str, float]:
        """Train on rows in their order, and return their mean loss and accuracy.

        The last batch may be smaller.
        """
        steps_done = 0
        steps = math.ceil(len(rows) / self.config.batch_size)
        self.model.reset_metrics()
        state = [_copy_to_device(variables) for variables in self._list_variables()]
        if not self.has_programs:
            self._start_compiling(rows, state)
            self.has_programs = True
        for batches, chunk in self._split_batches(rows):
            for inputs, count in self._feed_chunks(batches, chunk):
                program = self._get_train_program(state, inputs).result()
                state = program(state, *inputs, self.class_weights, np.int32(count))
                jax.block_until_ready(state)
                steps_done += count
                on_step(steps_done, steps)
        for variables, values in zip(self._list_variables(), state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        return {name: float(value) for name, value in self.model.get_metrics_result().items()}

    def predict(self, rows: Rows) -> list[NDArray[np.float32]]:
        """Return the probe's outputs for rows, in their order."""
        size = self.config.batch_size
        padding = np.repeat(rows[:1], -len(rows) % size)  # fills the last batch
        batches = np.concatenate([rows, padding]).reshape(-1, size)
        state = self._copy_probe_state()
        outputs_by_chunk = []
        for (x, _, order), count in self._feed_chunks(batches, STEPS_PER_CALL):
            program = self._get_predict_program(state, x, order).result()
            outputs = program(state, x, order, np.int32(count))
            outputs_by_chunk.append([np.asarray(each[:count], np.float32) for each in outputs])
        joined = [np.concatenate(parts) for parts in zip(*outputs_by_chunk, strict=True)]
        # From (batches, size, ...) to (rows, ...)
        return [each.reshape(-1, *each.shape[2:])[: len(rows)] for each in joined]

    def _split_batches(self, rows: Rows) -> list[tuple[Rows, int]]:
        """Return whole batches, then any smaller last one, each with its steps per call."""
        size = self.config.batch_size
        whole = len(rows) // size * size
        parts = [(rows[:whole].reshape(-1, size), STEPS_PER_CALL), (rows[whole:].reshape(1, -1), 1)]
        return [part for part in parts if part[0].size]

    def _start_compiling(self, rows: Rows, state: list[list[jax.Array]]) -> None:
        """Start to compile a trial's missing programs, side by side."""
        for batches, chunk in self._split_batches(rows):
            inputs, _ = next(self._feed_chunks(batches, chunk))
            self._get_train_program(state, inputs)
        size = self.config.batch_size
        (x, _, order), _ = next(self._feed_chunks(np.resize(rows, (1, size)), STEPS_PER_CALL))
        self._get_predict_program(self._copy_probe_state(), x, order)

    def _get_train_program(self, state: Any, inputs: tuple[jax.Array, ...]) -> "Future[Program]":
        args = (*inputs, self.class_weights, np.int32(0))
        return self._get_program("train", lambda: _make_train_function(self.model), state, *args)

    def _get_predict_program(self, state: Any, x: jax.Array, order: jax.Array) -> "Future[Program]":
        return self._get_program(
            "predict", lambda: _make_predict_function(self.probe), state, x, order, np.int32(0)
        )

    def _copy_probe_state(self) -> list[list[jax.Array]]:
        """Return the probe's weights on the device, as Keras' `stateless_call` takes them."""
        probe = self.probe
        groups = (probe.trainable_variables, probe.non_trainable_variables)
        return [_copy_to_device(variables) for variables in groups]

    def _list_variables(self) -> list[Sequence[Any]]:
        """Return the variables in groups, as Keras' `train_step` takes them."""
        model = self.model
        weights = [model.trainable_variables, model.non_trainable_variables]
        return [*weights, model.optimizer.variables, model.metrics_variables]

    def _feed_chunks(
        self, batches: Rows, chunk: int
    ) -> Iterator[tuple[tuple[jax.Array, ...], int]]:
        """Yield a program's inputs for each chunk of batches.

        They are images, labels and (chunk, size) row numbers among them. With them comes the number
        of batches in the chunk, because the last one is padded.
        """
        images = _place_on_device(self.arrays.x)
        labels = self.arrays.y.astype(np.int32)
        for start in range(0, len(batches), chunk):
            part = batches[start : start + chunk]
            count = len(part)
            # The program takes whole chunks.
            part = np.concatenate([part, np.repeat(part[:1], chunk - count, axis=0)])
            if images is not None:
                yield (images, jnp.asarray(labels), jnp.asarray(part, np.int32)), count
            else:
                x = self.arrays.x[part.ravel()]
                y = labels[part.ravel()]
                order = np.arange(part.size, dtype=np.int32).reshape(part.shape)
                yield (jnp.asarray(x), jnp.asarray(y), jnp.asarray(order)), count

    def _get_program(
        self, kind: str, make_function: Callable[[], Program], state: Any, *args: Any
    ) -> "Future[Program]":
        """Return the program of a function, and start to compile it if it is new."""
        fields = tuple(getattr(self.config, name) for name in PROGRAM_FIELDS)
        shapes = tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves((state, args)))
        key = (kind, fields, shapes)
        program = _programs.pop(key, None)
        if program is None or (program.done() and program.exception() is not None):
            # The function is not kept: it would keep its model, and thereby all its weights.
            donated = (0,) if kind == "train" else ()
            lowered = jax.jit(make_function(), donate_argnums=donated).lower(state, *args)
            program = _compilers.submit(lowered.compile)
        _programs[key] = program
        if len(_programs) > MAX_PROGRAMS:
            del _programs[next(iter(_programs))]
        return program


def _copy_to_device(variables: Sequence[Any]) -> list[jax.Array]:
    """Return the variables' values on the device.

    Those of a new model are on the host, see `study.training.runtime.on_host`.
    """
    values: list[jax.Array] = jax.device_put([v.value for v in variables], jax.devices()[0])
    return values


def _make_train_function(model: keras.Model) -> Program:
    """Return a function of arrays that takes `count` training steps."""

    # JAX's compilation cache on disk knows a program by this function's name.
    def steps(
        state: Any,
        x: jax.Array,
        y: jax.Array,
        order: jax.Array,
        class_weights: jax.Array | None,
        count: Any,
    ) -> Any:
        def run_step(i: Any, state: Any) -> Any:
            rows = order[i]
            weights = () if class_weights is None else (class_weights[y[rows]],)
            _, state_after = model.train_step(tuple(state), (x[rows], y[rows], *weights))
            return [list(values) for values in state_after]

        return jax.lax.fori_loop(0, count, run_step, state)

    return steps


def _make_predict_function(probe: keras.Model) -> Program:
    """Return a function of arrays that predicts `count` batches."""

    # JAX's compilation cache on disk knows a program by this function's name.
    def predictions(state: Any, x: jax.Array, order: jax.Array, count: Any) -> Any:
        def predict_rows(rows: jax.Array) -> list[jax.Array]:
            outputs, _ = probe.stateless_call(*state, x[rows], training=False)
            return outputs if isinstance(outputs, list) else [outputs]

        def predict_batch(i: Any, buffers: list[jax.Array]) -> list[jax.Array]:
            outputs = predict_rows(order[i])
            return [
                buffer.at[i].set(output) for buffer, output in zip(buffers, outputs, strict=True)
            ]

        shapes = jax.eval_shape(predict_rows, order[0])
        buffers = [jnp.zeros((len(order), *each.shape), each.dtype) for each in shapes]
        return jax.lax.fori_loop(0, count, predict_batch, buffers)

    return predictions


def _place_on_device(x: NDArray[np.uint8]) -> jax.Array | None:
    """Return the images on the device, or None if they do not fit."""
    for host_images, device_images in _images_on_device:
        if host_images is x or _identify_file(host_images) == _identify_file(x) is not None:
            return device_images
    _images_on_device.clear()
    if x.nbytes > IMAGE_MEMORY_SHARE * _measure_free_memory():
        return None
    images: jax.Array = jax.device_put(np.asarray(x))
    _images_on_device.append((x, images))
    return images


def _identify_file(x: NDArray[np.uint8]) -> object:
    """Return a memory map's file and shape, or None for another array.

    study/data/pixels.py names the file by its content.
    """
    return (x.filename, x.shape) if isinstance(x, np.memmap) else None


def _measure_free_memory() -> int:
    """Return the bytes of memory that are free on the device."""
    stats = jax.devices()[0].memory_stats()
    if stats is None:  # the device is the host's processor
        return int(psutil.virtual_memory().available)
    return int(stats["bytes_limit"]) - int(stats["bytes_in_use"])
