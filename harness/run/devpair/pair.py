# SPDX-License-Identifier: Apache-2.0
"""A pair that stays up: its guests come and go, its module is replaced, its link is cut."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from harness.deadline import Deadline
from harness.errors import AgentError, GuestLostError, HarnessError, InfraError, UsageError
from harness.guest.agent import Agent
from harness.guest.deliver import deliver
from harness.guest.protocol import ProtocolError
from harness.guest.replies import parse_status
from harness.run.devpair.kit import Kit
from harness.run.devpair.options import PairOptions
from harness.run.devpair.seat import Power, Seat
from harness.run.pair import PairBuilder

Say = Callable[[str], None]
Json = dict[str, Any]
_SET_UP_S = 240.0
_LOOK_S = 15.0
_LAST_REPORTS = 3
_BUSY_S = 2.0
"""How long a look at the pair waits for what is under way before it tells of that instead."""


class DevPair:
    """Both guests, the link, and the target on them. One change at a time, from any thread."""

    def __init__(
        self, builder: PairBuilder, options: PairOptions, build: Callable[[int], Kit], kit: Kit
    ) -> None:
        """``build`` makes the kit of a given number from the sources as they are."""
        self._builder = builder
        self._options = options
        self._build = build
        self.kit = kit
        self._builds = 1
        self._lock = threading.Lock()
        self._doing: tuple[str, float] | None = None
        self._last: Json | None = None
        self._cut = False
        self._is_set_up = False
        self.seats: tuple[Seat, ...] = ()
        self._set_up_unix_s = 0.0

    # The course of things.

    def boot(self) -> None:
        """Boot both guests. InfraError when one does not come up."""
        with self._alone("boot"):
            pair = self._builder.boot("1")
            self.seats = tuple(
                Seat(place, guest, self._builder) for place, guest in enumerate(pair.guests)
            )

    def set_up(self) -> None:
        """Make the target anew on both guests, which are on. InfraError when that fails."""
        with self._alone("set up the target"):
            self._set_up()

    def close(self) -> None:
        """End both guests."""
        for seat in self.seats:
            seat.close()

    @contextlib.contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        """UsageError while something else changes the pair."""
        if not self._lock.acquire(timeout=_BUSY_S):
            raise UsageError(f"the pair is busy: {self.doing() or 'somebody looks at it'}")
        self._doing = what, time.monotonic()
        try:
            yield
        except GuestLostError as error:
            raise self._with_console(error) from error
        finally:
            self._doing = None
            self._lock.release()

    def doing(self) -> str:
        """The change under way, for people."""
        if (doing := self._doing) is None:
            return ""
        return f"{doing[0]}, for {time.monotonic() - doing[1]:.0f} s"

    # Verbs.

    def cut(self) -> str:
        """Pull the cable of the link, at both ends."""
        return self._set_link(cut=True)

    def heal(self) -> str:
        """Put it back."""
        return self._set_link(cut=False)

    def _set_link(self, *, cut: bool) -> str:
        with self._alone("cut the link" if cut else "heal the link"):
            was, self._cut = self._cut, cut
            for seat in self._running():
                seat.guest.machine.set_link(not cut)
        state = "cut" if cut else "up"
        return f"the link is {state}{' already' if was == cut else ''}"

    def kill(self, role: str) -> str:
        """Take a guest's power away. UsageError if it has none."""
        seat = self._seat(role)
        with self._alone(f"kill {role}"):
            if seat.power is Power.OFF:
                raise UsageError(f"guest {role} is off", hint=f"harness pair start {role}")
            seat.kill()
        return f"guest {role} is off: its memory is lost, its disk as it was"

    def start(self, role: str, say: Say) -> str:
        """Boot a guest that is off again, and let its node join the other one.

        UsageError if it is on. InfraError when it does not boot or its node cannot join.
        """
        seat = self._seat(role)
        other = self.seats[1 - seat.place]
        with self._alone(f"start {role}"):
            seat.notice()
            if seat.power is Power.ON:
                raise UsageError(f"guest {role} is on")
            say(f"booting guest {role} on its own disk")
            seat.start()
            if self._cut:
                seat.guest.machine.set_link(False)
            other.notice()
            if other.power is not Power.ON:
                return (
                    f"guest {role} is on; guest {other.name} is not, and what the target had is"
                    f" lost: `harness pair start {other.name}` sets it up anew"
                )
            if not self._is_set_up or not self._status_of(other):
                say("setting the target up on both guests")
                self._set_up()
                return f"guest {role} is on, target {self.kit.stack.name} is set up anew"
            return self._rejoin(seat, other, say)

    def _rejoin(self, seat: Seat, other: Seat, say: Say) -> str:
        stack, deadline = self.kit.stack, self._deadline(f"node {seat.name} to join")
        if not stack.joins:
            return (
                f"guest {seat.name} is on; a node of target {stack.name} cannot be taken back:"
                " `harness pair reload` sets it up anew on both guests"
            )
        status = self._status_of(other)
        agent = seat.side(deadline)
        deliver(agent, self.kit.files or {}, deadline)
        if status.get("role") == "backup":
            if not stack.leads:
                return (
                    f"guest {seat.name} is on; {other.name} has the data and cannot be promoted:"
                    " `harness pair reload` sets the target up anew"
                )
            say(f"promoting {other.name}: it has the data, {seat.name} lost its memory")
            stack.promote(other.side(deadline), deadline)
        stack.join(seat.place, agent, self._options.device_bytes, deadline)
        if self._cut:
            return (
                f"guest {seat.name} is on and its node too; the link is cut, so nothing is in sync"
            )
        say(f"waiting until {seat.name} is in sync")
        stack.await_connected([other.side(deadline), agent], deadline)
        return f"guest {seat.name} is on, its node has joined {other.name}"

    def promote(self, role: str, say: Say) -> str:
        """Make a node the primary. The one there is, if it can be reached, is demoted first."""
        seat = self._seat(role)
        other = self.seats[1 - seat.place]
        with self._alone(f"promote {role}"):
            stack, deadline = self.kit.stack, self._deadline(f"{role} to be promoted")
            if self._status_of(seat).get("role") == "primary":
                raise UsageError(f"node {role} is the primary")
            other.notice()
            reached = other.power is Power.ON and not self._cut
            if reached and self._status_of(other).get("role") == "primary":
                say(f"demoting {other.name}")
                stack.demote(other.side(deadline), deadline)
            stack.promote(seat.side(deadline), deadline)
            if reached:
                stack.await_connected([seat.side(deadline), other.side(deadline)], deadline)
        return f"node {role} is the primary"

    def reload(self, say: Say) -> str:
        """Build the module, and only if that succeeds put it in the place of the one loaded.

        The target is a fresh one afterwards. ToolError with the compiler's words, the pair being as
        it was; InfraError when the old module does not go or the new one does not come.
        """
        with self._alone("reload"):
            for seat in self.seats:
                seat.require_on()
            old = self.kit
            new = self._new_kit(say)
            self._take_down(old, say)
            self.kit = new
            say("loading the new one, setting the target up")
            self._set_up()
        if not new.modules:
            return f"target {new.stack.name} is set up anew; it has no module to build"
        before = {module.name: module for module in old.modules}
        return "\n".join(_change(before.get(module.name), module) for module in new.modules)

    def _new_kit(self, say: Say) -> Kit:
        if self.kit.source is not None:
            say(f"building {self.kit.source}")
        self._builds += 1
        return self._build(self._builds)

    def _take_down(self, kit: Kit, say: Say) -> None:
        deadline = self._deadline("the old target to be removed")
        say(f"removing target {kit.stack.name}")
        # The primary's removal lets the backup apply what was issued.
        for seat in self.seats:
            try:
                kit.stack.take_down(seat.side(deadline), deadline)
            except AgentError as error:
                gone = " (that of primary has gone)" if seat.place else ""
                raise InfraError(
                    f"the old target does not go{gone}, so nothing was loaded: {error}",
                    hint="is it mounted or open? `harness pair run ROLE -- umount ...`",
                ) from error
            self._is_set_up = False
        for seat in self.seats:
            for module in reversed(kit.modules):
                self._unload(seat, module.name, deadline)

    def _unload(self, seat: Seat, name: str, deadline: Deadline) -> None:
        result = seat.side(deadline).run_script([("rmmod", name)], deadline).results[0]
        if not result.ok and "ENOENT" not in result.text:
            raise InfraError(
                f"module {name} cannot be unloaded in guest {seat.name}: {result.text}",
                hint=f"harness pair kill {seat.name}, harness pair start {seat.name}",
            )

    def _set_up(self) -> None:
        deadline = self._deadline(f"target {self.kit.stack.name} to be set up")
        agents = tuple(seat.side(deadline) for seat in self.seats)
        self._is_set_up = False
        for agent in agents:
            # What an attempt before this one may have left.
            self.kit.stack.take_down(agent, deadline)
            deliver(agent, self.kit.files or {}, deadline)
        primary, backup = agents
        self.kit.stack.set_up((primary, backup), self._options.device_bytes, deadline)
        for agent in agents:
            self._require_loaded(agent, deadline)
        self._is_set_up = True
        self._set_up_unix_s = time.time()

    # Looking.

    def status(self) -> Json:
        """Everything there is to know; while something changes the pair, as it was before."""
        if not self._lock.acquire(timeout=_BUSY_S):
            last = self._last or self._facts({})
            return {**last, "busy": self.doing() or "somebody looks at it", "connected": False}
        try:
            nodes = {seat.name: self._node(seat) for seat in self.seats}
            self._last = self._facts(nodes)
            return self._last
        finally:
            self._lock.release()

    def _facts(self, nodes: Mapping[str, Json]) -> Json:
        run, kit = self._options.run, self.kit
        connected = (
            self._is_set_up and not self._cut and len(nodes) == 2
            and all(node["connected"] for node in nodes.values())
        )  # fmt: skip
        return {
            "name": self._options.name,
            "connected": connected,
            "busy": "",
            "link": "cut" if self._cut else "up",
            "profile": run.profile,
            "kind": run.guests.value,
            "accelerator": "kvm" if self._builder.accelerator.value == "kvm" else "tcg",
            "target": kit.stack.name,
            "device": kit.stack.device,
            "bytes": self._options.device_bytes,
            "set_up_unix_s": self._set_up_unix_s if self._is_set_up else None,
            "source": None if kit.source is None else str(kit.source),
            "built": [
                {"name": m.name, "version": m.version, "srcversion": m.srcversion,
                 "sha256": m.digest} for m in kit.modules
            ],
            "guests": {
                seat.name: {**self._guest(seat), "node": nodes.get(seat.name)}
                for seat in self.seats
            },
        }  # fmt: skip

    def _guest(self, seat: Seat) -> Json:
        seat.notice()
        socket = seat.guest.spec.console_socket
        return {
            "power": seat.power.value,
            "since_unix_s": seat.since_unix_s,
            "boots": seat.boots,
            "kernel": seat.guest.kernel,
            "console": str(seat.guest.console),
            "console_socket": None if socket is None else str(socket),
            "running": seat.doing,
            "reports": seat.reports(),
            "tail": [] if seat.power is Power.ON else list(seat.guest.console_tail()),
        }

    def _node(self, seat: Seat) -> Json:
        """Status of a node and the modules loaded beside it, or why that cannot be told."""
        blank: Json = {"connected": False, "status": {}, "loaded": {}, "problem": ""}
        seat.notice()
        if seat.power is not Power.ON:
            return blank
        deadline = Deadline.after(_LOOK_S, f"the status of {seat.name}")
        stack = self.kit.stack
        try:
            agent = seat.side(deadline)
            status, problem = self._ask_status(seat, agent, deadline)
            loaded = self._loaded(agent, deadline)
        except (InfraError, ProtocolError, UsageError) as error:
            return {**blank, "problem": str(error)}
        connected = not problem and stack.connected(status)
        return {"connected": connected, "status": status, "loaded": loaded, "problem": problem}

    def _ask_status(
        self, seat: Seat, agent: Agent, deadline: Deadline
    ) -> tuple[dict[str, str], str]:
        lines = self.kit.stack.status_lines(seat.place)
        if not lines:
            return {}, ""
        result = agent.run_script(lines, deadline).results[-1]
        if not result.ok:
            return {}, f"no status: {result.text}"
        try:
            return parse_status(result.text.strip().splitlines()[-1]), ""
        except (ProtocolError, IndexError):
            return {}, f"not a status: {result.text.strip()[:200]!r}"

    def _status_of(self, seat: Seat) -> dict[str, str]:
        """Of the node there, or nothing."""
        deadline = Deadline.after(_LOOK_S, f"the status of {seat.name}")
        return self._ask_status(seat, seat.side(deadline), deadline)[0]

    def _loaded(self, agent: Agent, deadline: Deadline) -> Json:
        loaded: Json = {}
        for module in self.kit.modules:
            folder = f"/sys/module/{module.name}"
            keys = ("refcnt", "version", "srcversion")
            lines = [("try", "file-read", f"{folder}/{key}") for key in keys]
            results = agent.run_script(lines, deadline).results
            if results[0].ok:
                found = [each.text.strip() if each.ok else None for each in results]
                loaded[module.name] = dict(zip(keys, found, strict=True))
        return loaded

    def _require_loaded(self, agent: Agent, deadline: Deadline) -> None:
        """What is loaded has to be what was built: over one that is there nothing is loaded."""
        loaded = self._loaded(agent, deadline)
        for module in self.kit.modules:
            found = loaded.get(module.name, {}).get("srcversion")
            if found != module.srcversion:
                raise InfraError(
                    f"guest {agent.name} has srcversion {found} of {module.name} loaded, not"
                    f" {module.srcversion}",
                    hint=f"harness pair kill {agent.name}, harness pair start {agent.name}",
                )

    def watch(self, stop: threading.Event, say: Say, every_s: float = 1.0) -> None:
        """Tell of guests that end by themselves, until ``stop``."""
        while not stop.wait(every_s):
            for seat in self.seats:
                if seat.notice():
                    say("\n".join(_last_words(seat)))

    def run(self, role: str, words: Sequence[str], timeout_s: float) -> Json:
        """Exit status and output of a command in a guest; changes may go on beside it."""
        seat = self._seat(role)
        try:
            status, output = seat.run(words, timeout_s)
        except GuestLostError as error:
            raise self._with_console(error) from error
        return {"status": status, "output": output}

    # Small things.

    def _seat(self, role: str) -> Seat:
        for seat in self.seats:
            if seat.name == role:
                return seat
        raise UsageError(f"no guest {role!r}", hint="primary or backup")

    def _running(self) -> list[Seat]:
        for seat in self.seats:
            seat.notice()
        return [seat for seat in self.seats if seat.power is Power.ON]

    def _with_console(self, error: HarnessError) -> HarnessError:
        """``error``, and why, if a guest has ended over it."""
        gone = [
            seat for seat in self.seats if seat.guest.is_ending() and seat.power is not Power.OFF
        ]
        if not gone:
            return error
        for seat in gone:
            seat.notice()
        said = "\n".join(line for seat in gone for line in _last_words(seat))
        way_out = "; ".join(f"harness pair start {seat.name}" for seat in gone)
        return InfraError(f"{error}\n{said}", hint=f"{way_out}, or harness pair down")

    @staticmethod
    def _deadline(what: str) -> Deadline:
        return Deadline.after(_SET_UP_S, what)


def _last_words(seat: Seat) -> list[str]:
    """Why its guest ended: the kernel's report, which the end of the console may lack, and that."""
    titles = [report.splitlines()[0] for report in seat.reports()[-_LAST_REPORTS:]]
    return [
        f"guest {seat.name} has ended",
        *(f"its kernel reported: {title}" for title in titles),
        "its console ends with:",
        *(f"  {line}" for line in seat.guest.console_tail()),
    ]


def _change(old: Any, new: Any) -> str:
    if old is None:
        return f"new: {new}"
    same = " (the same)" if old.digest == new.digest else ""
    return f"old: {old}\nnew: {new}{same}"
