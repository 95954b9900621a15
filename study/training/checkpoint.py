"""Keep a trial's whole training state in one file, which each epoch replaces."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from study.common.errors import StudyError
from study.common.errors import TrialFailed
from study.common.files import open_atomically
from study.training.lean_keras import keras

STATE_FILE = "state.npz"
# epoch (from 1), loss, accuracy, val_loss, val_accuracy, val_balanced_accuracy, val_auc (if there
# is one), seconds
Epoch = dict[str, float]


def save_checkpoint(folder: Path, model: keras.Model, history: list[Epoch]) -> None:
    """Replace the state file by one of the model and its history, atomically.

    Raises:
        TrialFailed: a weight is not finite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {
        f"v{number}": np.asarray(variable) for number, variable in enumerate(_list_variables(model))
    }
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise TrialFailed(  # relu6 turns NaN into 0, so the loss alone may not show it
            f"weights are not numbers after epoch {len(history)}: lower the learning rate"
        )
    arrays["history"] = np.array(json.dumps(history))
    arrays["backend"] = np.array(keras.backend.backend())
    with open_atomically(folder / STATE_FILE) as file:
        np.savez(file, **arrays)


def load_checkpoint(folder: Path, model: keras.Model) -> list[Epoch]:
    """Load any saved state into the model and return the epochs that it holds.

    Raises:
        StudyError: another backend saved the state.
    """
    try:
        with np.load(folder / STATE_FILE, allow_pickle=False) as state:
            history: list[Epoch] = json.loads(str(state["history"]))
            values = [state[name] for name in state.files if re.fullmatch(r"v\d+", name)]
            backend = str(state["backend"]) if "backend" in state else "tensorflow"
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return []  # none yet, or damaged from outside: starting anew beats a wrong state
    if backend != keras.backend.backend():
        raise StudyError(
            f"this trial was started with KERAS_BACKEND={backend}: set that to continue, or "
            f"delete {folder} to start anew"
        )
    for variable, value in zip(_list_variables(model), values, strict=True):
        variable.assign(value)
    return history


def _list_variables(model: keras.Model) -> list[Any]:
    """Return all that training changes.

    That is weights, batch statistics, seeds of random layers, and the optimizer's variables.
    """
    return [*model.variables, *model.optimizer.variables]
