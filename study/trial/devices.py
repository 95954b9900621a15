"""Remember on which devices the epochs of a trial were trained, in its state folder.

A trial that is resumed elsewhere has epochs of several devices. Its learning time and its last
digits depend on all of them.
"""

import json
from collections.abc import Mapping
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from study.common.files import atomic_write

DEVICES_FILE = "devices.json"
Tags = Mapping[str, str]  # of one process that trained epochs: device, machine, versions


def read_devices(folder: Path) -> list[Tags]:
    """Return the tags of each process that trained an epoch, in order; none if unknown."""
    try:
        return [dict(tags) for tags in json.loads((folder / DEVICES_FILE).read_bytes())]
    except (OSError, ValueError, TypeError):  # none yet, or not one of ours
        return []


def save_devices(folder: Path, devices: Sequence[Tags]) -> None:
    """Replace what `read_devices` returns."""
    atomic_write(folder / DEVICES_FILE, json.dumps([dict(tags) for tags in devices]).encode())


def join_tags(devices: Sequence[Tags]) -> dict[str, str]:
    """Join the values of each tag in order, as `NVIDIA H100, then Intel Xeon`.

    A value that stays is there once. `none` stands for a tag that only others have.
    """
    names = dict.fromkeys(name for tags in devices for name in tags)
    return {
        name: ", then ".join(
            value for value, _ in groupby(each.get(name, "none") for each in devices)
        )
        for name in names
    }
