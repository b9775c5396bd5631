"""A server on loopback that answers like Zenodo's API and behaves like a bad network."""

import hashlib
import io
import json
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ZenodoServer(ThreadingHTTPServer):
    """Serves records (number -> {file name: bytes}) and pages (path -> bytes), with faults (file
    name -> list).

    A fault is used up by one request: ("cut", n) ends the connection after n bytes, (429, s) and
    (503, s) answer so with Retry-After s, "corrupt" flips a byte. Names in `no_ranges` are always
    sent from their start.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.records, self.pages, self.faults, self.no_ranges = {}, {}, {}, set()
        self.stated = {}  # file name -> entries of the file list that differ from the truth
        self.log = []  # (time, file name or path, Range header, bytes sent)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def sent(self, name):
        """(Range header, bytes sent) of each request for a file."""
        return [(asked, count) for _, what, asked, count in self.log if what == name]

    def listing(self, record):
        return {
            "id": record,
            "files": [
                {
                    "key": name,
                    "size": len(content),
                    "checksum": f"md5:{hashlib.md5(content).hexdigest()}",
                    "links": {
                        "self": f"https://zenodo.org/api/records/{record}/files/{name}/content"
                    },
                }
                | self.stated.get(name, {})
                for name, content in self.records[record].items()
            ],
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server, parts = self.server, self.path.strip("/").split("/")
        if (
            parts[:2] == ["api", "records"]
            and parts[2].isdigit()
            and int(parts[2]) in server.records
        ):
            record = int(parts[2])
            if len(parts) == 3:
                return self.answer(self.path, json.dumps(server.listing(record)).encode())
            return self.answer(parts[4], server.records[record][parts[4]])
        if self.path in server.pages:
            return self.answer(self.path, server.pages[self.path])
        self.send_error(404)

    def answer(self, name, content):
        server, asked = self.server, self.headers.get("Range")
        fault = server.faults[name].pop(0) if server.faults.get(name) else None
        at = len(server.log)
        server.log.append(None)
        if isinstance(fault, tuple) and fault[0] != "cut":
            server.log[at] = (time.monotonic(), name, asked, 0)
            self.send_response(fault[0])
            self.send_header("Retry-After", str(fault[1]))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if fault == "corrupt":
            content = content[:-1] + bytes([content[-1] ^ 1])
        first = (
            int(asked.removeprefix("bytes=").rstrip("-"))
            if asked and name not in server.no_ranges
            else 0
        )
        body = content[first:]
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if isinstance(fault, tuple):
            body = body[: fault[1]]
            self.close_connection = True
        server.log[at] = (time.monotonic(), name, asked, len(body))
        self.wfile.write(body)


def zipped(files):
    """{path: bytes or text} -> the bytes of a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
