"""The whole download by the real kagglehub, from a stand-in for Kaggle on this machine."""

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from study.common.errors import DataError
from study.data.prepare import prepare
from tests.support.images import chest


class Kaggle(BaseHTTPRequestHandler):
    """Answers the two calls that a download of a public data set makes."""

    archive = b""
    asked: tuple[str, ...] = ()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        call = self.path.rsplit("/", 1)[-1]
        type(self).asked += (call,)
        if call == "GetDataset":
            self.answer("application/json", json.dumps({"currentVersionNumber": 2}).encode())
        else:
            self.answer("application/zip", self.archive)

    def answer(self, kind: str, content: bytes) -> None:
        self.send_response(200 if content else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Kaggle]]:
    """The stand-in, running; kagglehub reaches it as a proxy."""
    monkeypatch.setattr(Kaggle, "asked", ())
    server = ThreadingHTTPServer(("127.0.0.1", 0), Kaggle)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    for name in ("NO_PROXY", "no_proxy", "KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    yield Kaggle
    server.shutdown()
    server.server_close()


def zipped(root: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for file in sorted(root.rglob("*.jpeg")):
            archive.write(file, file.relative_to(root))
    return stream.getvalue()


def test_chest_is_downloaded_once_and_found_again(
    tmp_path: Path, kaggle: type[Kaggle], monkeypatch: pytest.MonkeyPatch
) -> None:
    chest(tmp_path / "made" / "chest_xray")
    monkeypatch.setattr(kaggle, "archive", zipped(tmp_path / "made"))
    data = prepare("chest", 8)
    assert len(data.images) == 60
    assert kaggle.asked == ("GetDataset", "DownloadDataset")
    assert prepare("chest", 8).digest == data.digest
    assert len(kaggle.asked) == 2


@pytest.mark.parametrize(
    ("archive", "words"),
    [(b"", r"download \(.*404"), (b"PK not a zip file", r"download \(.*")],
)
def test_failed_download_is_an_error_and_leaves_no_half_set(
    kaggle: type[Kaggle], monkeypatch: pytest.MonkeyPatch, archive: bytes, words: str
) -> None:
    monkeypatch.setattr(kaggle, "archive", archive)
    for _ in range(2):
        with pytest.raises(DataError, match=words):
            prepare("chest", 8)
