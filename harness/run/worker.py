# SPDX-License-Identifier: Apache-2.0
"""One pair working through cases: boots, sets up, runs, judges, retries, replaces what broke."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from harness.deadline import Deadline
from harness.errors import AgentError, GuestLostError, HostLostError, InfraError, OverdueError
from harness.events import (
    CaseRerun,
    CaseRetried,
    CaseStarted,
    Event,
    PairLost,
    PhaseNote,
    Warned,
    WatchdogFired,
    Watched,
)
from harness.guest.oops import KernelReport
from harness.guest.protocol import ProtocolError
from harness.model.case import MOST_RERUN_CHECKS, CaseId, CaseResult, Rerun
from harness.model.evidence import CaseEvidence
from harness.model.verdict import Check, Verdict, merge
from harness.oracle import judge_case
from harness.report.summary import deciding_checks
from harness.run import blame, observe, scripts
from harness.run.bench import Bench
from harness.run.caselog import Observation
from harness.run.confirm import Confirmations
from harness.run.exercises import Exercise
from harness.run.filesystems import FILE_SYSTEMS, RAW, FileSystem
from harness.run.impostor import install_impostor, remove_impostor
from harness.run.options import Encryption, RunOptions
from harness.run.pair import Guest, Pair, PairBuilder
from harness.run.plan import Case
from harness.run.targets import CONTROL, make_target
from harness.run.watch import EVERY_S, Pulse, Watch
from harness.target.base import Target

ATTEMPTS = 3
"""How often a case, or the confirmation of one, is tried while only infrastructure errors come."""
_RAM_DISK_KIB = 400 << 10
_LOAD_TIMEOUT_S = 120.0


class Worker:
    """Runs cases one at a time on a pair of its own."""

    ends_guests = False
    """Whether the end of a guest may be a part of a case."""
    finishes = True
    """Whether the cases it has taken are to be waited for when the run ends."""

    def __init__(
        self,
        number: int,
        builder: PairBuilder,
        options: RunOptions,
        publish: Callable[[Event], None],
        in_a_hurry: Callable[[], bool] = lambda: False,
        confirmations: Confirmations | None = None,
    ) -> None:
        """``in_a_hurry`` says whether the run ends: nothing is run only to confirm then.

        ``confirmations`` are those of all workers of the run; its own when there is no other.
        """
        self.number = number
        listens = bool(options.heartbeat_s) and not self.ends_guests
        self._builder = replace(builder, side_channels=True) if listens else builder
        self._listens = listens
        self._options = options
        self._publish = publish
        self._in_a_hurry = in_a_hurry
        self._confirmations = confirmations or Confirmations()
        self._pair: Pair | None = None
        self._benches: dict[str, Bench] = {}
        self._boots = 0
        self._ready = False
        self._closed = False
        self._watch: Watch | None = None
        self._hung: tuple[str, str] | None = None
        """Name of the guest that gave no sign of life, and what is to be said about it."""
        self._case: tuple[CaseId, float] | None = None
        """The case under way, and since when."""

    def results(
        self, case: Case, take: Callable[[], Case | None], put_back: Callable[[Case], None]
    ) -> Iterator[CaseResult]:
        """The result of ``case``, and of those that were taken to be run along with it.

        ``take`` gives the next case to be run, None if there is none; ``put_back`` takes one that
        is not to be run now after all. Errors as of ``run``.
        """
        del take, put_back  # One after the other.
        yield self.run(case)

    def run(self, case: Case, first: CaseResult | None = None) -> CaseResult:
        """The result of ``case``; InfraError when no target could ever be set up on a pair.

        ``first`` is what a first attempt has come to, if there was one. HostLostError when no
        guest can be started any more.
        """
        attempts: list[str] = []
        while True:
            result, first = first or self._attempt(case), None
            if result.infra_error is None or len(attempts) + 1 >= ATTEMPTS or self._closed:
                break
            attempts.append(result.infra_error)
            self._publish(CaseRetried(case.case_id, result.infra_error, self.number))
        if result.infra_error is not None and not self._ready:
            # Nothing ever worked here: the same would be said of every other case.
            raise InfraError(f"no case can run: {result.infra_error}")
        return self._concluded(case, replace(result, attempts=tuple(attempts)))

    def _concluded(self, case: Case, result: CaseResult) -> CaseResult:
        """``result`` with what is to be found out about a case that failed."""
        if result.verdict is Verdict.FAIL:
            # What was found is recorded, also if nothing can be run any more to confirm it.
            with contextlib.suppress(HostLostError):
                # First: what comes of it must not depend on what the control arm did to the guests.
                result = self._confirmed(case, result)
                if case.case_id.target != CONTROL:
                    result = replace(result, control=self._control(case))
        return result

    def _confirmed(self, case: Case, failed: CaseResult) -> CaseResult:
        """``failed`` with its reruns, unless enough cases like it have been confirmed."""
        if not self._confirmations.worth(failed):
            return failed
        again = replace(failed, reruns=self._run_again(case, failed))
        self._confirmations.add(failed, again)
        return again

    def _run_again(self, case: Case, failed: CaseResult) -> tuple[Rerun, ...]:
        """A case that failed, until so many runs as asked for came to a verdict.

        On the same guests with the target made anew, as the case after it would have been; booting
        costs more than several cases. Only guests whose kernels reported what a sound one does not
        are replaced.
        """
        reruns: list[Rerun] = []
        judged = lost = 0
        tainted = blame.reported(failed)
        while judged < self._options.confirm and lost < ATTEMPTS and not self._in_a_hurry():
            if tainted and self._pair is not None:
                self._lose("its kernels reported something: a case is run again on other guests")
            boots = self._boots
            again = self._attempt(case)
            if again.verdict is None and self._closed:
                # Its guests were taken away from it: that says nothing about the case.
                break
            judged += again.verdict is not None
            lost += again.verdict is None
            tainted = blame.reported(again)
            reruns.append(_summed_up(again, fresh_pair=self._boots != boots))
            self._publish(CaseRerun(case.case_id, reruns[-1], self.number))
        return tuple(reruns)

    def close(self) -> None:
        """End the pair for good; a case under way in another thread fails for want of it."""
        self._closed = True
        self._end_pair()

    def doing(self) -> str:
        """What is under way, for people; from any thread."""
        case, pair = self._case, self._pair
        if case is None:
            return "nothing"
        text = f"case {case[0]} for {time.monotonic() - case[1]:.0f} s"
        for guest in pair.guests if pair is not None else ():
            if doing := guest.agent.doing:
                text += f"; guest {guest.name} is at work on {doing}"
        return text

    def consoles(self) -> dict[str, tuple[str, ...]]:
        """Guest -> its last console lines."""
        return self._console()

    def leave_alone(self) -> None:
        """Ask the guests for no more signs of life: somebody looks at them, maybe in a debugger."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    def _end_pair(self) -> None:
        self.leave_alone()
        self._hung = None
        pair, self._pair = self._pair, None
        if pair is not None:
            pair.close()
        self._benches.clear()

    def _attempt(self, case: Case) -> CaseResult:
        """One try; HostLostError when no further one can be had."""
        blank = blank_result(case)
        started = time.perf_counter()
        self._case = (case.case_id, time.monotonic())
        try:
            # Booting and setting up is shared by many cases and belongs to none of them.
            play = self._prepare(case)
            self._publish(CaseStarted(case.case_id, self.number))
            started = time.perf_counter()
            observed = play()
        except HostLostError:
            raise
        except (InfraError, ProtocolError) as error:
            result = self._broken(blank, error)
        else:
            result = self._judged(blank, case, observed)
        finally:
            self._case = None
        return replace(result, elapsed_s=time.perf_counter() - started)

    def _prepare(self, case: Case) -> Callable[[], Observation]:
        """Make everything ready for ``case``; what is returned runs it."""
        bench = self._bench(case.case_id.target, case.case_id.fs)
        what = f"case {case.case_id} to end"
        workload = case.workload

        def play() -> Observation:
            deadline = Deadline.after(self._options.timeout_s, what)
            if isinstance(workload, Exercise):
                return bench.exercise(workload, deadline)
            return bench.run(workload.steps, deadline)

        return play

    def _judged(self, blank: CaseResult, case: Case, observed: Observation) -> CaseResult:
        started = time.perf_counter()
        replicated = case.case_id.target != CONTROL
        checks = judge_case(case.workload.steps, case.case_id.fs, observed.evidence, replicated)
        phases = {**observed.phases_s, "judge": time.perf_counter() - started}
        verdict = merge(check.verdict for check in checks)
        if verdict is not Verdict.PASS and (ended := self._missing(Guest.ended)):
            # What failed may have failed for want of that guest.
            lost = GuestLostError(f"guest {ended[0]} ended before the case did")
            return self._broken(blank, lost, observed.evidence.console)
        evidence = observed.evidence
        if verdict is Verdict.PASS:
            # A picture of it is drawn for what went wrong; passes are many.
            evidence = replace(evidence, moments=())
        result = replace(blank, verdict=verdict, checks=checks, evidence=evidence, phases_s=phases)
        if verdict is not Verdict.PASS:
            # Whatever went wrong must not reach the next case: the target starts from nothing.
            result = replace(result, console=self._console())
            self._stop_next()
            self._drop_bench(case.case_id.target)
        return result

    def _stop_next(self) -> None:
        """A case did not pass: what may have begun after it must not be in its way."""

    def _missing(self, has_ended: Callable[[Guest], bool]) -> list[str]:
        """Names of the guests that have ended, and should not have."""
        if self._pair is None or self.ends_guests:
            return []
        return [guest.name for guest in self._pair.guests if has_ended(guest)]

    def _broken(
        self, blank: CaseResult, error: Exception, told: Mapping[str, Sequence[str]] | None = None
    ) -> CaseResult:
        """No evidence to judge: the guests' kernels may have said why, else it is no verdict.

        ``told`` is what of it has been read already.
        """
        guests = self._pair.guests if self._pair is not None else ()
        said = self._overdue(error)
        # Of two guests that are gone because one was hung, the hung one is to be asked why.
        hung = self._hung
        ended = self._missing(Guest.is_ending) if hung is None else [hung[0]]
        console = self._console()
        reports = {
            guest.name: (*(told or {}).get(guest.name, ()),
                         *observe.report_texts(_last_reports(guest)))
            for guest in guests
        }  # fmt: skip
        self._lose(said)
        if found := blame.findings(reports, ended):
            checks = [
                Check("console", Verdict.FAIL, name, found=text, message=f"the kernel of {name}"
                      " reported this and the case could not be finished")
                for name, texts in found.items() for text in texts
            ]  # fmt: skip
            return replace(
                blank,
                verdict=Verdict.FAIL,
                checks=tuple(checks),
                evidence=CaseEvidence(crashes=(), console=found),
                console=console,
            )
        state = f" (guest {' and '.join(ended)} has ended)" if ended and hung is None else ""
        return replace(blank, infra_error=f"{said}{state}", console=console)

    def _overdue(self, error: Exception) -> str:
        """What to say of ``error``; one that says that time was up is told before all else."""
        if self._hung is not None:
            return self._hung[1]
        if not isinstance(error, OverdueError):
            return str(error)
        text = f"{error}; {self._signs_of_life()}"
        self._publish(WatchdogFired(Watched.CASE, text, self.number, self._console()))
        return text

    def _signs_of_life(self) -> str:
        if self._watch is None:
            return "no signs of life were asked for"
        ago = [f"{name} {since:.0f} s ago" for name, since in self._watch.silences().items()]
        return f"the guests do not hang: last sign of life of {', of '.join(ago)}"

    def _found_hung(self, guest: Guest, silent_s: float) -> None:
        """In a thread of the watch: name the guest, then end the pair under whoever waits for it.

        Ending it is the only way to get back a thread that waits for the hypervisor.
        """
        pair = self._pair
        if pair is None or self._closed or all(each is not guest for each in pair.guests):
            return
        text = (
            f"guest {guest.name} hangs: no sign of life for {silent_s:.0f} s, its machine is"
            f" {guest.machine.state()}; under way: {self.doing()}"
        )
        self._hung = (guest.name, text)
        self._publish(WatchdogFired(Watched.GUEST, text, self.number, self._console()))
        for each in pair.guests:
            try:
                each.machine.destroy()
            except InfraError as error:
                self._publish(Warned(f"pair {self.number}: {error}"))

    def _control(self, case: Case) -> Verdict | None:
        """Verdict of the same workload on the control arm; None when that could not be had."""
        control = replace(case, case_id=replace(case.case_id, target=CONTROL))
        return self._attempt(control).verdict

    def _console(self) -> dict[str, tuple[str, ...]]:
        if self._pair is None:
            return {}
        return {guest.name: guest.console_tail() for guest in self._pair.guests}

    def _bench(self, target_name: str, fs_name: str) -> Bench:
        """The bench for a target and file system, set up if it is not there yet."""
        bench = self._benches.get(target_name)
        if bench is not None and bench.fs.name == fs_name:
            return bench
        if bench is not None:
            self._drop_bench(target_name)
        # Not before: a target that cannot be removed costs the pair.
        pair = self._ensure_pair()
        fs = self._file_system(fs_name)
        deadline = Deadline.after(_LOAD_TIMEOUT_S, f"modules for {fs_name} to load")
        for guest in pair.guests:
            modules = [("insmod", path) for path in self._builder.image.on_demand.get(fs_name, ())]
            guest.agent.run_all(modules, deadline)
        defect = self._options.defect if target_name != CONTROL else None
        impostor = self._options.impostor if target_name != CONTROL else None
        encrypted = self._options.encryption is Encryption.ON
        target = make_target(
            target_name, self._builder.image, defect, encryption=encrypted,
            outside=self._builder.outside,
        )  # fmt: skip
        bench = self._new_bench(pair, target, fs, impostor is not None)
        bench.set_up()
        self._ready = True
        if impostor is not None:
            install_impostor(pair.backup.agent, fs, impostor)
        self._benches[target_name] = bench
        return bench

    def _file_system(self, name: str) -> FileSystem:
        return FILE_SYSTEMS.get(name, RAW)

    def _new_bench(self, pair: Pair, target: Target, fs: FileSystem, impostor: bool) -> Bench:
        return Bench(pair, target, fs, impostor)

    def _drop_bench(self, target_name: str) -> None:
        bench = self._benches.pop(target_name, None)
        if bench is None:
            return
        try:
            bench.tear_down()
            if bench.impostor:
                remove_impostor(bench.pair.backup.agent)
        except (GuestLostError, AgentError) as error:
            self._lose(f"target {target_name} cannot be removed: {error}")

    def _ensure_pair(self) -> Pair:
        if self._pair is None:
            self._publish(PhaseNote("booting both guests", self.number))
            self._boots += 1
            self._pair = self._builder.boot(f"{self.number}-{self._boots}")
            if self._closed:
                # close() came while they booted and had nothing to end.
                self._end_pair()
                raise InfraError("the run has been ended")
            if not self.ends_guests:
                self._pair.bind()
            deadline = Deadline.after(_LOAD_TIMEOUT_S, "modules for snapshots to load")
            if self._listens:
                self._watch = self._listen(self._pair, deadline)
            for guest in self._pair.guests:
                guest.agent.run_all(
                    [scripts.load_line(path, _RAM_DISK_KIB)
                     for path in self._builder.image.on_demand["snapshot"]], deadline
                )  # fmt: skip
        return self._pair

    def _listen(self, pair: Pair, deadline: Deadline) -> Watch | None:
        try:
            agents = [self._builder.side_agent(guest, deadline) for guest in pair.guests]
        except AgentError as error:
            # Cases can do without: one that takes too long ends when its own time is up.
            self._publish(Warned(f"no signs of life can be asked for: {error}"))
            return None
        silence_s = self._options.heartbeat_s
        pulses = [Pulse(*each, silence_s) for each in zip(pair.guests, agents, strict=True)]
        return Watch(pulses, self._found_hung, min(EVERY_S, silence_s))

    def _lose(self, reason: str) -> None:
        if self._pair is not None:
            self._publish(PairLost(self.number, reason))
        self._end_pair()


def _last_reports(guest: Guest) -> tuple[KernelReport, ...]:
    """What the kernel of a guest said last, of which some may have been lost with the guest."""
    try:
        return guest.kernel_reports()
    except InfraError:
        return guest.reports_read()


def blank_result(case: Case) -> CaseResult:
    """What is known of a case that begins now."""
    return CaseResult(
        case_id=case.case_id,
        workload_hash=case.workload.content_hash,
        skeleton="-".join(case.workload.skeleton.split(",")),
        jlang=case.workload.canonical_text,
        verdict=None,
        started_unix_s=time.time(),
    )


def _summed_up(result: CaseResult, *, fresh_pair: bool) -> Rerun:
    return Rerun(
        verdict=result.verdict,
        checks=deciding_checks(result)[:MOST_RERUN_CHECKS],
        infra_error=result.infra_error,
        fresh_pair=fresh_pair,
        started_unix_s=result.started_unix_s,
        elapsed_s=result.elapsed_s,
    )
