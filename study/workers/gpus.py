"""List the GPUs that CUDA shows to this process, without loading CUDA."""

import os
import re
from pathlib import Path

INSTALLED = Path("/proc/driver/nvidia/gpus")  # has an entry for each GPU
# Either exists where there is a driver: on Linux, and on Windows' subsystem for Linux. Sandboxes
# and that subsystem have no `INSTALLED`.
DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/dxg"))


def list_gpus() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them.

    They are numbers, or UUIDs of GPUs or of their MIG instances.
    """
    installed = _count_installed()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if installed == 0:
        return []
    if visible is None:
        return [str(number) for number in range(installed or 0)]
    return _parse_visible_devices(visible, installed)


def _count_installed() -> int | None:
    """Return the number of GPUs of this machine, or None if it is unknown."""
    try:
        return len(list(INSTALLED.iterdir()))
    except OSError:
        return None if any(path.exists() for path in DRIVERS) else 0


def _parse_visible_devices(text: str, installed: int | None) -> list[str]:
    """Return the GPUs of CUDA_VISIBLE_DEVICES as CUDA reads it.

    An entry that names no GPU, such as `-1`, `none` or a number that is too high, hides itself and
    all that follow. A GPU that is named twice hides all. The sources are NVIDIA's CUDA programming
    guide, and for the details `torch.cuda`.
    """
    names: list[str] = []
    for entry in text.split(","):
        name = _parse_device(entry.strip(), installed)
        if name is None:
            break
        if name in names:
            return []
        names.append(name)
    return names


def _parse_device(entry: str, installed: int | None) -> str | None:
    """Return an entry's number or UUID, or None if it names no GPU."""
    if re.match(r"(GPU|MIG)-.", entry):
        return entry
    match = re.match(r"\+?(\d+)", entry)  # CUDA ignores what follows a number
    if match is None or (installed is not None and int(match[1]) >= installed):
        return None
    return str(int(match[1]))
