# SPDX-License-Identifier: Apache-2.0
"""A hypervisor in memory: starts nothing, remembers what was asked of it."""

from __future__ import annotations

from collections.abc import Callable

from harness.errors import InfraError
from harness.vm.ports import MachineSpec, MachineState


class FakeMachine:
    """A machine that does as it is told, unless a verb was made to fail."""

    def __init__(self, spec: MachineSpec) -> None:
        self.spec = spec
        self.verbs: list[str] = []
        """Everything asked of it, oldest first."""
        self.failing: set[str] = set()
        """Verbs that raise InfraError instead."""
        self.on_end: list[Callable[[], None]] = []
        """Called once it is gone."""
        self.on_wait: list[Callable[[], None]] = []
        """Called while somebody waits for its end, which may come of it."""
        self.standing = False
        self.pauses = 0
        self._state = MachineState.RUNNING

    @property
    def name(self) -> str:
        return self.spec.name

    def pause(self) -> None:
        self._do("pause")
        self._state = MachineState.PAUSED
        self.standing = True

    def resume(self) -> None:
        self.standing = False
        self.pauses += 1
        self._do("resume")
        self._state = MachineState.RUNNING

    def state(self) -> MachineState:
        return self._state

    def wait_gone(self, timeout_s: float) -> bool:
        for call in self.on_wait:
            call()
        return self._state is MachineState.GONE

    def set_link(self, up: bool) -> None:
        self._do("link up" if up else "link down")

    def sync_console(self) -> None:
        if "sync console" in self.failing:
            raise InfraError(f"guest {self.name} cannot sync its console")

    def destroy(self) -> None:
        self.verbs.append("destroy")
        self.end()

    def end(self) -> None:
        """End by itself, as a guest does that panics or is killed from outside."""
        if self._state is not MachineState.GONE:
            self._state = MachineState.GONE
            for call in self.on_end:
                call()

    def _do(self, verb: str) -> None:
        self.verbs.append(verb)
        if verb in self.failing or self._state is MachineState.GONE:
            raise InfraError(f"guest {self.name} cannot {verb}")


class FakeHypervisor:
    """Keeps the machines it was asked to start; ``on_start`` may equip each."""

    def __init__(self, on_start: Callable[[FakeMachine], None] = lambda machine: None) -> None:
        self.machines: list[FakeMachine] = []
        self.closed = False
        self.on_start = on_start

    def start(self, spec: MachineSpec) -> FakeMachine:
        machine = FakeMachine(spec)
        self.on_start(machine)
        self.machines.append(machine)
        return machine

    def running(self) -> list[FakeMachine]:
        """The machines that are not gone."""
        return [machine for machine in self.machines if machine.state() is not MachineState.GONE]

    def destroy_owned(self, owner: str | None = None) -> int:
        running = [m for m in self.running() if owner in (None, m.spec.owner)]
        for machine in running:
            machine.destroy()
        return len(running)

    def offers_kvm(self) -> bool:
        return False

    def versions(self) -> dict[str, str]:
        return {"libvirt": "fake", "qemu": "fake"}

    def close(self) -> None:
        self.closed = True
