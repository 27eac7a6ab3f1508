# SPDX-License-Identifier: Apache-2.0
"""Start a keeper that outlives the command, and hold it on a leash until its pair is up.

The leash is a pair of sockets: over it the keeper is told its options and tells how far it is. If
whoever holds it goes away before the pair is up, the keeper ends as well.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

from harness import proc
from harness.errors import EXIT_INTERRUPTED, EXIT_PASS, HarnessError, InfraError
from harness.run.devpair.keeper import Keeper
from harness.run.devpair.options import PairOptions
from harness.run.devpair.wire import Json, decode, encode, failure, lines, log_path, raise_failure
from harness.vm.live import LiveDir

Say = Callable[[str], None]
_MOST_BYTES = 16 << 20
_END_S = 120.0
_HARNESS = (sys.executable, "-m", "harness")


def launch(options: PairOptions, say: Say) -> Json:
    """Start a keeper of ``options`` and return the pair's status once it is up.

    Its errors are raised here. On KeyboardInterrupt it has ended as well.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            words = [*_HARNESS, "pair", "keep", "--leash", str(theirs.fileno())]
            keeper = proc.start_detached(words, what="starting a keeper", keep=theirs.fileno())
        try:
            ours.sendall(options.dump().encode() + b"\n")
            for line in lines(_parts(ours), _MOST_BYTES):
                message = decode(line)
                if "note" in message:
                    say(str(message["note"]))
                elif "ready" in message:
                    return dict(message["ready"])
                else:
                    _await_end(keeper)
                    raise_failure(message)
        except KeyboardInterrupt:
            ours.close()
            say("ending the pair")
            _await_end(keeper)
            raise
        except (OSError, ValueError) as error:
            raise _lost(keeper, str(error)) from error
    raise _lost(keeper, "it ended")


def _await_end(keeper: proc.Detached) -> None:
    """It says why it ends before it has."""
    keeper.ended(_END_S)


def _lost(keeper: proc.Detached, why: str) -> InfraError:
    return InfraError(
        f"the keeper of the pair, process {keeper.pid}, was lost before the pair was up: {why}",
        hint="harness clean",
    )


def keep_on_leash(descriptor: int) -> int:
    """Be the keeper at the other end of ``launch``; the exit code of the process."""
    try:
        leash = _Leash(socket.socket(fileno=descriptor))
    except OSError as error:
        raise InfraError(f"a keeper is started by `harness pair up` only: {error}") from error
    try:
        keeper = Keeper(leash.options(), leash.say)
        leash.watch(keeper.end)
        keeper.keep(leash.write_log, leash.ready)
    except HarnessError as error:
        leash.tell(failure(error))
        return error.exit_code
    except KeyboardInterrupt:
        leash.tell(failure(InfraError("the pair was ended before it was up")))
        return EXIT_INTERRUPTED
    return EXIT_PASS


class _Leash:
    """The keeper's end."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._up = False
        self._logged = False
        self._lines: Iterator[bytes] = lines(_parts(connected), _MOST_BYTES)

    def options(self) -> PairOptions:
        """What ``launch`` was given. InfraError when it went away."""
        try:
            return PairOptions.load(next(self._lines).decode())
        except (OSError, ValueError, StopIteration) as error:
            raise InfraError(f"a keeper is started by `harness pair up` only: {error}") from error

    def watch(self, end: Callable[[], None]) -> None:
        """Call ``end`` if the holder goes away before the pair is up."""

        def wait() -> None:
            with contextlib.suppress(OSError, ValueError):
                for _ in self._lines:
                    pass
            if not self._up:
                end()

        threading.Thread(target=wait, name="leash", daemon=True).start()

    def write_log(self, live: LiveDir) -> None:
        """From now on all output of the process goes to the log in ``live``."""
        sys.stdout.flush()
        sys.stderr.flush()
        with open(log_path(live), "ab") as log:
            os.dup2(log.fileno(), sys.stdout.fileno())
            os.dup2(log.fileno(), sys.stderr.fileno())
        self._logged = True

    def say(self, text: str) -> None:
        """Write ``text`` to the log, and tell the holder if there is one."""
        if self._logged:
            stamp = time.strftime("%H:%M:%S", time.gmtime())
            sys.stdout.write(f"{stamp} {text}\n")
            sys.stdout.flush()
        self.tell({"note": text})

    def ready(self, status: Json) -> None:
        """The pair is up: the holder may go."""
        self._up = True
        self.tell({"ready": status})
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def tell(self, message: Json) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendall(encode(message))


def _parts(connected: socket.socket) -> Iterator[bytes]:
    while part := connected.recv(1 << 16):
        yield part
