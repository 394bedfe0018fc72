"""A Hugging Face hub for uploads, on this machine: it takes repositories and commits, and keeps what was sent."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from huggingface_hub import ModelCard


@dataclass
class FakeHub:
    """token: the one it lets write. created: what was asked of repositories. files: content by repository and path."""

    token: str
    address: str = ""
    created: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)


@contextmanager
def fake_hub(token: str) -> Iterator[FakeHub]:
    """Serve a hub on the loopback interface."""
    hub = FakeHub(token)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *words: Any) -> None:
            return

        def _answer(self, content: dict[str, Any], status: int = 200) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            hub.requests.append(self.path)
            if self.headers.get("authorization") != f"Bearer {hub.token}":
                self._answer({"error": "Invalid username or password."}, 401)
            elif self.path == "/api/repos/create":
                hub.created.append(json.loads(body))
                name = f"{hub.created[-1]['organization']}/{hub.created[-1]['name']}"
                prefix = "datasets/" if hub.created[-1].get("type") == "dataset" else ""
                self._answer({"url": f"{hub.address}/{prefix}{name}", "name": name, "id": "1"})
            elif self.path == "/api/validate-yaml":
                data = ModelCard(json.loads(body)["content"]).data.to_dict()
                wrong = [] if data.get("tags") else [{"message": "no tags"}]
                self._answer({"errors": wrong, "warnings": []}, 400 if wrong else 200)
            elif "/preupload/" in self.path:
                files = json.loads(body)["files"]
                modes = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]
                self._answer({"files": modes})
            elif "/commit/" in self.path:
                repository = "/".join(self.path.split("/")[3:5])
                kept = hub.files.setdefault(repository, {})
                for line in body.splitlines():
                    row = json.loads(line)
                    if row["key"] == "file":
                        kept[row["value"]["path"]] = base64.b64decode(row["value"]["content"])
                self._answer(
                    {"success": True, "commitOid": "0" * 40, "commitUrl": f"{hub.address}/{repository}/commit/0"}
                )
            else:
                self._answer({"error": "not here"}, 404)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
