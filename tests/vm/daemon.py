# SPDX-License-Identifier: Apache-2.0
"""A libvirt daemon for a test, which shares no file, socket or network with that of the host.

As root it is a system daemon in a mount namespace of its own: QEMU runs as the user of a packaged
daemon, and the usual folders are there, but are folders of the test. Without root it is the user's.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.deadline import Deadline

_SHARED_WITH_NOBODY = ("/etc/libvirt", "/var/lib/libvirt", "/run/libvirt", "/var/cache/libvirt",
                       "/var/log/libvirt")  # fmt: skip
_QEMU_CONF = 'stdio_handler = "file"\nnamespaces = []\ncgroup_controllers = []\n'
_START_S = 60.0


@dataclass
class Daemon:
    """A daemon that can be killed and started again; its folders stay as they were."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    """For commands that are to use it."""

    @property
    def uri(self) -> str:
        driver = "system" if os.geteuid() == 0 else "session"
        return f"qemu:///{driver}?socket={self._socket}"

    @property
    def _socket(self) -> Path:
        if os.geteuid() == 0:
            return self.folder / "run-libvirt" / "libvirt-sock"
        return self.folder / "runtime" / "libvirt" / "libvirt-sock"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._socket.unlink(missing_ok=True)
        command = self._as_system() if os.geteuid() == 0 else self._as_session()
        log = open(self.folder / "daemon.log", "ab")  # noqa: SIM115 - closed below
        with log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **self.environment}, start_new_session=True,
            )  # fmt: skip
        deadline = Deadline.after(_START_S, "the test's libvirt daemon to listen")
        while not self._socket.exists():
            assert self.process.poll() is None, (self.folder / "daemon.log").read_text()
            assert not deadline.expired, str(deadline)

    def kill(self) -> None:
        """End it as a crash of its host would, but for its guests, which go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it in order."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=_START_S)

    def _as_system(self) -> list[str]:
        (self.folder / "libvirtd.conf").write_text(
            'unix_sock_dir = "/run/libvirt"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n'
        )
        mounts = []
        for path in _SHARED_WITH_NOBODY:
            own = self.folder / path.strip("/").replace("/", "-")
            own.mkdir(exist_ok=True)
            own.chmod(0o755)
            mounts.append(f"mkdir -p {path}; mount --bind {own} {path}")
        (self.folder / "etc-libvirt" / "qemu.conf").write_text(_QEMU_CONF)
        if Path("/dev/kvm").exists():
            # One that QEMU's user may open: else the daemon would probe QEMU at every start.
            node = self.folder / "kvm"
            mounts.append(f"[ -e {node} ] || mknod -m 666 {node} c 10 232")
            mounts.append(f"mount --bind {node} /dev/kvm")
        mounts.append(f"exec libvirtd --config {self.folder}/libvirtd.conf"
                      f" --pid-file {self.folder}/pid")  # fmt: skip
        return ["unshare", "--mount", "sh", "-ec", "\n".join(mounts)]

    def _as_session(self) -> list[str]:
        for name in ("runtime", "config", "cache", "home"):
            (self.folder / name).mkdir(mode=0o700, exist_ok=True)
        settings = self.folder / "config" / "libvirt"
        settings.mkdir(exist_ok=True)
        (settings / "qemu.conf").write_text(_QEMU_CONF)
        self.environment = {
            "XDG_RUNTIME_DIR": str(self.folder / "runtime"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "HOME": str(self.folder / "home"),
        }
        return ["libvirtd", "--pid-file", str(self.folder / "pid")]


@contextmanager
def ssh_to(daemon: Daemon) -> Iterator[str]:
    """The address of ``daemon`` over ssh, by a server that lets in one key, on the loopback."""
    folder = daemon.folder / "ssh"
    folder.mkdir(mode=0o700)
    for name in ("host", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name],
                       check=True)  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [f"{name}={value}" for name, value in daemon.environment.items()]
    lines = [
        "ListenAddress 127.0.0.1", f"Port {port}", f"HostKey {folder}/host", "PidFile none",
        f"AuthorizedKeysFile {folder}/key.pub", "StrictModes no", "UsePAM no",
        "PasswordAuthentication no", "PermitRootLogin prohibit-password",
        *([f"SetEnv {' '.join(words)}"] if words else []),
    ]  # fmt: skip
    (folder / "config").write_text("\n".join(lines) + "\n")
    serve = ["/usr/sbin/sshd", "-D", "-f", str(folder / "config"), "-E", str(folder / "log")]
    if os.geteuid() == 0:
        # Where the daemon's socket has its usual name.
        assert daemon.process is not None
        serve = ["nsenter", "--mount", f"--target={daemon.process.pid}", *serve]
        Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen(serve, stdin=subprocess.DEVNULL)
    try:
        _await_listener(server, port)
        driver = "system" if os.geteuid() == 0 else "session"
        yield (
            f"qemu+ssh://{getpass.getuser()}@127.0.0.1:{port}/{driver}"
            f"?keyfile={folder}/key&no_verify=1&known_hosts=/dev/null"
        )
    finally:
        server.terminate()
        server.wait(timeout=_START_S)


def _await_listener(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = Deadline.after(_START_S, "sshd to listen")
    while True:
        assert server.poll() is None, "sshd has ended"
        assert not deadline.expired, str(deadline)
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            continue
        return


@contextmanager
def private_daemon() -> Iterator[Daemon]:
    """A daemon that runs, in a folder with a short name; both go at the end."""
    folder = Path(tempfile.mkdtemp(prefix="hlv-"))
    folder.chmod(0o755)
    daemon = Daemon(folder)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()
        shutil.rmtree(folder)
