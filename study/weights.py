"""Compare the tensors of a weights file with the published ImageNet weights.

This module does not import Keras: it reads both of Keras' HDF5 layouts itself, so that a command
without Keras can compute a fingerprint. `published_weights.json` lists, for each backbone whose
published file was available, a SHA-256 over all its tensors and one for each tensor, in the order
of Keras' `get_weights()`.
"""

import functools
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

PUBLISHED_TABLE = Path(__file__).with_name("published_weights.json")


@dataclass(frozen=True)
class PublishedWeights:
    """The published weights of one backbone, without its top."""

    digest: str  # SHA-256 over all tensors
    tensors: dict[str, str]  # SHA-256 by the tensor's name in a `.weights.h5` file


@dataclass(frozen=True)
class WeightsComparison:
    """The number of a file's tensors that equal the published ones, and of all."""

    equal: int
    total: int

    def __str__(self) -> str:
        return f"{self.equal}/{self.total}"


def find_published_weights(backbone: str, alpha: float) -> PublishedWeights | None:
    """Return a backbone's published weights, or None if they are not in the table."""
    return _read_table().get(f"{backbone}-{alpha}" if backbone == "mobilenet" else backbone)


def compare_with_published(path: Path, backbone: str, alpha: float) -> WeightsComparison | None:
    """Count the tensors of a file that equal the published ones bit by bit.

    Both are compared as float32.

    Returns:
        None if the backbone is not in the table, or the file holds another model's weights.
    """
    reference = find_published_weights(backbone, alpha)
    if reference is None:
        return None
    digests = _digest_tensors(path, tuple(reference.tensors), *_stamp(path))
    if len(digests) != len(reference.tensors):
        return None
    equal = sum(a == b for a, b in zip(digests, reference.tensors.values(), strict=True))
    return WeightsComparison(equal, len(digests))


def digest_weights(tensors: Iterable[NDArray[Any]]) -> str:
    """Return a SHA-256 (64 hex digits) over tensors.

    Their bytes are taken as little-endian float32 in C order.
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(_encode_tensor(tensor))
    return digest.hexdigest()


def find_keras_ending(path: Path) -> str:
    """Return the ending by which Keras knows a weights file's layout.

    Returns:
        `.weights.h5` for Keras 3's layout, else `.h5`.
    """
    try:
        with h5py.File(path, "r") as file:
            is_legacy = "layer_names" in file.attrs or "model_weights" in file
            return ".h5" if is_legacy else ".weights.h5"
    except OSError:  # not HDF5: Keras reports it
        return ".h5"


def hash_file(path: Path, algorithm: str) -> str:
    """Return a file's digest as hex digits, without reading an unchanged file again."""
    return _hash_contents(path, algorithm, *_stamp(path))


def _stamp(path: Path) -> tuple[int, int]:
    """Return a file's time and size, by which the caches below notice a change."""
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


@functools.lru_cache(maxsize=16)
def _hash_contents(path: Path, algorithm: str, *_stamp: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


@functools.cache
def _read_table() -> dict[str, PublishedWeights]:
    content = json.loads(PUBLISHED_TABLE.read_text(encoding="utf-8"))
    return {name: PublishedWeights(**fields) for name, fields in content.items()}


@functools.lru_cache(maxsize=16)
def _digest_tensors(path: Path, names: tuple[str, ...], *_stamp: int) -> tuple[str, ...]:
    """Return a SHA-256 for each tensor of `names`, or () if one of them is missing."""
    try:
        with h5py.File(path, "r") as file:
            tensors = _read_legacy_tensors(file) or [np.asarray(file[name]) for name in names]
            return tuple(digest_weights([tensor]) for tensor in tensors)
    except (OSError, KeyError, TypeError, ValueError):
        return ()  # not HDF5, or another model's file: Keras reports it when it loads the file


def _read_legacy_tensors(file: h5py.File) -> list[NDArray[Any]]:
    """Return the tensors of a file in Keras 2's layout, or [] if it is in Keras 3's."""
    # A file of a whole model has its weights in a group of their own.
    root = file if "layer_names" in file.attrs else file.get("model_weights", file)
    layers = [root[name] for name in root.attrs.get("layer_names", ())]
    return [np.asarray(layer[name]) for layer in layers for name in layer.attrs["weight_names"]]


def _encode_tensor(tensor: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(tensor, dtype="<f4").tobytes()
