"""A hub as far as blobs go: the API's four requests over HTTP, with faults on demand."""

import hashlib
import json
import socket
import socketserver
import threading
from http.server import BaseHTTPRequestHandler

from greenroom_core.values import pack, unpack


class BlobServer:
    """Serves blobs on a loopback port, or on a unix socket; counts what is asked."""

    def __init__(self, token="secret", unix=None):
        self.token, self.blobs, self.requests = token, {}, []
        self.manifests = {}
        self.faults = []
        """What goes wrong with the next requests: a status, `cut` (the body breaks off), `drop` (no answer)."""
        handler = type("Handler", (_Handler,), {"hub": self})
        if unix is None:
            self._server = _Tcp(("127.0.0.1", 0), handler)
            self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        else:
            self._server = _Unix(str(unix), handler)
            self.url = f"unix:{unix}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def store(self, data):
        sha256 = hashlib.sha256(data).hexdigest()
        self.blobs[sha256] = data
        return sha256

    def methods(self):
        return [request.split(" ")[0] for request in self.requests]

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, block_on_close = True, True, False
    request_queue_size = 64


class _Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads, block_on_close = True, False


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = False
    hub: BlobServer

    def log_message(self, *_):
        pass

    def address_string(self):
        return "here"

    def do_GET(self):
        self.answer()

    def do_HEAD(self):
        self.answer()

    def do_PUT(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def answer(self):
        self.hub.requests.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.hub.faults.pop(0) if self.hub.faults else None
        if fault == "drop":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif isinstance(fault, int):
            self.say(fault, json.dumps({"code": "x", "message": "not now"}).encode())
        elif self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self.say(401, json.dumps({"code": "unauthorized", "message": "unknown token"}).encode())
        elif self.path == "/api/blobs/missing":
            self.say(200, pack([name for name in unpack(body) if name not in self.hub.blobs]))
        elif self.path.startswith("/api/executions/"):
            self.say(200, self.manifest())
        else:
            self.blob(self.path.rpartition("/")[2], body, fault)

    def manifest(self):
        path, _, query = self.path.partition("?")
        start, count = (int(part.partition("=")[2]) for part in query.split("&"))
        values = self.hub.manifests[path.removeprefix("/api/executions/")][start : start + count]
        chunks = []
        for first in range(0, len(values), 3):
            part, end, ends = values[first : first + 3], 0, b""
            for value in part:
                end += len(value)
                ends += end.to_bytes(4, "little")
            chunks.append([start + first, ends, b"".join(part)])
        return pack(chunks)

    def blob(self, name, body, fault):
        if self.command == "PUT":
            if hashlib.sha256(body).hexdigest() != name:
                self.say(400, json.dumps({"code": "damaged", "message": "other bytes"}).encode())
                return
            self.hub.blobs[name] = body
            self.say(201, b"")
        elif name not in self.hub.blobs:
            self.say(404, json.dumps({"code": "unknown_blob", "message": "no such blob"}).encode())
        else:
            self.part(self.hub.blobs[name], fault)

    def part(self, data, fault):
        wanted = self.headers.get("Range")
        status = 200
        if wanted:
            start, _, end = wanted.removeprefix("bytes=").partition("-")
            if int(start) >= len(data):
                self.say(416, b"")
                return
            data, status = data[int(start) : int(end) + 1 if end else len(data)], 206
        if fault == "cut":
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            return
        self.say(status, data)

    def say(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
