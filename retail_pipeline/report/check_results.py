"""The results of a run's data checks, counted and in a sentence."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from retail_pipeline.report.document import Block, Section, Table
from retail_pipeline.wording import counted

Outcome = Literal["passed", "warned", "failed", "not run"]
OUTCOMES: Final[Sequence[Outcome]] = ("passed", "warned", "failed", "not run")


class CheckResult(NamedTuple):
    """A check's latest result.

    Attributes:
        asset: The asset that it checks.
        check: Its name.
        outcome: How it ended.
        description: Its words, or nothing.
        in_this_run: Whether it was evaluated in the run of the report.
    """

    asset: str
    check: str
    outcome: Outcome
    description: str
    in_this_run: bool


def section(results: Sequence[CheckResult]) -> Section:
    """Return the section on data checks: those that did not pass, then every asset's counts."""
    if not results:
        return Section("Data checks", ["No check has been evaluated yet."])
    blocks: list[Block] = [summary(results)]
    failed = [
        [f"{each.asset}: {each.check}", each.outcome, each.description or "no words"]
        for each in results
        if each.outcome in ("warned", "failed")
    ]
    if failed:
        words = ("Check", "Result", "Description")
        blocks.append(Table("A check that did not pass", words, failed))
    found = [outcome for outcome in OUTCOMES if any(each.outcome == outcome for each in results)]
    counts = Counter((each.asset, each.outcome) for each in results)
    rows = [
        [asset, *(str(counts[asset, outcome]) for outcome in found)]
        for asset in dict.fromkeys(each.asset for each in results)
    ]
    headers = ("Asset", *(outcome.capitalize() for outcome in found))
    blocks.append(Table("An asset and its checks", headers, rows, frozenset(range(1, 5))))
    return Section("Data checks", blocks)


def summary(results: Sequence[CheckResult]) -> str:
    """Return all results in one sentence."""
    counts = Counter(each.outcome for each in results)
    parts = [f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome]]
    text = f"Of {counted(len(results), 'check')}: {', '.join(parts)}."
    earlier = sum(not each.in_this_run and each.outcome != "not run" for each in results)
    if earlier:
        are = "is" if earlier == 1 else "are"
        text += f" {earlier} of these results {are} of an earlier run."
    return text
