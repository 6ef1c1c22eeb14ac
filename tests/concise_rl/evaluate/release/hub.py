"""A stand-in for the hub on this machine: repositories in memory, the calls that `HfApi.upload_folder` makes
(huggingface_hub 1.33, without Xet), and failures on demand."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Hub:
    """What the hub holds, and how it fails.

    Attributes:
        files: of each repository, by path: the content, or the hash of a large one.
        blobs: large files, by their hash.
        calls: method and path of every request.
        fail: path's part to the status that a request there gets.
        refuse_after: large files that are taken before the connection breaks; None for no break.
    """

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, dict[str, bytes | str]] = {}
        self.blobs: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.fail: dict[str, int] = {}
        self.refuse_after: int | None = None


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self, status: int, body: Any = None) -> None:
        data = json.dumps(body or {}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _serve(self) -> None:
        hub, path, body = self.hub, self.path.partition("?")[0], self._body()
        hub.calls.append(f"{self.command} {path}")
        failing = next((status for part, status in hub.fail.items() if part in path), None)
        if failing:
            self._answer(failing, {"error": "as asked"})
        elif path == "/api/repos/create":
            self._answer(200, {"url": f"{hub.url}/{_repo_of(json.loads(body))}"})
        elif "/preupload/" in path:
            wanted = json.loads(body)["files"]
            modes = {
                one["path"]: "lfs" if one["path"].endswith((".safetensors", ".png")) else "regular" for one in wanted
            }
            self._answer(
                200, {"files": [{"path": p, "uploadMode": mode, "shouldIgnore": False} for p, mode in modes.items()]}
            )
        elif path.endswith("/info/lfs/objects/batch"):
            self._answer(
                200, {"transfer": "basic", "objects": [self._object(one) for one in json.loads(body)["objects"]]}
            )
        elif path.startswith("/lfs/"):
            self._take(path.rpartition("/")[2], body)
        elif "/commit/" in path:
            self._commit(path, body)
        else:
            self._answer(200, {"id": "someone", "name": "someone", "type": "user", "sha": "0" * 40, "siblings": []})

    do_GET = do_POST = do_PUT = do_HEAD = _serve

    def _object(self, wanted: dict[str, Any]) -> dict[str, Any]:
        oid = wanted["oid"]
        upload = {} if oid in self.hub.blobs else {"actions": {"upload": {"href": f"{self.hub.url}/lfs/{oid}"}}}
        return {"oid": oid, "size": wanted["size"], **upload}

    def _take(self, oid: str, body: bytes) -> None:
        if self.hub.refuse_after is not None and len(self.hub.blobs) >= self.hub.refuse_after:
            self.close_connection = True
            self.connection.close()
            return
        self.hub.blobs[oid] = body
        self._answer(200)

    def _commit(self, path: str, body: bytes) -> None:
        kind, _, rest = path.removeprefix("/api/").partition("/")
        repo = f"{kind}/{rest.partition('/commit/')[0]}"
        stored = self.hub.files.setdefault(repo, {})
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                stored[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                stored[value["path"]] = value["oid"]
        self._answer(200, {"commitUrl": f"{self.hub.url}/{repo}/commit/{'1' * 40}", "commitOid": "1" * 40})


def _repo_of(wanted: dict[str, Any]) -> str:
    kind = {"dataset": "datasets/", "model": ""}[wanted.get("type") or "model"]
    return f"{kind}{wanted.get('organization', 'someone')}/{wanted['name']}"


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Run the stand-in on a free port."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub, "protocol_version": "HTTP/1.1"})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
