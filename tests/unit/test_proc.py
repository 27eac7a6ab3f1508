# SPDX-License-Identifier: Apache-2.0
"""Programs that end well, badly or not at all; the state directory; deadlines."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from harness import config, proc
from harness.config import CHECKOUT, reports_dir, state_dir
from harness.deadline import Deadline
from harness.errors import EXIT_INFRA, UsageError


def python(code: str, **more: object) -> str:
    return proc.run([sys.executable, "-c", code], what="a test", timeout_s=20, **more)  # type: ignore[arg-type]


def test_output_of_both_streams() -> None:
    text = "import sys; print('out', flush=True); print('err', file=sys.stderr)"
    assert python(text) == "out\nerr\n"


def test_input_is_what_it_is_fed_and_ends() -> None:
    assert python("import sys; print(sys.stdin.read())") == "\n"
    assert python("import sys; print(sys.stdin.read())", feed=b"a\nb") == "a\nb\n"


def test_bytes_that_are_no_text_do_no_harm() -> None:
    assert "\N{REPLACEMENT CHARACTER}" in python(r"import sys; sys.stdout.buffer.write(b'\xff')")


def test_a_missing_program_is_named_with_the_way_out() -> None:
    with pytest.raises(proc.ToolError, match="building x: program no-such-tool is not inst") as e:
        proc.run(["no-such-tool"], what="building x", timeout_s=1, hint="is the mirror there?")
    assert e.value.hint == "run 'make setup'"
    assert e.value.exit_code == EXIT_INFRA


def test_a_missing_folder_is_not_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(proc.ToolError, match="cannot start") as caught:
        python("", cwd=tmp_path / "none")
    assert "not installed" not in str(caught.value)


def test_a_program_that_may_not_be_run(tmp_path: Path) -> None:
    with pytest.raises(proc.ToolError, match="cannot start"):
        proc.run([tmp_path], what="a test", timeout_s=1)


def test_a_failure_shows_status_command_and_last_lines() -> None:
    with pytest.raises(proc.ToolError) as caught:
        python("import sys; [print('line', n) for n in range(99)]; sys.exit(3)", hint="do this")
    first, *rest = str(caught.value).splitlines()
    assert first.startswith(f"a test failed (status 3): {sys.executable} -c 'import sys;")
    assert (rest[-1], len(rest)) == ("line 98", 15)
    assert caught.value.hint == "do this"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (f"import os; os.kill(os.getpid(), {signal.SIGSEGV.value})", "killed by SIGSEGV"),
        (f"import os; os.kill(os.getpid(), {signal.SIGRTMIN + 3})", "killed by signal"),
        ("import sys; sys.exit(127)", "status 127, a program it needs was not found"),
    ],
)
def test_how_a_program_ended(code: str, said: str) -> None:
    with pytest.raises(proc.ToolError, match=said):
        python(code)


def test_a_program_that_does_not_end() -> None:
    with pytest.raises(proc.ToolError, match=r"building x: no end after 0 s: .*read"):
        proc.run(
            [sys.executable, "-c", "import os; os.read(os.pipe()[0], 1)"], what="building x",
            timeout_s=0.2,
        )  # fmt: skip


def test_a_full_disk_is_seen_in_what_a_program_says() -> None:
    with pytest.raises(proc.ToolError) as caught:
        python("import sys; sys.exit('tar: x: No space left on device')", hint="another mirror?")
    assert caught.value.hint == proc.NO_SPACE_HINT


def test_the_environment_is_the_one_given() -> None:
    code = "import os; print(os.environ.get('HOME'), os.environ['ONLY'])"
    assert python(code, env={"ONLY": "this"}) == "None this\n"


def test_the_state_directory_by_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("HARNESS_STATE_DIR", raising=False)
    assert state_dir().path == tmp_path / "xdg" / "harness"
    monkeypatch.setenv("HARNESS_STATE_DIR", str(tmp_path / "own"))
    assert state_dir().path == tmp_path / "own"
    assert state_dir(tmp_path / "asked").path == tmp_path / "asked"
    monkeypatch.delenv("HARNESS_STATE_DIR")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert state_dir().path == tmp_path / "home" / ".local" / "state" / "harness"


def test_the_state_directory_is_made_and_nothing_in_it(tmp_path: Path) -> None:
    state = state_dir(tmp_path / "a" / "b")
    assert list(state.path.iterdir()) == []
    assert {state.cache.parent, state.live.parent} == {state.path}
    assert state.cache != state.live


def test_a_cache_on_another_disk_is_named_without_links(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "cache").symlink_to("../disk")
    assert state_dir(tmp_path / "state").cache == (tmp_path / "disk").resolve()


def test_a_state_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below", "~no-such-user-here/x"):
        with pytest.raises(UsageError, match="state directory"):
            state_dir(path)


def test_a_state_directory_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write anywhere: the answer of access(2) is what is looked at.
    monkeypatch.setattr(config.os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(UsageError, match="not writable") as caught:
        state_dir(tmp_path)
    assert "--state-dir" in str(caught.value.hint)


def test_reports_lie_in_the_checkout_unless_told(tmp_path: Path) -> None:
    assert reports_dir() == CHECKOUT / "reports"
    assert reports_dir(tmp_path / "x") == tmp_path / "x"


def test_a_part_never_outlives_the_whole() -> None:
    whole = Deadline.after(10, "the case to end")
    assert whole.within(3, "fsck").at_s < whole.at_s
    longer = whole.within(60, "fsck")
    assert (longer.at_s, str(longer)) == (whole.at_s, "fsck (given 10 s)")
    assert not whole.expired
    past = Deadline.after(-1)
    assert past.expired
    assert past.remaining == 0
