# SPDX-License-Identifier: Apache-2.0
"""``harness check``: judge the evidence of a stored run again, without a machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from ace_workloads.jlang import JlangError, parse_run_section
from ace_workloads.ops import Step
from harness.model.case import CaseResult
from harness.model.evidence import CaseEvidence
from harness.model.verdict import Check, Verdict, merge
from harness.report.load import Run, load_run
from harness.report.summary import EXIT_MEANING, Summary, headline

Judge = Callable[[Sequence[Step], str, CaseEvidence, bool], tuple[Check, ...]]
"""(steps, file system, evidence, whether the target is replicated) -> checks."""

RECORDED_RULES = ("run/", "store/")
"""Prefixes of checks made while running or reading, not from evidence: they are carried over."""


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.pass_context
def check(context: click.Context, run: Path) -> None:
    """Judge the recorded evidence of RUN again and show each case whose verdict differs.

    RUN is the folder of a run, such as reports/ace-seq1/latest; nothing in it is changed. Exit
    status, by the new verdicts: 0 all pass, 1 findings, 2 some unknown (planned cases without a
    result are), 3 infrastructure errors.
    """
    stored = load_run(run)

    from harness.oracle import judge_case
    from harness.target.linear import LinearTarget

    summary = Summary(planned=stored.info.planned)
    changed = 0
    for old in stored.results():
        new = rejudge(old, judge_case, replicated=old.case_id.target != LinearTarget.name)
        summary.add(new)
        if new.outcome is not old.outcome:
            changed += 1
            click.echo(f"{old.case_id}: {old.outcome} -> {new.outcome}  {headline(new)}".rstrip())
    _conclude(context, stored, summary, changed)


def _conclude(context: click.Context, stored: Run, summary: Summary, changed: int) -> None:
    if stored.torn_bytes:
        click.echo(f"the last result was cut off after {stored.torn_bytes} bytes and is missing")
    if summary.missing:
        click.echo(f"{summary.missing} of {summary.planned} planned cases have no result")
    click.echo(f"{summary.done} cases judged again, {changed} with another verdict")
    click.echo(summary.counts_text())
    code = summary.exit_code()
    click.echo(f"exit code {code}: {EXIT_MEANING[code]}")
    context.exit(code)


def rejudge(result: CaseResult, judge: Judge, *, replicated: bool) -> CaseResult:
    """``result`` with the checks and verdict that ``judge`` gives its evidence.

    A case that ended without a verdict, or was skipped, stays as it is. Evidence that is missing,
    or that the judge cannot cope with, makes the case unknown, whatever it was before.
    """
    if result.verdict in (None, Verdict.SKIPPED):
        return result
    carried = tuple(old for old in result.checks if old.rule.startswith(RECORDED_RULES))
    checks = _judged(result, judge, replicated) + carried
    return dataclasses.replace(result, checks=checks, verdict=merge(c.verdict for c in checks))


def _judged(result: CaseResult, judge: Judge, replicated: bool) -> tuple[Check, ...]:
    if result.evidence is None:
        return (_unknown("no evidence was recorded"),)
    try:
        steps = parse_run_section(result.jlang)
        return judge(steps, result.case_id.fs, result.evidence, replicated)
    except JlangError as err:
        return (_unknown(f"the recorded workload cannot be read: {err}"),)
    except Exception as err:
        # A checker that raises has said nothing about the target, least of all that it is sound.
        return (_unknown(f"the oracle failed: {type(err).__name__}: {err}"),)


def _unknown(message: str) -> Check:
    return Check("check/judged", Verdict.UNKNOWN, message=message)
