"""What other processes run in tests; apart from the tests, so that they start fast."""

import contextlib
import hashlib
from multiprocessing import get_context
from pathlib import Path
from queue import Empty
from typing import Any

from study.data.prepare import compute_data_digest
from study.data.prepare import prepare
from tests.support.images import chest


def run_in_processes(target: Any, count: int, *args: object) -> list[Any]:
    """Runs `target(barrier, queue, *args)` in `count` new processes; what they put."""
    context = get_context("spawn")
    barrier, queue = context.Barrier(count), context.Queue()
    options: Any = {"target": target, "args": (barrier, queue, *args), "daemon": True}
    workers = [context.Process(**options) for _ in range(count)]
    for worker in workers:
        worker.start()
    answers: list[Any] = []
    while len(answers) < count:
        with contextlib.suppress(Empty):
            answers.append(queue.get(timeout=1))
        assert not any(worker.exitcode for worker in workers), "a process died"
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * count
    return answers


def prepare_folder(barrier: Any, queue: Any, root: str) -> None:
    """Puts (digest, sum of pixels, whether this process decoded)."""
    seen: list[str] = []
    barrier.wait()
    data = prepare(f"folder:{root}", 32, progress=lambda what, *_: seen.append(what))
    queue.put((data.digest, int(data.x.sum()), "decoding" in seen))


def demo_arrays(barrier: Any, queue: Any) -> None:
    """Puts (digest, hash of pixels and labels, shape of the pixels)."""
    barrier.wait()
    data = prepare("demo", 32)
    content = hashlib.sha256(data.x.tobytes() + data.y.tobytes()).hexdigest()
    queue.put((data.digest, content, data.x.shape))


def download(barrier: Any, queue: Any, hub: str) -> None:
    """Puts (digest, number of downloads by this process)."""
    import kagglehub

    asked = []

    def make_it(handle: str) -> str:
        asked.append(handle)
        folder = Path(hub) / "datasets" / handle
        chest(folder / "versions" / "2" / "chest_xray")
        (folder / "2.complete").touch()
        return str(folder / "versions" / "2")

    kagglehub.dataset_download = make_it
    barrier.wait()
    queue.put((compute_data_digest("chest"), len(asked)))
