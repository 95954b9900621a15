"""Keras' training step and prediction on JAX, many steps in one call to the device.

The images lie on the device, brought there once per process; a call takes row numbers. Its program
is compiled once for all trials of one architecture: weights, learning rate and seeds are inputs.
Programs are also kept in the cache folder, so that a restarted process need not compile them.
"""

import math
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import keras
import numpy as np
import psutil
from numpy.typing import NDArray

from study.config import TrialConfig

if TYPE_CHECKING:
    from study.training.fit import Arrays

CHUNK = 16  # steps in one call; between two calls progress is shown, and Ctrl-C is heard
ROOM = 0.5  # of the device's free memory that images may take; the rest is the network's
KEPT = 64  # programs; a trial has three
# Fields that a program does not depend on, for they decide only what goes into it
INPUTS = (
    "dataset",
    "weights",
    "lr",
    "epochs",
    "patience",
    "split",
    "fold",
    "folds",
    "limit",
    "seed",
)

Rows = NDArray[np.int64]
Program = Callable[..., Any]
_programs: "dict[object, Future[Program]]" = {}  # the least used first
_compilers = ThreadPoolExecutor(3)
_resident: list[tuple[NDArray[np.uint8], jax.Array]] = []  # one at most: on the host, on the device


@dataclass(frozen=True)
class JaxLoop:
    """The loops over the batches of rows, for training and for prediction."""

    config: TrialConfig
    arrays: "Arrays"
    model: keras.Model
    probe: keras.Model

    def train(self, rows: Rows, on_step: Callable[[int, int], None]) -> dict[str, float]:
        """Train on rows in their order, the last batch being smaller; the means over them."""
        done, steps = 0, math.ceil(len(rows) / self.config.batch_size)
        self.model.reset_metrics()
        state = [_values(variables) for variables in self._variables()]
        self._compile(rows, state)
        for batches, chunk in self._parts(rows):
            for fed, count in self._fed(batches, chunk):
                state = self._train_program(state, fed).result()(state, *fed, np.int32(count))
                jax.block_until_ready(state)
                done += count
                on_step(done, steps)
        for variables, values in zip(self._variables(), state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        return {name: float(x) for name, x in self.model.get_metrics_result().items()}

    def predict(self, rows: Rows) -> list[NDArray[np.float32]]:
        """What the probe says of rows, in their order."""
        size = self.config.batch_size
        missing = np.repeat(rows[:1], -len(rows) % size)  # in the last batch
        batches = np.concatenate([rows, missing]).reshape(-1, size)
        state = self._probe_state()
        made = []
        for (x, _, order), count in self._fed(batches, CHUNK):
            program = self._predict_program(state, x, order).result()
            outputs = program(state, x, order, np.int32(count))
            made.append([np.asarray(each[:count], np.float32) for each in outputs])
        flat = [np.concatenate(parts) for parts in zip(*made, strict=True)]
        return [each.reshape(-1, *each.shape[2:])[: len(rows)] for each in flat]

    def _parts(self, rows: Rows) -> list[tuple[Rows, int]]:
        """Whole batches, and the smaller last one if there is one, each with its steps a call."""
        size = self.config.batch_size
        whole = len(rows) // size * size
        parts = [(rows[:whole].reshape(-1, size), CHUNK), (rows[whole:].reshape(1, -1), 1)]
        return [part for part in parts if part[0].size]

    def _compile(self, rows: Rows, state: list[list[jax.Array]]) -> None:
        """Begin to compile all programs of a trial, side by side, unless they are there."""
        for batches, chunk in self._parts(rows):
            fed, _ = next(self._fed(batches, chunk))
            self._train_program(state, fed)
        size = self.config.batch_size
        (x, _, order), _ = next(self._fed(np.resize(rows, (1, size)), CHUNK))
        self._predict_program(self._probe_state(), x, order)

    def _train_program(self, state: Any, fed: tuple[jax.Array, ...]) -> "Future[Program]":
        return self._program("train", lambda: _steps(self.model), state, *fed, np.int32(0))

    def _predict_program(self, state: Any, x: jax.Array, order: jax.Array) -> "Future[Program]":
        return self._program("predict", lambda: _predictions(self.probe), state, x, order,
                             np.int32(0))  # fmt: skip

    def _probe_state(self) -> list[list[jax.Array]]:
        probe = self.probe
        return [_values(v) for v in (probe.trainable_variables, probe.non_trainable_variables)]

    def _variables(self) -> list[Sequence[Any]]:
        """As Keras' `train_step` takes them."""
        model = self.model
        weights = [model.trainable_variables, model.non_trainable_variables]
        return [*weights, model.optimizer.variables, model.metrics_variables]

    def _fed(self, batches: Rows, chunk: int) -> Iterator[tuple[tuple[jax.Array, ...], int]]:
        """Images, labels and (chunk, size) row numbers among them; how many batches of it count."""
        images, labels = _on_device(self.arrays.x), self.arrays.y.astype(np.int32)
        for start in range(0, len(batches), chunk):
            part = batches[start : start + chunk]
            count = len(part)  # the program takes whole chunks
            part = np.concatenate([part, np.repeat(part[:1], chunk - count, axis=0)])
            if images is not None:
                yield (images, jnp.asarray(labels), jnp.asarray(part, np.int32)), count
            else:
                x, y = self.arrays.x[part.ravel()], labels[part.ravel()]
                order = np.arange(part.size, dtype=np.int32).reshape(part.shape)
                yield (jnp.asarray(x), jnp.asarray(y), jnp.asarray(order)), count

    def _program(
        self, name: str, make: Callable[[], Program], state: Any, *args: Any
    ) -> "Future[Program]":
        """The program of a function, whose compilation begins unless there is one."""
        fields = {k: v for k, v in self.config.as_dict().items() if k not in INPUTS}
        shapes = tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves((state, args)))
        key = (name, tuple(fields.items()), shapes)
        program = _programs.pop(key, None)
        if program is None:
            # the function is not kept, for it would keep its model, and thereby all its weights
            donated = (0,) if name == "train" else ()
            lowered = jax.jit(make(), donate_argnums=donated).lower(state, *args)
            program = _compilers.submit(lowered.compile)
        _programs[key] = program
        if len(_programs) > KEPT:
            del _programs[next(iter(_programs))]
        return program


def _values(variables: Sequence[Any]) -> list[jax.Array]:
    """On the device: a new model's are on the host, see `study.training.runtime.on_host`."""
    values: list[jax.Array] = jax.device_put([v.value for v in variables], jax.devices()[0])
    return values


def _steps(model: keras.Model) -> Program:
    def steps(state: Any, x: jax.Array, y: jax.Array, order: jax.Array, count: Any) -> Any:
        def step(i: Any, state: Any) -> Any:
            rows = order[i]
            _, after = model.train_step(tuple(state), (x[rows], y[rows]))
            return [list(values) for values in after]

        return jax.lax.fori_loop(0, count, step, state)

    return steps


def _predictions(probe: keras.Model) -> Program:
    def predictions(state: Any, x: jax.Array, order: jax.Array, count: Any) -> Any:
        def outputs_of(rows: jax.Array) -> list[jax.Array]:
            outputs, _ = probe.stateless_call(*state, x[rows], training=False)
            return outputs if isinstance(outputs, list) else [outputs]

        def step(i: Any, made: list[jax.Array]) -> list[jax.Array]:
            return [
                all_.at[i].set(each) for all_, each in zip(made, outputs_of(order[i]), strict=True)
            ]

        shapes = jax.eval_shape(outputs_of, order[0])
        made = [jnp.zeros((len(order), *each.shape), each.dtype) for each in shapes]
        return jax.lax.fori_loop(0, count, step, made)

    return predictions


def _on_device(x: NDArray[np.uint8]) -> jax.Array | None:
    """The images on the device, or None if there is no room for them."""
    for host, there in _resident:
        if host is x or _file_of(host) == _file_of(x) is not None:
            return there
    _resident.clear()
    if x.nbytes > ROOM * _free():
        return None
    put: jax.Array = jax.device_put(np.asarray(x))
    _resident.append((x, put))
    return put


def _file_of(x: NDArray[np.uint8]) -> object:
    """A memory map's file, which study/data/pixels.py names by its content; else None."""
    return (x.filename, x.shape) if isinstance(x, np.memmap) else None


def _free() -> int:
    """Bytes of memory that are free on the device."""
    stats = jax.devices()[0].memory_stats()
    if stats is None:  # the device is the host's processor
        return int(psutil.virtual_memory().available)
    return int(stats["bytes_limit"]) - int(stats["bytes_in_use"])
