"""The outcome of the latest run as plain values: rows, leaderboard, champion, value, segments.

`run --json` and `status --json` print these values; without `--json` they are printed as tables.
"""

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

from retail_pipeline import shared_queries
from retail_pipeline.postgres import Database, Role
from retail_pipeline.shared_queries import excluded_lines, file_losses, guest_sales

LAYERS = {
    "transactional": Role.LOADER,
    "warehouse": Role.READER,
    "clv": Role.READER,
    "quality": Role.LOADER,
}
"""The layers, with the role that reads each of them."""
_UNCOUNTED = (
    "default_horizon",
    "file_losses",
    "landed_streams",
    "migrations",
    "run_states",
    "source_state",
    "sync_jobs",
    "sync_states",
)

_LEADERBOARD = """
select
    model ->> 'model_name' as model_name,
    model ->> 'model_name' = decision.model_name as is_champion,
    (model ->> 'tests')::integer as tests,
    (model ->> 'tweedie_deviance')::float8 as deviance,
    (model ->> 'mae_over_mean')::float8 as mae_over_mean,
    (model ->> 'r2')::float8 as r2,
    (model ->> 'normalized_gini')::float8 as normalized_gini,
    (model ->> 'bias')::float8 as bias,
    (model ->> 'coverage_80')::float8 as coverage
from (
    select model_name, numbers from clv.model_decisions order by decided_at desc limit 1
) as decision
cross join lateral jsonb_array_elements(decision.numbers -> 'leaderboard') as model
"""

_CHAMPION = """
select d.model_name, d.model_version, d.validated, d.reason, d.as_of_date, d.horizon_days,
    coalesce(v.is_extrapolated, false) as is_extrapolated
from clv.model_decisions as d left join clv.model_versions as v using (model_version)
order by d.decided_at desc limit 1
"""

LATEST = """(as_of_date, horizon_days) = (
    select as_of_date, horizon_days from clv.predictions order by predicted_at desc limit 1
)"""

# The range is missing where the predictions are older than the table of totals.
_VALUE = f"""
select p.*, t.lower_80::float8, t.upper_80::float8, t.expected_buyers,
    t.actual_before::float8, t.predicted_year_ago::float8, t.actual_year_ago::float8,
    t.model_year_ago
from (
    select as_of_date, horizon_days, discount_rate, is_extrapolated,
        sum(predicted_value)::float8 as predicted_value,
        sum(discounted_value)::float8 as discounted_value,
        sum(predicted_margin)::float8 as predicted_margin,
        sum(discounted_margin)::float8 as discounted_margin
    from clv.predictions where {LATEST} group by 1, 2, 3, 4
) as p
left join clv.totals as t
    on (t.as_of_date, t.horizon_days, t.grouping) = (p.as_of_date, p.horizon_days, 'all')
"""

_SEGMENTS = f"""
select segment, customers, predicted_value, share_of_value, mean_probability_active
from clv.segments where {LATEST} order by predicted_value desc limit 6
"""


def read_summary(database: Database) -> dict[str, Any]:
    """Return the whole outcome, with None or an empty list for tables without rows.

    Args:
        database: The migrated warehouse.
    """
    rows = read_row_counts(database)
    database = database.as_role(Role.SCIENTIST)
    value = read_rows(database, _VALUE)
    champion = read_champion(database)
    is_built = {"fct_transactions", "fct_transaction_items"} <= rows["warehouse"].keys()
    return {
        "rows": rows,
        "losses": file_losses(database),
        "excluded": excluded_lines(database) if is_built else [],
        "guests": guest_sales(database) if is_built else None,
        # Means over the cut-offs that all models share; `tests` counts those of a seasonal model.
        "leaderboard": read_rows(database, _LEADERBOARD),
        "bias_by_cutoff": _biases(database, champion, value[0]["model_year_ago"] if value else ""),
        "champion": champion,
        "total": value[0] if value else None,
        "segments": read_rows(database, _SEGMENTS),
    }


def read_champion(database: Database) -> dict[str, Any] | None:
    """Return the latest decision on the served model; None if there is none yet."""
    decisions = read_rows(database, _CHAMPION)
    return decisions[0] if decisions else None


def _biases(
    database: Database, champion: Mapping[str, Any] | None, year_ago: str | None
) -> list[dict[str, Any]]:
    """Return the bias at each cut-off of the champion and of the model tested a year ago."""
    if champion is None:
        return []
    found = shared_queries.bias_by_cutoff(
        database,
        date.fromisoformat(champion["as_of_date"][:10]),
        champion["horizon_days"],
        dict.fromkeys([champion["model_name"], year_ago or ""]),
    )
    return list(json.loads(found.to_json(orient="records")))


def read_row_counts(database: Database) -> dict[str, dict[str, int]]:
    """Return the number of rows by layer and table, without internal tables."""
    tables = database.query(
        "select schemaname as layer, tablename as name from pg_tables "
        "where schemaname = any(%s) and tablename <> all(%s) "
        "and (tableowner = current_user or tableowner = any(%s)) order by 1, 2",
        [list(LAYERS), list(_UNCOUNTED), list(Role)],
    )
    found: dict[str, dict[str, int]] = {layer: {} for layer in LAYERS}
    for layer, name in tables.itertuples(index=False):
        reader = database.as_role(LAYERS[layer])
        rows = reader.query(f'select count(*) as n from "{layer}"."{name}"')
        found[layer][name] = int(rows["n"].iloc[0])
    return found


def read_rows(
    database: Database, statement: str, params: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Return the rows of a query as JSON values: dates as text, null for NaN."""
    found = database.query(statement, params)
    return list(json.loads(found.to_json(orient="records", date_format="iso")))
