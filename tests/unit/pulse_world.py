# SPDX-License-Identifier: Apache-2.0
"""The guests of ``run_world`` with a second process in each, which gives signs of life."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from run_world import World

from harness.guest.fake import FakeChannel, GuestHangs, Reply
from harness.vm.fake import FakeMachine
from harness.vm.ports import MachineState


@dataclass
class PulseWorld(World):
    """A world whose guests can be silent; a paused one always is."""

    silent: set[str] = field(default_factory=set)
    """Roles whose latest machine gives no sign of life."""
    on_pulse: Callable[[str], object] = lambda role: None
    """Called with the role of a guest that gives a sign of life."""

    def _equip(self, machine: FakeMachine) -> None:
        super()._equip(machine)
        if machine.spec.side_channel is None:
            return
        role = machine.name.rpartition("-")[2]
        side = FakeChannel(lambda command: self._pulse(machine, role))
        machine.on_end.append(side.end)
        self.channels[machine.spec.side_channel] = side

    def _pulse(self, machine: FakeMachine, role: str) -> Reply:
        latest = machine is self.machines[role]
        if (role in self.silent and latest) or machine.state() is MachineState.PAUSED:
            raise GuestHangs
        self.on_pulse(role)
        return Reply()
