"""A folder of static files, for a look on this machine."""

import errno
import logging
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
HOST, PORT = "127.0.0.1", 8000


class Handler(SimpleHTTPRequestHandler):
    """Files with the types that browsers insist on, whatever the system believes; not a word."""

    extensions_map = {  # noqa: RUF012  (as the standard library has it)
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".json": "application/json",
        ".onnx": "application/octet-stream",
        ".wasm": "application/wasm",
        ".webmanifest": "application/manifest+json",
    }

    def log_message(self, format: str, *args: Any) -> None:
        """A request is no news."""


def server_of(folder: Path, port: int = PORT) -> ThreadingHTTPServer:
    """A server on the loopback, at a free port where this one is taken."""
    handler = partial(Handler, directory=str(folder))
    try:
        return ThreadingHTTPServer((HOST, port), handler)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return ThreadingHTTPServer((HOST, 0), handler)


def serve(folder: Path) -> None:
    """Serve until Ctrl-C."""
    with server_of(folder) as server, suppress(KeyboardInterrupt):
        log.info("http://%s:%d shows it; Ctrl-C ends", HOST, server.server_port)
        server.serve_forever()
