"""Tell from a weights file's tensors whether they are the published ImageNet weights.

Knows no Keras: it reads both of Keras' HDF5 layouts itself, so that a command without Keras can
work out a fingerprint. `published_weights.json` lists, for each backbone whose published file could
be had, a SHA-256 over all its tensors and one for each, in the order of Keras' `get_weights()`.
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

TABLE = Path(__file__).with_name("published_weights.json")


@dataclass(frozen=True)
class Published:
    """The published weights of one backbone, without its top."""

    digest: str  # SHA-256 over all tensors
    tensors: dict[str, str]  # name in a `.weights.h5` file to SHA-256


@dataclass(frozen=True)
class Comparison:
    """How a file's tensors compare with the published ones."""

    equal: int
    total: int

    def __str__(self) -> str:
        return f"{self.equal}/{self.total}"


def published(backbone: str, alpha: float) -> Published | None:
    """Return what is known of a backbone's published weights; None if they are not in the table."""
    return _table().get(f"{backbone}-{alpha}" if backbone == "mobilenet" else backbone)


def compare_with_published(path: Path, backbone: str, alpha: float) -> Comparison | None:
    """Count the tensors of a file that equal the published ones, bit for bit as float32.

    None if the backbone is not in the table, or the file is none of its weights.
    """
    known = published(backbone, alpha)
    if known is None:
        return None
    stat = path.stat()
    digests = _tensor_digests(path, tuple(known.tensors), stat.st_mtime_ns, stat.st_size)
    if len(digests) != len(known.tensors):
        return None
    equal = sum(a == b for a, b in zip(digests, known.tensors.values(), strict=True))
    return Comparison(equal, len(digests))


def digest_weights(tensors: Iterable[NDArray[Any]]) -> str:
    """Return a SHA-256 (64 hex digits) over tensors as little-endian float32 in C order."""
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(_as_bytes(tensor))
    return total.hexdigest()


@functools.cache
def _table() -> dict[str, Published]:
    content = json.loads(TABLE.read_text(encoding="utf-8"))
    return {name: Published(**fields) for name, fields in content.items()}


@functools.lru_cache(maxsize=16)
def _tensor_digests(path: Path, names: tuple[str, ...], *_stamp: int) -> tuple[str, ...]:
    """Return a SHA-256 for each tensor in `names`' order; empty if the file lacks any."""
    try:
        with h5py.File(path, "r") as file:
            tensors = _legacy_tensors(file) or [np.asarray(file[name]) for name in names]
            return tuple(digest_weights([tensor]) for tensor in tensors)
    except (OSError, KeyError, TypeError, ValueError):
        return ()  # no HDF5 file, or another model's; Keras says so when it loads it


def _legacy_tensors(file: h5py.File) -> list[NDArray[Any]]:
    """Return the tensors of a file in Keras 2's layout; none if it is in Keras 3's."""
    root = file if "layer_names" in file.attrs else file.get("model_weights", {})
    layers = [root[name] for name in root.attrs["layer_names"]] if hasattr(root, "attrs") else []
    return [np.asarray(layer[name]) for layer in layers for name in layer.attrs["weight_names"]]


def _as_bytes(tensor: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(tensor, dtype="<f4").tobytes()
