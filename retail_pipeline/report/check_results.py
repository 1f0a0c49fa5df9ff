"""The results of a run's data checks, counted and in a sentence."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from retail_pipeline.report.document import Section, Table, counted


class Outcome(Enum):
    """How a check ended."""

    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class CheckResult:
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
    blocks: list[str | Table] = [summary(results)]
    failed = [
        [f"{each.asset}: {each.check}", each.outcome.value, each.description or "no words"]
        for each in results
        if each.outcome in (Outcome.WARNED, Outcome.FAILED)
    ]
    if failed:
        headers = ("Check", "Result", "Description")
        blocks.append(Table("A check that did not pass", headers, failed))
    counts = Counter((each.asset, each.outcome) for each in results)
    found = [outcome for outcome in Outcome if any(each.outcome is outcome for each in results)]
    rows = [
        [asset, *(str(counts[asset, outcome]) for outcome in found)]
        for asset in dict.fromkeys(each.asset for each in results)
    ]
    names = ("Asset", *(outcome.value.capitalize() for outcome in found))
    blocks.append(Table("An asset and its checks", names, rows, frozenset(range(1, 5))))
    return Section("Data checks", blocks)


def summary(results: Sequence[CheckResult]) -> str:
    """Return all results in one sentence."""
    counts = Counter(each.outcome for each in results)
    parts = [f"{counts[outcome]} {outcome.value}" for outcome in Outcome if counts[outcome]]
    text = f"Of {counted(len(results), 'check')}: {', '.join(parts)}."
    earlier = sum(not each.in_this_run and each.outcome is not Outcome.NOT_RUN for each in results)
    if earlier:
        are = "is" if earlier == 1 else "are"
        text += f" {earlier} of these results {are} of an earlier run."
    return text
