"""The key numbers at the top of the report."""

from collections.abc import Sequence

from retail_pipeline.report.check_results import CheckResult
from retail_pipeline.report.document import Facts
from retail_pipeline.report.facts import RunFacts
from retail_pipeline.wording import counted, number, share


def subtitle(run: RunFacts) -> str:
    """Return the subtitle of the report: its period and source."""
    return (
        f"Transactions to {run.data['last_day']:%Y-%m-%d}, and the value predicted for "
        f"{counted(run.horizon_days, 'day')} after {run.as_of}. Source: {run.source}."
    )


def facts(run: RunFacts, results: Sequence[CheckResult]) -> Facts:
    """Return the key numbers of the run.

    Args:
        run: Facts of the run.
        results: Results of the checks.
    """
    means = run.spread.set_index("metric")["mean"]
    best = run.segments.head(1).to_dict("records")
    passed = sum(each.outcome == "passed" for each in results)
    return Facts(
        [
            ("Customers predicted", number(run.predictions["customers"])),
            ("Predicted value", run.money(run.predictions["predicted_value"])),
            ("Expected to buy", counted(round(run.predictions["expected_active"]), "customer")),
            *(
                ("Largest segment by value", f"{row['segment']}: {share(row['share_of_value'])}")
                for row in best
            ),
            ("Served model", run.model_name + (", extrapolated" if run.is_extrapolated else "")),
            ("Ranking (normalized Gini, past)", number(means.get("normalized_gini"))),
            ("Past outcomes inside the 80 % interval", share(means.get("coverage_80"))),
            ("Checks passed", f"{passed} of {len(results)}"),
        ]
    )
