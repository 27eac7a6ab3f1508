# SPDX-License-Identifier: Apache-2.0
"""A pair under load: plays rounds of disturbances and says what was seen."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable

from harness.deadline import Deadline
from harness.guest.agent import ScriptResult
from harness.guest.replies import parse_scan, parse_status
from harness.model.endurance import (
    Comparison,
    Leg,
    MemorySample,
    Rejoin,
)
from harness.model.load import Contents
from harness.run import observe
from harness.run.caselog import Observation
from harness.run.endurance.loader import Loader
from harness.run.endurance.record import Record, memory_sample
from harness.run.endurance.schedule import Act, Disk, Disturbance, Round
from harness.run.endurance.site import Site
from harness.run.pair import Pair, PairBuilder
from harness.target.base import Line
from harness.target.cluster import ClusterTarget

DEVICE_BYTES = 32 << 20
BLOCKS = DEVICE_BYTES // 4096
PROGRESS_S = 120.0
"""A load on a pair in sync that gets nothing acknowledged for so long is stuck."""
IN_SYNC_S = 180.0
"""A node that is there and not in sync after so long is stuck."""
_KEEP_IMAGE_EVERY = 4
_MOST_BLOCKS = 64
_LAST_REPORTS = 5
"""Flushes acknowledged after the last disturbance, to see that the pair works."""


class Stuck(Exception):
    """The round cannot go on, for a reason that is in its evidence."""


class Arena:
    """Two nodes with a load on whichever leads; what one round leaves is where the next begins."""

    def __init__(self, builder: PairBuilder, pair: Pair, target: ClusterTarget) -> None:
        self.pair = pair
        self.target = target
        self.sites = tuple(Site(place, guest, builder) for place, guest in enumerate(pair.guests))
        self.primary, self.backup = self.sites
        self.spent = False
        """Whether no further round can be played on it."""
        self._contents: Contents = {}
        self._memory: list[MemorySample] = []
        self._rounds = 0
        self._loads: dict[Site, Loader] = {}

    def set_up(self, deadline: Deadline) -> None:
        """Create the cluster. AgentError or GuestLostError when that fails."""
        for site, create in ((self.backup, False), (self.primary, True)):
            site.guest.agent.run_all(self.start_lines(site, create=create), deadline)
        in_sync = self.target.in_sync_lines(_ms(IN_SYNC_S))
        self.primary.guest.agent.run_all(in_sync, deadline)

    def start_lines(self, site: Site, *, create: bool = False) -> list[Line]:
        """Commands that start the node of ``site``."""
        return self.target.start_lines(
            site.place, length=DEVICE_BYTES, create=create, suspend=site.suspends
        )

    def close(self) -> None:
        """End both guests and close all connections."""
        for site in self.sites:
            site.close()
            site.guest.machine.destroy()

    def play(self, played: Round, deadline: Deadline) -> Observation:
        """Play one round. InfraError when a guest is lost that nobody has killed."""
        self._rounds += 1
        game = _Game(self, played, Record(BLOCKS, self._contents), deadline)
        try:
            game.play()
        except Stuck as stuck:
            self.spent = True
            game.note(f"stuck: {stuck}")
        self._contents = game.contents
        return game.observation()

    def remember(self, sample: MemorySample) -> None:
        """Keep a memory figure as long as the guest it is of lives."""
        self._memory.append(sample)
        boots = {site.name: site.boot for site in self.sites}
        self._memory = [kept for kept in self._memory if kept.boot == boots[kept.node]]

    def renew(self, site: Site) -> None:
        """The pair, too, has to know of a guest that was started again."""
        if site.place == 0:
            self.pair.primary = site.guest
        else:
            self.pair.backup = site.guest

    @property
    def memory(self) -> tuple[MemorySample, ...]:
        """Figures of both guests since they were booted."""
        return tuple(self._memory)

    @property
    def rounds(self) -> int:
        """Rounds begun on this pair."""
        return self._rounds


class _Game:
    """One round under way."""

    def __init__(self, arena: Arena, played: Round, seen: Record, deadline: Deadline) -> None:
        self._arena = arena
        self._target = arena.target
        self._round = played
        self._seen = seen
        self._deadline = deadline
        self._started = time.monotonic()
        self._phases: defaultdict[str, float] = defaultdict(float)
        self._loader: Loader | None = None
        self._legs = 0
        self._rejoining: tuple[Site, str, float] | None = None
        """A node that has come back and is not known to be in sync: disk, since when."""
        self.contents = seen.base
        """What the device held when it was last read."""

    # The course of a round.

    def play(self) -> None:
        arena = self._arena
        olds = [d for d in self._round.disturbances if d.disk is Disk.OLD]
        fresh = not all(site.old_image.exists() for site in arena.sites)
        if fresh or (not olds and arena.rounds % _KEEP_IMAGE_EVERY == 0):
            for site in arena.sites:
                self._timed("image", site.keep_image)
        self._start_load()
        for disturbance in self._round.disturbances:
            if not disturbance.in_resync:
                self._wait_in_sync()
            self._wait_reports(disturbance.after if not self._rejoining else 0)
            self.note(str(disturbance))
            self._do(disturbance)
        if arena.spent:
            return
        self._wait_in_sync()
        self._wait_reports(_LAST_REPORTS)
        self._end_load()
        self._compare("the round")
        self._sample_memory()

    def _do(self, disturbance: Disturbance) -> None:
        match disturbance.act:
            case Act.KILL_PRIMARY:
                self._kill_primary(disturbance)
            case Act.KILL_BACKUP:
                self._kill_backup(disturbance)
            case Act.CUT:
                self._cut(disturbance.hold_s)
            case Act.PAUSE_PRIMARY | Act.PAUSE_BACKUP:
                self._pause(disturbance)
            case Act.SUSPEND_PRIMARY | Act.SUSPEND_BACKUP:
                self._suspend(disturbance)
            case Act.SWITCHOVER:
                self._switch_over()
            case Act.DEPOSE:
                self._depose(disturbance.hold_s)

    # Acts.

    def _kill_primary(self, disturbance: Disturbance) -> None:
        dead, survivor = self._arena.primary, self._arena.backup
        loader = self._running()
        dead.guest.machine.pause()
        while not self._promotable(survivor):
            # A link that came back may drop once more: whoever is lost then takes the data along.
            dead.guest.machine.resume()
            self._kept(survivor)
            self._wait_in_sync()
            dead.guest.machine.pause()
        self._timed("kill", dead.kill)
        loader.lost(self._within(60, "the channel of a killed guest to close"))
        self._loader = None
        self._fail_over(survivor, loader)
        if not self._target.rejoins:
            self._arena.spent = True
            return
        self._start_load()
        self._come_back(dead, disturbance)

    def _fail_over(self, survivor: Site, loader: Loader) -> None:
        """Promote ``survivor`` and look at what it holds of the load on the one that is gone."""
        self._drain(survivor)
        if self._target.rejoins:
            self._must(survivor, self._target.promote_lines(), "promote")
        self._look(survivor, loader, crashed=True)
        self._arena.primary, self._arena.backup = survivor, self._other(survivor)

    def _kill_backup(self, disturbance: Disturbance) -> None:
        dead = self._arena.backup
        self._timed("kill", dead.kill)
        self._come_back(dead, disturbance)

    def _come_back(self, site: Site, disturbance: Disturbance) -> None:
        """Start a guest again, and its node with empty memory."""
        disk, suspends = disturbance.disk, disturbance.suspends
        self._timed("reboot", lambda: site.restart(disk))
        self._arena.renew(site)
        self.note(f"{site.name} is back")
        site.suspends = suspends
        self._must(site, self._arena.start_lines(site), "start")
        self._rejoining = site, disk.value, time.monotonic()

    def _cut(self, hold_s: float) -> None:
        machine = self._arena.backup.guest.machine
        machine.set_link(False)
        try:
            self._hold(hold_s)
        finally:
            machine.set_link(True)
        self._kept(self._arena.backup)

    def _pause(self, disturbance: Disturbance) -> None:
        primary = disturbance.act is Act.PAUSE_PRIMARY
        site = self._arena.primary if primary else self._arena.backup
        site.guest.machine.pause()
        try:
            self._hold(disturbance.hold_s)
        finally:
            site.guest.machine.resume()
        self._kept(self._arena.backup)

    def _suspend(self, disturbance: Disturbance) -> None:
        primary = disturbance.act is Act.SUSPEND_PRIMARY
        site = self._arena.primary if primary else self._arena.backup
        self._must(site, self._target.suspend_lines(), "suspend")
        self._hold(disturbance.hold_s)
        self._must(site, self._target.resume_lines(), "resume")
        self._kept(self._arena.backup)

    def _switch_over(self) -> None:
        old, new = self._arena.primary, self._arena.backup
        self._wait_in_sync()
        loader = self._stop_load()
        self._quiet(new)
        self._must(old, self._target.demote_lines(), "demote")
        self._must(new, self._target.promote_lines(), "promote")
        self._arena.primary, self._arena.backup = new, old
        self._look(new, loader, crashed=False)
        self._start_load()
        self._kept(old)

    def _depose(self, hold_s: float) -> None:
        old, new = self._arena.primary, self._arena.backup
        self._wait_in_sync()
        loader = self._running()
        machine = new.guest.machine
        machine.set_link(False)
        while not self._promotable(new):
            machine.set_link(True)
            self._kept(new)
            self._wait_in_sync()
            machine.set_link(False)
        try:
            self._hold(hold_s)
            loader.expect_errors()
            self._loader = None
            self._drain(new)
            self._must(new, self._target.promote_lines(), "promote")
            promised = loader.acknowledged
            # What the old primary was promised counts up to here; what it is told from now on is
            # a lie.
            self._look(new, loader, crashed=True)
        finally:
            machine.set_link(True)
        self._arena.primary, self._arena.backup = new, old
        deposed = old.run(self._target.deposed_lines(_ms(PROGRESS_S)), self._deadline)
        if not deposed.ok:
            self._refuse(f"{old.name} does not learn that it was deposed: {_last_text(deposed)}")
        # An error comes at once; what is acknowledged instead has to show.
        loader.wait_reports(_LAST_REPORTS, self._within(PROGRESS_S, "I/O to fail"), carry_on=False)
        if not loader.stop(self._within(PROGRESS_S, "the load of a deposed primary to end")):
            self._refuse(f"{old.name} was deposed and its I/O neither ends nor fails")
        self._seen.after_deposition = max(0, loader.acknowledged - promised)
        self._must(old, self._target.demote_lines(), "demote")
        self._start_load()
        self._kept(old)

    def _promotable(self, site: Site) -> bool:
        result = site.run(self._target.status_lines(), self._deadline)
        return result.ok and self._target.promotable(parse_status(_last_text(result)))

    # The load.

    def _start_load(self) -> None:
        primary = self._arena.primary
        stream = self._round.stream(self._legs)
        self._legs += 1
        agent = primary.side_agent(self._within(60, f"the second agent of {primary.name}"))
        self._loader = Loader(
            agent, self._target.device, BLOCKS, stream, may_fail=not primary.suspends
        )
        self._loader.start(self._deadline)

    def _running(self) -> Loader:
        if self._loader is None:
            raise Stuck("no load is running")
        return self._loader

    def _wait_reports(self, count: int) -> None:
        if not count:
            return
        loader, started = self._running(), time.monotonic()
        if not loader.wait_reports(count, self._within(PROGRESS_S, "the load to go on")):
            status = _last_text(
                self._arena.primary.run(self._target.status_lines(), self._deadline)
            )
            self._refuse(f"nothing is acknowledged for {PROGRESS_S:.0f} s: {status}")
        self._phases["load"] += time.monotonic() - started

    def _stop_load(self) -> Loader:
        loader = self._running()
        if not loader.stop(self._within(PROGRESS_S, "the load to end")):
            self._refuse("the load does not end")
        self._loader = None
        return loader

    def _end_load(self) -> None:
        loader = self._stop_load()
        self._quiet(self._arena.backup)
        self._look(self._arena.primary, loader, crashed=False)

    def _look(self, site: Site, loader: Loader, *, crashed: bool) -> None:
        """Read the device of ``site`` and close the leg of ``loader`` with it."""
        started = time.monotonic()
        line = ("load-scan", self._target.device, str(BLOCKS))
        scan = site.run([line], self._deadline).results[0]
        found = parse_scan(scan.payload) if scan.ok else None
        if found is None:
            self._seen.refusals.append(f"{site.name} cannot be read: {scan.text.strip()}")
        else:
            self.contents = found
        run = loader.run()
        self._seen.legs.append(Leg(run, crashed, site.name, found))
        self.note(
            f"{site.name} read; batch {run.durable} was acknowledged, {run.completed} had ended"
        )
        self._phases["look"] += time.monotonic() - started

    # States of the pair.

    def _kept(self, site: Site) -> None:
        """``site`` was away, or may have been, and has to be in sync again."""
        if self._rejoining is None:
            self._rejoining = site, "kept", time.monotonic()

    def _wait_in_sync(self) -> None:
        if self._rejoining is None:
            return
        site, disk, since = self._rejoining
        self._rejoining = None
        lines = self._target.in_sync_lines(_ms(IN_SYNC_S))
        result = self._arena.primary.run(lines, self._deadline)
        spent = time.monotonic() - since
        status = _last_text(result)
        self._seen.rejoins.append(Rejoin(site.name, disk, spent if result.ok else None, status))
        self._phases["rejoin"] += spent
        if not result.ok:
            raise Stuck(f"{site.name} is not in sync")
        self.note(f"{site.name} is in sync after {spent:.1f} s")

    def _drain(self, site: Site) -> None:
        """Wait until a backup that hears from nobody any more has applied what it has."""
        result = site.run(self._target.quiet_lines(_ms(PROGRESS_S), None), self._deadline)
        if not result.ok:
            self._refuse(f"{site.name} does not drain: {_last_text(result)}")

    def _quiet(self, site: Site) -> None:
        """Wait until a backup has applied all that its primary, which stands still, has issued."""
        status = self._arena.primary.run(self._target.status_lines(), self._deadline)
        issued = parse_status(_last_text(status)) if status.ok else None
        result = site.run(self._target.quiet_lines(_ms(PROGRESS_S), issued), self._deadline)
        if not result.ok:
            self._refuse(f"{site.name} does not drain: {_last_text(result)}")

    def _compare(self, after: str) -> None:
        started = time.monotonic()
        digest = ("digest", self._target.device, str(DEVICE_BYTES))
        mine, theirs = (observe.device_digest(result) for result in self._on_both([digest]))
        differing: tuple[int, ...] | None = None
        if mine is not None and theirs is not None and mine != theirs:
            blockmap = ("blockmap", self._target.device, str(DEVICE_BYTES))
            found = observe.blocks_that_differ(*self._on_both([blockmap]))
            differing = None if found is None else found[:_MOST_BLOCKS]
        self._seen.comparisons.append(Comparison(after, mine, theirs, differing))
        self._phases["compare"] += time.monotonic() - started

    def _on_both(self, lines: list[Line]) -> tuple[ScriptResult, ScriptResult]:
        """The same on both nodes at the same time: each has a processor of its own."""
        done: dict[str, ScriptResult | BaseException] = {}

        def serve(site: Site) -> None:
            try:
                done[site.name] = site.run(lines, self._deadline)
            except BaseException as error:  # carried over to the caller's thread
                done[site.name] = error

        thread = threading.Thread(target=serve, args=(self._arena.backup,))
        thread.start()
        serve(self._arena.primary)
        thread.join()
        results = [done[site.name] for site in (self._arena.primary, self._arena.backup)]
        for result in results:
            if isinstance(result, BaseException):
                raise result
        primary, backup = results
        assert isinstance(primary, ScriptResult)
        assert isinstance(backup, ScriptResult)
        return primary, backup

    def _sample_memory(self) -> None:
        for site in self._arena.sites:
            sample = memory_sample(site, self._target, self._round.number, self._deadline)
            if sample is not None:
                self._arena.remember(sample)

    # Small things.

    def _other(self, site: Site) -> Site:
        first, second = self._arena.sites
        return second if site is first else first

    def _must(self, site: Site, lines: list[Line], what: str) -> None:
        failure = site.failure(lines, self._deadline)
        if failure is not None:
            self._refuse(f"{what}: {failure}")

    def _refuse(self, text: str) -> None:
        self._seen.refusals.append(text)
        raise Stuck(text)

    def _hold(self, seconds: float) -> None:
        """Let a state last: this is the disturbance itself, nothing is waited for."""
        self._phases["hold"] += seconds
        time.sleep(seconds)

    def _within(self, seconds: float, what: str) -> Deadline:
        return self._deadline.within(seconds, what)

    def _timed(self, phase: str, function: Callable[[], object]) -> None:
        started = time.monotonic()
        function()
        self._phases[phase] += time.monotonic() - started

    def note(self, text: str) -> None:
        """Record what is done and when."""
        self._seen.log.append(f"{time.monotonic() - self._started:.2f} {text}")

    def observation(self) -> Observation:
        """All that was seen, and where the time went."""
        return self._seen.observation(self._arena.sites, self._arena.memory, self._phases)


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _last_text(result: ScriptResult) -> str:
    return " ".join(result.results[-1].text.split()) if result.results else ""
