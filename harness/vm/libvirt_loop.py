# SPDX-License-Identifier: Apache-2.0
"""libvirt's event loop, in a thread of its own, and its calls with errors of ours."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

import libvirt

from harness.errors import InfraError

_T = TypeVar("_T")
_ANSWER_S = 30.0
_loop: threading.Thread | None = None
_turn: contextlib.AbstractContextManager[object] = contextlib.nullcontext()


def run_event_loop() -> None:
    """Start libvirt's event loop; it must run before the first connection is opened."""
    global _loop
    if _loop is not None:
        return
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    libvirt.virEventRegisterDefaultImpl()

    def loop() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    _loop = threading.Thread(target=loop, name="libvirt-events", daemon=True)
    _loop.start()


def take_turns() -> None:
    """From now on one thread at a time waits for a daemon.

    Of several that wait when a connection is given up, libvirt (9.0) wakes the first and has the
    second wait for ever on a socket that is closed; seen with a daemon that was stopped.
    """
    global _turn
    if isinstance(_turn, contextlib.nullcontext):
        _turn = threading.RLock()


def turn() -> contextlib.AbstractContextManager[object]:
    """Held by whoever calls libvirt and may have to wait; never by the event loop's thread."""
    return _turn


def call(what: str, function: Callable[[], _T], hint: str | None = None) -> _T:
    """What ``function`` returns; InfraError with libvirt's own words when it fails."""
    try:
        with turn():
            return function()
    except libvirt.libvirtError as error:
        raise InfraError(f"{what}: {error.get_error_message()}", hint=hint) from error


def in_loop(function: Callable[[], object]) -> None:
    """Have ``function`` called in the thread of the event loop, soon."""

    def run(timer: int, _opaque: object) -> None:
        libvirt.virEventRemoveTimeout(timer)
        function()

    libvirt.virEventAddTimeout(0, run, None)


def wait_in_loop(function: Callable[[], _T]) -> _T:
    """What ``function`` returns in the thread of the event loop; its errors are raised here.

    InfraError when the loop is stuck.
    """
    done = threading.Event()
    results: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)
        done.set()

    in_loop(run)
    if not done.wait(_ANSWER_S):
        raise InfraError(f"libvirt's event loop has not answered for {_ANSWER_S:.0f} s")
    if errors:
        raise errors[0]
    return results[0]


class Watched:
    """A file descriptor in the event loop: ``ready`` is called when it can be used."""

    def __init__(self, descriptor: int, ready: Callable[[], None]) -> None:
        self._watch: int | None = libvirt.virEventAddHandle(
            descriptor, 0, lambda _watch, _descriptor, _events, _opaque: ready(), None
        )

    def want(self, *, read: bool, write: bool) -> None:
        """Call when it can be read, or written. A hang-up counts as something to be read."""
        events = libvirt.VIR_EVENT_HANDLE_READABLE if read else 0
        events |= libvirt.VIR_EVENT_HANDLE_WRITABLE if write else 0
        if self._watch is not None:
            libvirt.virEventUpdateHandle(self._watch, events)

    def close(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            with contextlib.suppress(libvirt.libvirtError):
                libvirt.virEventRemoveHandle(watch)
