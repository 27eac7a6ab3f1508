# SPDX-License-Identifier: Apache-2.0
"""Where a keeper takes requests: a unix socket, a thread for each client."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.errors import HarnessError, InfraError, UsageError
from harness.run.devpair.wire import LOG_NAME, MOST_BYTES, Json, decode, encode, failure, lines

Say = Callable[[str], None]
Answer = Callable[[Json, Say], object]
"""Of a request; what it raises is the client's answer. It may say something meanwhile."""
_REQUEST_S = 10.0
_SEND_S = 30.0
_MOST_CLIENTS = 32
_CHUNK_BYTES = 1 << 16


class Desk:
    """Listens until it is closed. A client that says nothing, or goes away, harms nobody."""

    def __init__(self, path: Path, answer: Answer, request_s: float = _REQUEST_S) -> None:
        """InfraError when ``path`` cannot be listened at."""
        self._answer = answer
        self._log = path.with_name(LOG_NAME)
        self._request_s = request_s
        self._slots = threading.BoundedSemaphore(_MOST_CLIENTS)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # From its first moment on it is for its owner only.
            before = os.umask(0o177)
            try:
                self._socket.bind(str(path))
            finally:
                os.umask(before)
            self._socket.listen(_MOST_CLIENTS)
        except OSError as error:
            self._socket.close()
            raise InfraError(f"cannot listen at {path}: {error.strerror or error}") from error
        self._thread = threading.Thread(target=self._listen, name="desk", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more requests; those under way are not waited for."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _listen(self) -> None:
        while True:
            self._slots.acquire()
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                self._talk(client)
            except OSError:
                pass  # It has gone, or does not read: what it asked for was done all the same.
            finally:
                self._slots.release()

    def _talk(self, client: socket.socket) -> None:
        client.settimeout(self._request_s)
        try:
            request = decode(next(lines(_parts(client), MOST_BYTES)))
            if not isinstance(request.get("verb"), str):
                raise ValueError("no verb")
        except StopIteration:
            return
        except TimeoutError:
            said = UsageError(f"no request within {self._request_s:.0f} s")
            client.sendall(encode(failure(said)))
            return
        except ValueError as error:
            client.sendall(encode(failure(UsageError(f"not a request: {error}"))))
            return
        client.settimeout(_SEND_S)
        client.sendall(encode(self._result(request, client)))

    def _result(self, request: Json, client: socket.socket) -> Json:
        def say(text: str) -> None:
            with contextlib.suppress(OSError):
                client.sendall(encode({"note": text}))

        try:
            return {"result": self._answer(request, say)}
        except HarnessError as error:
            return failure(error)
        except Exception as error:
            # A mistake of ours must not look like a keeper that died. Its log has the rest.
            traceback.print_exc()
            return failure(
                InfraError(
                    f"internal error of the keeper: {error!r}",
                    hint=f"{self._log} says where",
                )
            )


def _parts(client: socket.socket) -> Iterator[bytes]:
    while part := client.recv(_CHUNK_BYTES):
        yield part
