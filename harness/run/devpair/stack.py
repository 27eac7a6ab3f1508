# SPDX-License-Identifier: Apache-2.0
"""Targets as ``harness pair`` needs them: set up, taken down and joined node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from harness.build.image import MicroImage
from harness.deadline import Deadline
from harness.errors import AgentError, UsageError
from harness.guest.agent import Agent
from harness.guest.replies import parse_failure
from harness.run.options import Encryption, RunOptions
from harness.run.pair import BACKUP_ADDRESS, PRIMARY_ADDRESS
from harness.run.targets import make_target
from harness.target.base import Line, Target
from harness.target.conditions import holds
from harness.target.outside import Outside, OutsideNodes
from harness.target.rollbaccine import RollbaccineTarget
from harness.target.rollbaccine_cluster import RollbaccineCluster

CONNECT_TIMEOUT_MS = 90_000
_ADDRESSES = (PRIMARY_ADDRESS, BACKUP_ADDRESS)


class Stack(Protocol):
    """What is under test on both guests; a place is 0 for the primary, 1 for the backup."""

    @property
    def name(self) -> str: ...

    @property
    def device(self) -> str:
        """What a file system is made on, on the primary."""

    @property
    def joins(self) -> bool:
        """Whether a node that was away can be taken back."""

    @property
    def leads(self) -> bool:
        """Whether a node can be made the primary."""

    def set_up(self, agents: tuple[Agent, Agent], length: int, deadline: Deadline) -> None:
        """A fresh target of ``length`` bytes on both guests, whose modules have been delivered."""

    def take_down(self, agent: Agent, deadline: Deadline) -> None:
        """Remove a node, if there is one. AgentError when it does not go."""

    def join(self, place: int, agent: Agent, length: int, deadline: Deadline) -> None:
        """Start a node with empty memory; the other one is there and leads."""

    def await_connected(self, agents: Sequence[Agent], deadline: Deadline) -> None:
        """Wait until all these say so. AgentError with the last status when they do not."""

    def promote(self, agent: Agent, deadline: Deadline) -> None: ...

    def demote(self, agent: Agent, deadline: Deadline) -> None: ...

    def status_lines(self, place: int) -> list[Line]:
        """Commands that print the status as ``key value`` pairs; none if there is no status."""

    def connected(self, status: Mapping[str, str]) -> bool:
        """Whether a node with this status is as it should be."""


class Nodes(Protocol):
    """A device-mapper target whose nodes are started one by one."""

    name: str
    device: str
    """Name of the device on both nodes."""
    mount_device: str
    connected: Sequence[str]
    """Conditions over the status of either node."""

    def renew(self) -> None:
        """The next nodes have nothing in common with those before."""

    def start_lines(self, place: int, length: int, *, create: bool) -> list[Line]: ...

    def promote_lines(self) -> list[Line]: ...

    def demote_lines(self) -> list[Line]: ...

    def status_lines(self) -> list[Line]: ...


class RollbaccineNodes:
    """Those of our own module, in the guest's file ``module``."""

    name = RollbaccineTarget.name
    device = "replicated"
    mount_device = RollbaccineCluster.device
    connected: Sequence[str] = ("state==connected",)

    def __init__(self, module: str, *, encryption: bool) -> None:
        self._module = module
        self._encryption = encryption
        self.renew()

    def renew(self) -> None:
        self._cluster = RollbaccineCluster(self._module, _ADDRESSES, encryption=self._encryption)

    def start_lines(self, place: int, length: int, *, create: bool) -> list[Line]:
        first = create and place == 0
        return self._cluster.start_lines(place, length=length, create=first, suspend=False)

    def promote_lines(self) -> list[Line]:
        return self._cluster.promote_lines()

    def demote_lines(self) -> list[Line]:
        return self._cluster.demote_lines()

    def status_lines(self) -> list[Line]:
        return self._cluster.status_lines()


class NodeStack:
    """A stack of nodes."""

    joins = True

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self.name = nodes.name
        self.device = nodes.mount_device
        self.leads = bool(nodes.promote_lines())

    def set_up(self, agents: tuple[Agent, Agent], length: int, deadline: Deadline) -> None:
        self._nodes.renew()
        for place in (1, 0):
            lines = self._nodes.start_lines(place, length, create=True)
            agents[place].run_all(lines, deadline)
        self.await_connected(agents, deadline)

    def take_down(self, agent: Agent, deadline: Deadline) -> None:
        result = agent.run_script([("dm-remove", self._nodes.device)], deadline).results[0]
        if not result.ok and parse_failure(result.payload).errno != "ENXIO":
            agent.require(result)

    def join(self, place: int, agent: Agent, length: int, deadline: Deadline) -> None:
        agent.run_all(self._nodes.start_lines(place, length, create=False), deadline)

    def await_connected(self, agents: Sequence[Agent], deadline: Deadline) -> None:
        if not self._nodes.connected:
            return
        timeout_ms = str(min(CONNECT_TIMEOUT_MS, int(deadline.remaining * 1000)))
        wait = ("dm-wait", self._nodes.device, timeout_ms, *self._nodes.connected)
        for agent in agents:
            result = agent.run_script([wait], deadline).results[0]
            if not result.ok:
                raise AgentError(
                    f"target {self.name} on guest {agent.name} does not come to"
                    f" {' '.join(self._nodes.connected)}; its status: {result.text.strip()}"
                )

    def promote(self, agent: Agent, deadline: Deadline) -> None:
        agent.run_all(self._message(self._nodes.promote_lines(), "promote"), deadline)

    def demote(self, agent: Agent, deadline: Deadline) -> None:
        agent.run_all(self._message(self._nodes.demote_lines(), "demote"), deadline)

    def _message(self, lines: list[Line], name: str) -> list[Line]:
        if not lines:
            raise UsageError(
                f"target {self.name} has no message {name}",
                hint="[messages] of its target file names it",
            )
        return lines

    def status_lines(self, place: int) -> list[Line]:
        del place
        return self._nodes.status_lines()

    def connected(self, status: Mapping[str, str]) -> bool:
        return all(holds(condition, status) for condition in self._nodes.connected)


class WholeStack:
    """A target that is set up and taken down on both guests at once, and has nothing to build."""

    joins = leads = False

    def __init__(self, target: Target, connected: Sequence[str]) -> None:
        self._target = target
        self._connected = connected
        self.name = target.name
        self.device = target.mount_device

    def set_up(self, agents: tuple[Agent, Agent], length: int, deadline: Deadline) -> None:
        self._target.create(*agents, length, deadline)

    def take_down(self, agent: Agent, deadline: Deadline) -> None:
        # Of what is removed on both, what is not there on this one is no error.
        self._target.remove(agent, agent, deadline)

    def join(self, place: int, agent: Agent, length: int, deadline: Deadline) -> None:
        del place, agent, length, deadline
        raise UsageError(
            f"a node of target {self.name} cannot be taken back here",
            hint="`harness pair reload` sets it up again on both guests",
        )

    def await_connected(self, agents: Sequence[Agent], deadline: Deadline) -> None:
        """Its ``create`` has waited."""

    def promote(self, agent: Agent, deadline: Deadline) -> None:
        raise UsageError(f"target {self.name} cannot be promoted here")

    demote = promote

    def status_lines(self, place: int) -> list[Line]:
        return self._target.backup_status_lines() if place else self._target.status_lines()

    def connected(self, status: Mapping[str, str]) -> bool:
        return all(holds(condition, status) for condition in self._connected)


def make_stack(
    options: RunOptions, image: MicroImage, outside: Outside | None, module: str
) -> Stack:
    """The stack of ``options``; ``module`` is where our own module is put in the guests."""
    if outside is not None:
        return NodeStack(OutsideNodes(outside, _ADDRESSES))
    encrypted = options.encryption is Encryption.ON
    if options.target == RollbaccineTarget.name:
        return NodeStack(RollbaccineNodes(module, encryption=encrypted))
    connected = ("cs==Connected",) if options.target.startswith("drbd") else ()
    return WholeStack(make_target(options.target, image), connected)
