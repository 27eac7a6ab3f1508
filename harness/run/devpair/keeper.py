# SPDX-License-Identifier: Apache-2.0
"""The process that owns a pair: brings it up, serves requests, ends it.

With libvirt's embedded driver a root can be opened by one process only, so this one does all that
is done to the guests. Whatever ends it, also its own death, leaves nothing that ``harness clean``
does not find by its live folder.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType

from harness.config import StateDir, state_dir
from harness.errors import HarnessError, UsageError
from harness.run.devpair.desk import Desk
from harness.run.devpair.kit import Kit, build_kit
from harness.run.devpair.options import PairOptions
from harness.run.devpair.pair import DevPair
from harness.run.devpair.wire import Json, socket_path
from harness.run.laboratory import Laboratory, laboratory
from harness.run.options import Guests
from harness.vm.live import LiveDir, claim_name, live_dir

Say = Callable[[str], None]
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SPARE_BYTES = 64 << 20
"""Of a guest's disk behind the device: what a target keeps there for itself."""
# Where nobody can call dmesg: what a module says of its own accord is on the console.
_ARGUMENTS = ("loglevel=7",)
_MOST_COMMAND_S = 24 * 3600.0


class Keeper:
    """One pair from its beginning to its end. For a process of its own."""

    def __init__(self, options: PairOptions, say: Say) -> None:
        """``say`` is told what takes long, and later what happened."""
        self._options = options
        self._say = say
        self._pair: DevPair | None = None
        self._phase = "it is being prepared"
        self._ending = False

    def keep(self, on_live: Callable[[LiveDir], None], on_ready: Callable[[Json], None]) -> None:
        """Bring the pair up and keep it until a request or a signal ends it.

        ``on_live`` is called once the live folder is there, ``on_ready`` with the pair's status
        when it is connected. KeyboardInterrupt when it was ended before.
        """
        options = self._options
        for number in _ENDS:
            signal.signal(number, self._interrupt)
        state = state_dir(options.run.state_dir)
        with live_dir(state) as live:
            self._claim(state, live)
            on_live(live)
            desk = Desk(socket_path(live), self._answer)
            try:
                with laboratory(options.run, self._note, live) as lab:
                    pair = self._bring_up(lab)
                    try:
                        on_ready(pair.status())
                        self._stay(pair)
                    finally:
                        self._pair = None
                        pair.close()
            finally:
                desk.close()

    def _claim(self, state: StateDir, live: LiveDir) -> None:
        name = self._options.name
        try:
            claim_name(state, live, f"pair {name}")
        except UsageError as error:
            raise UsageError(
                f"pair {name!r} is up already",
                hint="`harness pair status` shows it, `harness pair down` ends it,"
                " --name NAME makes another one",
            ) from error

    def _bring_up(self, lab: Laboratory) -> DevPair:
        options = self._options
        image = lab.image
        if options.run.guests is Guests.MICRO:
            image = replace(image, arguments=(*image.arguments, *_ARGUMENTS))

        def build(number: int) -> Kit:
            return build_kit(options.run, image, lab.state, lab.live.path / f"module-{number}")

        if options.run.kmod is not None:
            self._note(f"building the module in {options.run.kmod}")
        else:
            self._note("building the module, unless it is built")
        kit = build(1)
        builder = replace(
            lab.pairs(options.run),
            image=image,
            side_channels=True,
            disk_bytes=options.device_bytes + _SPARE_BYTES,
        )
        pair = DevPair(builder, options, build, kit)
        try:
            self._note("booting both guests")
            pair.boot()
            self._note(f"setting up target {kit.stack.name}")
            pair.set_up()
        except BaseException:
            pair.close()
            raise
        self._pair = pair
        return pair

    def _stay(self, pair: DevPair) -> None:
        stop = threading.Event()
        watch = threading.Thread(target=pair.watch, args=(stop, self._say), daemon=True)
        watch.start()
        try:
            # Until a signal: that of a terminal, of the system, or that of a request.
            threading.Event().wait()
        except KeyboardInterrupt:
            self._say("ending")
        finally:
            stop.set()

    def end(self) -> None:
        """Interrupt whatever the process is doing, and end; from any thread."""
        if os.getsid(0) == os.getpid():
            # What it has started, such as a compiler, is in its group; its guests are not.
            os.killpg(0, signal.SIGTERM)
        else:
            os.kill(os.getpid(), signal.SIGTERM)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if not self._ending:
            # Once: what is being ended must not be left half done.
            self._ending = True
            raise KeyboardInterrupt

    def _note(self, text: str) -> None:
        self._phase = text
        self._say(text)

    def _answer(self, request: Json, say: Say) -> object:
        verb = request["verb"]
        if verb == "pid":
            return os.getpid()
        if verb == "down":
            self._say("asked to end")
            self.end()
            return "ending"
        pair = self._pair
        if pair is None:
            raise UsageError(f"the pair is not up yet, or not any more: {self._phase}")
        if verb not in _VERBS:
            raise UsageError(f"no request {verb!r}", hint=f"known: {', '.join(sorted(_VERBS))}")
        if verb != "status":
            told = {key: value for key, value in request.items() if key != "verb"}
            self._say(f"asked for {verb} {told or ''}".rstrip())
        try:
            return _VERBS[verb](pair, request, say)
        except HarnessError as error:
            self._say(f"{verb}: {error}")
            raise


def _text(request: Json, key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str) or not value:
        raise UsageError(f"request {request['verb']} has no {key}")
    return value


def _run(pair: DevPair, request: Json, say: Say) -> object:
    del say
    words, timeout_s = request.get("words"), request.get("timeout_s")
    if not (
        isinstance(words, list) and words
        and all(isinstance(word, str) and "\0" not in word for word in words)
    ):  # fmt: skip
        raise UsageError("request run has no words")
    if not isinstance(timeout_s, (int, float)) or not 0 < timeout_s <= _MOST_COMMAND_S:
        raise UsageError("request run has no time limit")
    return pair.run(_text(request, "role"), words, timeout_s)


_Verb = Callable[[DevPair, Json, Say], object]
_VERBS: Mapping[str, _Verb] = {
    "status": lambda pair, request, say: pair.status(),
    "cut": lambda pair, request, say: pair.cut(),
    "heal": lambda pair, request, say: pair.heal(),
    "kill": lambda pair, request, say: pair.kill(_text(request, "role")),
    "start": lambda pair, request, say: pair.start(_text(request, "role"), say),
    "promote": lambda pair, request, say: pair.promote(_text(request, "role"), say),
    "reload": lambda pair, request, say: pair.reload(say),
    "run": _run,
}


def stale_folder(state: StateDir, name: str) -> Path | None:
    """The folder of a keeper of ``name`` that was killed, if it is still there."""
    for path in sorted(state.live.glob("*/name")):
        try:
            if path.read_text(encoding="utf-8") == f"pair {name}":
                return path.parent
        except OSError:
            continue
    return None
