# SPDX-License-Identifier: Apache-2.0
"""A terminal joined to the serial console of a guest."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.errors import HarnessError, InfraError, UsageError

ESCAPE = b"\x1d"
"""Ctrl-], as of ``virsh console`` and telnet."""
_CHUNK_BYTES = 1 << 14
Resize = Callable[[int, int], None]


def run_shell(path: Path, resize: Resize, said: str) -> None:
    """Join the terminal to the console socket ``path`` until Ctrl-] or the guest's end.

    ``said`` is how to log in, ``resize`` is told rows and columns of the terminal. UsageError
    without a terminal, or while somebody else is at that console.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("a shell needs a terminal", hint="harness pair run ROLE -- COMMAND...")
    with _alone(path), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as console:
        try:
            console.connect(str(path))
        except OSError as error:
            raise InfraError(f"no console at {path}: {error.strerror}") from error
        with _raw(sys.stdin.fileno()), _sized(resize):
            sys.stdout.write(f"Ctrl-] leaves; press Enter. {said}\r\n")
            sys.stdout.flush()
            relay(sys.stdin.fileno(), sys.stdout.fileno(), console)
    sys.stdout.write("\r\n")


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """QEMU talks to one at a time and lets others wait without a word."""
    with open(path.with_suffix(".lock"), "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError("somebody else is at this console") from error
        yield


@contextlib.contextmanager
def _raw(terminal: int) -> Iterator[None]:
    before = termios.tcgetattr(terminal)
    # Now: what has been typed by then is meant for the guest.
    tty.setraw(terminal, termios.TCSANOW)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _sized(resize: Resize) -> Iterator[None]:
    """Let the guest know the size of the terminal, now and when it changes.

    A serial line has no way to tell it. Without the size everything works but for what draws.
    """

    changed, over = threading.Event(), threading.Event()

    def tell() -> None:
        while changed.wait() and not over.is_set():
            changed.clear()
            size = os.get_terminal_size(sys.stdout.fileno())
            with contextlib.suppress(HarnessError):
                resize(size.lines, size.columns)

    # Beside the keyboard, which must not wait for it.
    threading.Thread(target=tell, name="window size", daemon=True).start()
    changed.set()
    before = signal.signal(signal.SIGWINCH, lambda *_: changed.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
        over.set()
        changed.set()


def relay(keyboard: int, screen: int, console: socket.socket) -> None:
    """Pass bytes both ways until Ctrl-] is typed, or either side ends."""
    while True:
        ready, _, _ = select.select([keyboard, console.fileno()], [], [])
        if console.fileno() in ready:
            said = console.recv(_CHUNK_BYTES)
            if not said:
                return
            _write(screen, said)
        if keyboard in ready:
            typed = os.read(keyboard, _CHUNK_BYTES)
            before, escape, _ = typed.partition(ESCAPE)
            console.sendall(before)
            if escape or not typed:
                return


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
