"""The few numbers at the head of the report."""

from collections.abc import Sequence

import pandas as pd

from retail_pipeline.report.check_results import CheckResult, Outcome
from retail_pipeline.report.document import MISSING, Facts, counted, number
from retail_pipeline.report.facts import RunFacts


def subtitle(facts: RunFacts) -> str:
    """Return the period and the source of the report, in a sentence."""
    last = str(facts.data["last_day"])[:10]
    return (
        f"Transactions to {last}, and the value predicted for "
        f"{counted(facts.horizon_days, 'day')} after {facts.as_of}. Source: {facts.source}."
    )


def facts(run: RunFacts, results: Sequence[CheckResult]) -> Facts:
    """Return the numbers that most readers want.

    Args:
        run: The run's facts.
        results: Of the checks.
    """
    means = run.spread.set_index("metric")["mean"].to_dict()
    passed = sum(each.outcome is Outcome.PASSED for each in results)
    best = run.segments.iloc[0] if len(run.segments) else None
    items = [
        ("Customers predicted", number(run.predictions["customers"])),
        ("Predicted value", run.money(run.predictions["predicted_value"])),
        ("Expected to buy", counted(round(run.predictions["expected_active"]), "customer")),
        ("Served model", run.model_name + (", extrapolated" if run.is_extrapolated else "")),
        ("Ranking (normalized Gini, past)", number(means.get("normalized_gini"))),
        ("Past outcomes inside the 80 % interval", _share(means.get("coverage_80"))),
        ("Checks passed", f"{passed} of {len(results)}"),
    ]
    if best is not None:
        items.insert(
            3, ("Largest segment by value", f"{best['segment']}: {best['share_of_value']:.0%}")
        )
    return Facts(items)


def _share(value: float | None) -> str:
    return MISSING if value is None or pd.isna(value) else f"{value:.0%}"
