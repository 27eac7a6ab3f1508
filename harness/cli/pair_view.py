# SPDX-License-Identifier: Apache-2.0
"""What a person sees of a pair that stays up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.report.finding_tables import plain_table
from harness.report.xmltext import one_line

Json = Mapping[str, Any]
_CELL_CHARS = 120
_LINE_CHARS = 200
_COUNTERS = ("issued", "acked", "received", "applied", "durable")
_POWER_STYLE = {"on": "green", "off": "yellow", "ended": "bold red"}
_SHOWN_REPORTS = 5
_MIB = 1 << 20


def next_steps(status: Json) -> str:
    """What to do with a pair that has just come up, in four lines."""
    name = status["name"]
    option = "" if name == "dev" else f" --name {name}"
    look = f"harness pair shell{option} primary"
    if status["kind"] == "micro":
        look = f"harness pair run{option} primary -- COMMAND..."
    lines = [
        (f"harness pair status{option}", "guests, link, target, and the module that is loaded"),
        (look, f"the device is {status['device']}"),
        (f"harness pair reload{option}", "build what you have changed, and load that"),
        (f"harness pair down{option}", "end it"),
    ]
    width = max(len(command) for command, _ in lines)
    steps = "\n".join(f"  {command:{width}}  {what}" for command, what in lines)
    return f"pair {name!r} is up: target {status['target']} is connected\n{steps}"


def status_view(console: Console, status: Json, now_unix_s: float) -> None:
    """Print ``status`` as of the keeper's answer."""
    console.print(_head(status))
    if status["busy"]:
        console.print(Text(f"busy: {status['busy']}", style="yellow"))
    console.print(_guests(status, now_unix_s))
    for name, guest in status["guests"].items():
        for line in _troubles(guest):
            console.print(Text(f"{name}: {line}"), soft_wrap=True)
    console.print(_nodes(status))
    for each in _modules(status):
        console.print(each, soft_wrap=True)


def _head(status: Json) -> Text:
    text = Text(f"pair {status['name']}: target {status['target']} on {status['device']},"
                f" {status['bytes'] // _MIB} MiB, ")  # fmt: skip
    connected = status["connected"]
    text.append(
        "connected" if connected else "not connected", style="green" if connected else "bold red"
    )
    cut = status["link"] == "cut"
    text.append(f"; link {status['link']}", style="bold red" if cut else "")
    text.append(f"; {status['kind']} {status['profile']}, {status['accelerator']}")
    return text


def _guests(status: Json, now_unix_s: float) -> Any:
    table = plain_table("", "guest", "power", ">for", ">boots", "kernel", "console")
    table.title = None
    for name, guest in status["guests"].items():
        power = guest["power"]
        table.add_row(
            name,
            Text(power, style=_POWER_STYLE.get(power, "")),
            _span(now_unix_s - guest["since_unix_s"]),
            str(guest["boots"]),
            _cell(guest["kernel"]),
            _cell(guest["console"]),
        )
    return table


def _nodes(status: Json) -> Any:
    table = plain_table("", "node", "role", "state", *(f">{key}" for key in _COUNTERS), "modules")
    table.title = None
    for name, guest in status["guests"].items():
        node = guest["node"] or {"status": {}, "loaded": {}, "problem": "not known"}
        values = node["status"]
        state = values.get("state", values.get("cs", node["problem"] or "-"))
        connected = node.get("connected", False)
        table.add_row(
            name,
            _cell(values.get("role", "-")),
            Text(one_line(state, _CELL_CHARS), style="green" if connected else "bold red"),
            *(_cell(values.get(key, "-")) for key in _COUNTERS),
            _cell(", ".join(_loaded(*each) for each in node["loaded"].items()) or "-"),
        )
    return table


def _loaded(name: str, module: Json) -> str:
    return " ".join(filter(None, (name, module.get("version"), module.get("srcversion"))))


def _troubles(guest: Json) -> list[str]:
    lines = []
    if guest["running"]:
        lines.append(f"running {one_line(guest['running'], _LINE_CHARS)}")
    if guest["power"] == "ended":
        lines.append("it has ended by itself; its console ends with:")
        lines += [f"  {one_line(line, _LINE_CHARS)}" for line in guest["tail"]]
    reports = guest["reports"]
    if reports:
        lines.append(f"{len(reports)} kernel reports, the last ones:")
        lines += [
            f"  {one_line(report.splitlines()[0], _LINE_CHARS)}"
            for report in reports[-_SHOWN_REPORTS:]
        ]
    return lines


def _modules(status: Json) -> list[Text]:
    if not status["built"]:
        return []
    lines = [Text(f"built from {status['source']}")]
    for module in status["built"]:
        version = f" {module['version']}" if module["version"] else ""
        line = f"  {module['name']}{version} {module['srcversion'] or '(no srcversion)'}"
        lines.append(Text(one_line(f"{line} sha256 {module['sha256'][:12]}", _LINE_CHARS)))
    return lines


def _cell(text: str) -> Text:
    return Text(one_line(text, _CELL_CHARS))


def _span(seconds: float) -> str:
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
