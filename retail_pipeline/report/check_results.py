"""The section on data checks: counts of results, and the checks that did not pass."""

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
        asset: The checked asset.
        check: Name of the check.
        outcome: One of `OUTCOMES`.
        description: The check's description of its result; may be empty.
        in_this_run: Whether the check was evaluated in the run of the report.
    """

    asset: str
    check: str
    outcome: Outcome
    description: str
    in_this_run: bool


def section(results: Sequence[CheckResult]) -> Section:
    """Return the section on data checks: those that did not pass, then counts per asset."""
    if not results:
        return Section("Data checks", ["No check has been evaluated yet."])
    blocks: list[Block] = [summary(results)]
    failed = [
        [f"{each.asset}: {each.check}", each.outcome, each.description or "no description"]
        for each in results
        if each.outcome in ("warned", "failed")
    ]
    if failed:
        words = ("Check", "Result", "Description")
        blocks.append(Table("Checks that did not pass", words, failed))
    found = [outcome for outcome in OUTCOMES if any(each.outcome == outcome for each in results)]
    counts = Counter((each.asset, each.outcome) for each in results)
    rows = [
        [asset, *(str(counts[asset, outcome]) for outcome in found)]
        for asset in dict.fromkeys(each.asset for each in results)
    ]
    headers = ("Asset", *(outcome.capitalize() for outcome in found))
    blocks.append(Table("Check results per asset", headers, rows, frozenset(range(1, 5))))
    return Section("Data checks", blocks)


def summary(results: Sequence[CheckResult]) -> str:
    """Return the counts of all results in one or two sentences."""
    counts = Counter(each.outcome for each in results)
    parts = [f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome]]
    text = f"Of {counted(len(results), 'check')}: {', '.join(parts)}."
    earlier = sum(not each.in_this_run and each.outcome != "not run" for each in results)
    if earlier:
        are = "is" if earlier == 1 else "are"
        text += f" {earlier} of these results {are} from an earlier run."
    return text
