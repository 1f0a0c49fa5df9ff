"""What the checks of a run said, counted and told. Where verdicts come from is not known here."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from retail_pipeline.report.document import (
    Section,
    Table,
    counted,
)


class Outcome(Enum):
    """How a check ended."""

    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Verdict:
    """A check's latest evaluation.

    Attributes:
        asset: The asset it looks at.
        check: Its name.
        outcome: How it ended.
        description: What it said, or nothing.
        in_this_run: Whether it was evaluated in the run of the report.
    """

    asset: str
    check: str
    outcome: Outcome
    description: str
    in_this_run: bool


def section(verdicts: Sequence[Verdict]) -> Section:
    """Return the section on data checks: what did not pass first, then every asset's count."""
    if not verdicts:
        return Section("Data checks", ["No check has been evaluated yet."])
    blocks: list[str | Table] = [summary(verdicts)]
    doubtful = [each for each in verdicts if each.outcome in (Outcome.WARNED, Outcome.FAILED)]
    if doubtful:
        rows = [
            [f"{each.asset}: {each.check}", each.outcome.value, each.description or "no words"]
            for each in doubtful
        ]
        blocks.append(
            Table("A check that did not pass", ("Check", "Verdict", "What it says"), rows)
        )
    met = [outcome for outcome in Outcome if any(each.outcome is outcome for each in verdicts)]
    rows = [
        [asset, *(str(sum(v.asset == asset and v.outcome is o for v in verdicts)) for o in met)]
        for asset in dict.fromkeys(each.asset for each in verdicts)
    ]
    headers = ("Asset", *(outcome.value.capitalize() for outcome in met))
    blocks.append(Table("An asset and its checks", headers, rows, frozenset(range(1, 5))))
    return Section("Data checks", blocks)


def summary(verdicts: Sequence[Verdict]) -> str:
    """Return all verdicts in one sentence."""
    parts = []
    for outcome in Outcome:
        count = sum(each.outcome is outcome for each in verdicts)
        if count:
            parts.append(f"{count} {outcome.value}")
    earlier = sum(not each.in_this_run and each.outcome is not Outcome.NOT_RUN for each in verdicts)
    told = f"Of {counted(len(verdicts), 'check')}: {', '.join(parts)}."
    if earlier:
        are = "is" if earlier == 1 else "are"
        told += f" {earlier} of these verdicts {are} of an earlier run."
    return told
