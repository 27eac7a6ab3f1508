# SPDX-License-Identifier: Apache-2.0
"""A small web server for the pages, with the policy under which they have to work in Jenkins."""

from __future__ import annotations

import logging
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from harness.errors import UsageError

POLICY = "sandbox allow-same-origin; default-src 'none'; img-src 'self'; style-src 'self'"
"""What Jenkins sends by default with files of a build (Resource Root URL apart)."""
_log = logging.getLogger(__name__)


class PageServer(ThreadingHTTPServer):
    """Serves one folder."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that went on before it had everything is no error of anybody."""
        _log.debug("request of %s ended early", client_address, exc_info=True)

    @property
    def url(self) -> str:
        """Address of the first page."""
        host, port = self.server_address[:2]
        shown = host.decode() if isinstance(host, bytes | bytearray) else str(host)
        return f"http://{shown}:{port}/index.html"


def listen(folder: Path, host: str, port: int) -> PageServer:
    """A server for the pages in ``folder``, bound and not yet serving.

    UsageError where there are no pages, or the address cannot be had.
    """
    if not (folder / "index.html").is_file():
        raise UsageError(f"there are no pages in {folder}", hint="make them: harness report build")
    try:
        return PageServer((host, port), partial(_Handler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"cannot listen on {host} port {port}: {error}",
            hint="name others with --host and --port; port 0 takes any free one",
        ) from error


class _Handler(SimpleHTTPRequestHandler):
    server_version = "harness"
    sys_version = ""
    protocol_version = "HTTP/1.1"

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def list_directory(self, path: object) -> BytesIO | None:
        """No page lists a folder."""
        self.send_error(HTTPStatus.NOT_FOUND, "there is no page here")
        return None

    def send_head(self) -> BytesIO | BinaryIO | None:
        """As usual, but nothing that is not a page, its style or a picture."""
        if any(part.startswith(".") for part in unquote(self.path).split("/")):
            self.send_error(HTTPStatus.NOT_FOUND, "there is no page here")
            return None
        return super().send_head()

    def log_message(self, format: str, *args: object) -> None:
        """Into the log, not onto the terminal."""
        _log.debug(format, *args)
