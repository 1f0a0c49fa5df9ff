"""Customer value as Dagster assets: read tables, call the pure modules, publish, attach metadata.

No modelling here: the steps and their order are those of `valuation`, with a table between each
two. scikit-learn and SciPy are imported while an asset runs only. The checks are in `checks`.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    Definitions,
    MaterializeResult,
    MetadataValue,
    ResourceParam,
    TableColumn,
    TableSchema,
    asset,
)

from retail_pipeline.clv.checks import build_checks
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database, Role
from retail_pipeline.run_window import RunWindow
from retail_pipeline.settings import Settings
from retail_pipeline.state import read_state

if TYPE_CHECKING:
    from retail_pipeline.clv.selection import Decision

GROUP = "clv"
OWNER = "team:data-science"

_FEATURES = AssetKey(["warehouse", "customer_features"])
_ENTRIES = AssetKey(["warehouse", "customer_day_entries"])
_TABLE_KINDS = {"python", "postgres"}
_MODEL_KINDS = {"python", "scikitlearn", "postgres"}


def build_clv() -> Definitions:
    """Return the assets and checks of customer lifetime value; contacts nothing."""
    assets = [training_set(), candidates(), backtest(), model(), predictions(), segments()]
    return Definitions(assets=assets, asset_checks=build_checks())


def training_set() -> AssetsDefinition:
    """Return the asset `clv/training_set`."""

    @_clv_asset("training_set", [_FEATURES, _ENTRIES], _TABLE_KINDS)
    def build(
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> MaterializeResult:
        """A customer at a past cut-off, with its features and the outcome that followed."""
        from retail_pipeline.clv import dataset

        started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
        as_of, horizon_days = _window(database, settings, run_window)
        cutoffs = dataset.training_cutoffs(_as_of_dates(database), as_of, horizon_days)
        frame = dataset.training_set(
            _features(database, [*cutoffs, as_of]), _entries(database, as_of), as_of, horizon_days
        )
        days = [name for name in (*dataset.DATES, "as_of_date") if name in frame]
        texts = [name for name in dataset.TEXTS if name in frame]
        typed = frame.assign(
            **{name: frame[name].dt.date for name in days},
            **{name: frame[name].astype("string") for name in texts},
        )
        rows = database.publish(
            "clv.training_set",
            _exact(typed, "future_value"),
            ["customer_id", "as_of_date", "horizon_days"],
            replace_where=f"horizon_days = {horizon_days}",
            create=True,
        )
        return _result(database, "clv.training_set", rows, started, cutoffs=_listed(cutoffs))

    return build


def candidates() -> AssetsDefinition:
    """Return the asset `clv/candidates`."""

    @_clv_asset("candidates", [AssetKey([GROUP, "training_set"]), _FEATURES], _MODEL_KINDS)
    def build(
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> MaterializeResult:
        """A model fitted as of this run's date, stored as plain parameters; a challenger so far."""
        from retail_pipeline.clv import dataset, store
        from retail_pipeline.clv.backtest import fit_candidates

        started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
        as_of, horizon_days = _window(database, settings, run_window)
        today = dataset.population(_features(database, [as_of]), as_of)
        labelled = dataset.prepare_features(
            database.read("clv.training_set", where="horizon_days = %s", params=[horizon_days])
        )
        fitted = fit_candidates(labelled, today, horizon_days)
        training = store.Training(
            as_of, horizon_days, read_state(database).data_version, datetime.now(UTC)
        )
        versions = store.save_candidates(database, fitted, training)
        table = pd.DataFrame(
            {
                "model": [c.model_name for c in fitted],
                "version": [versions.get(c.model_name, "-") for c in fitted],
                "training rows": [c.training_rows for c in fitted],
                "fit seconds": [round(c.seconds, 3) for c in fitted],
                "abstained": [str(c.abstention or "") for c in fitted],
            }
        )
        return _result(
            database,
            "clv.model_versions",
            len(versions),
            started,
            models=_markdown(table),
            fit_seconds=round(sum(c.seconds for c in fitted), 3),
        )

    return build


def backtest() -> AssetsDefinition:
    """Return the asset `clv/backtest`."""

    @_clv_asset(
        "backtest",
        [AssetKey([GROUP, "candidates"]), _FEATURES, _ENTRIES],
        _MODEL_KINDS,
    )
    def build(
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> MaterializeResult:
        """A model at a past cut-off: what it would have predicted, and how good that was."""
        from retail_pipeline.clv import backtest as backtesting
        from retail_pipeline.clv import dataset

        started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
        as_of, horizon_days = _window(database, settings, run_window)
        dates = _as_of_dates(database)
        cutoffs = dataset.training_cutoffs(dates, as_of, horizon_days)
        tested = backtesting.run(
            _features(database, dataset.dates_needed(dates, as_of, horizon_days)),
            _entries(database, as_of),
            as_of,
            horizon_days,
            cutoffs,
        )
        stale = f"horizon_days = {horizon_days}"
        database.publish(
            "clv.backtest_predictions",
            _exact(tested.predictions, "predicted_value", "lower_80", "upper_80", "actual_value"),
            ["model_name", "cutoff_date", "horizon_days", "customer_id"],
            replace_where=stale,
        )
        rows = database.publish(
            "clv.backtest_metrics",
            tested.metrics.assign(as_of_date=pd.Timestamp(as_of)),
            ["model_name", "cutoff_date", "horizon_days"],
            replace_where=stale,
        )
        return _result(
            database,
            "clv.backtest_metrics",
            rows,
            started,
            cutoffs=_listed(cutoffs),
            metrics=_markdown(_mean_metrics(tested.metrics)),
            abstentions=_markdown(_abstentions(tested.abstentions)),
            predictions=len(tested.predictions),
        )

    return build


def model() -> AssetsDefinition:
    """Return the asset `clv/model`."""

    @_clv_asset(
        "model",
        [AssetKey([GROUP, "candidates"]), AssetKey([GROUP, "backtest"])],
        _MODEL_KINDS,
    )
    def build(
        context: AssetExecutionContext,
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> MaterializeResult:
        """A decision on which model serves: the champion, with its numbers and the reason."""
        from retail_pipeline.clv import selection, store

        started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
        as_of, horizon_days = _window(database, settings, run_window)
        fitted = store.load_candidates(database, as_of, horizon_days)
        decision = selection.choose(
            _backtest_metrics(database, as_of, horizon_days),
            fitted,
            as_of,
            store.incumbent_of(database, as_of, horizon_days),
        )
        version = store.promote(database, decision, fitted, as_of, horizon_days, datetime.now(UTC))
        if not decision.validated:
            context.log.warning(decision.reason)
        return _result(
            database,
            "clv.model_decisions",
            1,
            started,
            champion=decision.model_name,
            model_version=version,
            validated=decision.validated,
            reason=decision.reason,
            incumbent=decision.incumbent,
            leaderboard=_markdown(_leaderboard(decision)),
        )

    return build


def predictions() -> AssetsDefinition:
    """Return the asset `clv/predictions`."""

    @_clv_asset("predictions", [AssetKey([GROUP, "model"]), _FEATURES], _TABLE_KINDS)
    def build(
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> MaterializeResult:
        """A customer's predicted value over the horizon, with interval, decile and segment."""
        from retail_pipeline.clv import dataset, store, valuation

        started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
        as_of, horizon_days = _window(database, settings, run_window)
        serving = store.load_serving(database, as_of, horizon_days)
        past = database.read(
            "clv.backtest_predictions",
            where="horizon_days = %s and model_name = %s",
            params=[horizon_days, serving.model.name],
        )
        today = dataset.population(_features(database, [as_of]), as_of)
        frame = valuation.score(serving.model, today, past, as_of).assign(
            model_version=serving.model_version, predicted_at=pd.Timestamp.now(UTC)
        )
        rows = database.publish(
            "clv.predictions",
            _exact(frame, "predicted_value", "lower_80", "upper_80"),
            ["customer_id", "as_of_date", "horizon_days"],
            replace_where=f"as_of_date = '{as_of}' and horizon_days = {horizon_days}",
        )
        return _result(
            database,
            "clv.predictions",
            rows,
            started,
            champion=serving.model.name,
            model_version=serving.model_version,
            predicted_total=float(frame["predicted_value"].sum()),
        )

    return build


def segments() -> AssetsDefinition:
    """Return the asset `clv/segments`."""

    @_clv_asset("segments", [AssetKey([GROUP, "predictions"])], _TABLE_KINDS)
    def build(
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> MaterializeResult:
        """A segment of customers: how many they are and how much value is predicted for them."""
        from retail_pipeline.clv.segments import summarise

        started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
        as_of, horizon_days = _window(database, settings, run_window)
        served = database.read(
            "clv.predictions",
            ["customer_id", "segment", "predicted_value", "probability_active"],
            where="as_of_date = %s and horizon_days = %s",
            params=[as_of, horizon_days],
        )
        if served.empty:
            raise PipelineError(
                f"there are no predictions as of {as_of} for {horizon_days} days: "
                "materialize clv/predictions first"
            )
        table = summarise(served.sort_values("customer_id", ignore_index=True))
        rows = database.publish(
            "clv.segments",
            _exact(
                table.assign(as_of_date=pd.Timestamp(as_of), horizon_days=horizon_days),
                "predicted_value",
                "mean_predicted_value",
            ),
            ["as_of_date", "horizon_days", "segment"],
            replace_where=f"as_of_date = '{as_of}' and horizon_days = {horizon_days}",
        )
        return _result(database, "clv.segments", rows, started, segments=_markdown(table.round(3)))

    return build


def _clv_asset(
    name: str, deps: Sequence[AssetKey], kinds: set[str]
) -> Callable[[Callable[..., MaterializeResult]], AssetsDefinition]:
    """Return `asset` with what all assets of this room share; the docstring is the description."""
    return asset(
        key=AssetKey([GROUP, name]),
        deps=deps,
        group_name=GROUP,
        owners=[OWNER],
        kinds=kinds,
    )


def _window(database: Database, settings: Settings, run_window: RunWindow) -> tuple[date, int]:
    return run_window.landed_as_of(settings, database), run_window.horizon(settings)


def _as_of_dates(database: Database) -> list[date]:
    dates = database.query("select distinct as_of_date from warehouse.customer_features")
    return [pd.Timestamp(day).date() for day in dates["as_of_date"]]


def _features(database: Database, dates: Sequence[date]) -> pd.DataFrame:
    from retail_pipeline.clv.dataset import prepare_features

    return prepare_features(
        database.read(
            "warehouse.customer_features", where="as_of_date = any(%s)", params=[list(dates)]
        )
    )


def _entries(database: Database, as_of: date) -> pd.DataFrame:
    from retail_pipeline.clv.dataset import ENTRY_COLUMNS, prepare_entries

    return prepare_entries(
        database.read(
            "warehouse.customer_day_entries",
            ENTRY_COLUMNS,
            where="date_day < %s and known_date < %s",
            params=[as_of, as_of],
        )
    )


def _backtest_metrics(database: Database, as_of: date, horizon_days: int) -> pd.DataFrame:
    """Return the metrics at the cut-offs that are due at this date; older rows do not vote."""
    from retail_pipeline.clv.dataset import training_cutoffs

    frame = database.read(
        "clv.backtest_metrics",
        where="horizon_days = %s order by cutoff_date, model_name",
        params=[horizon_days],
    )
    due = training_cutoffs(_as_of_dates(database), as_of, horizon_days)
    return frame[frame["cutoff_date"].isin([pd.Timestamp(day) for day in due])]


def _exact(frame: pd.DataFrame, *money: str) -> pd.DataFrame:
    """Return the frame with money as shortest exact decimals.

    PostgreSQL casts a double to numeric by 15 digits, so a value would not come back as it went.
    """
    return frame.assign(
        **{name: frame[name].map(_shortest_decimal).astype("string") for name in money}
    )


def _shortest_decimal(value: float) -> str:
    return repr(float(value))


def _result(
    database: Database, table: str, rows: int, started: float, **metadata: Any
) -> MaterializeResult:
    """Return the materialization with row count, column schema, seconds and what is given."""
    return MaterializeResult(
        metadata={
            "dagster/row_count": rows,
            "dagster/column_schema": _schema(database, table),
            "dagster/table_name": table,
            "seconds": round(time.monotonic() - started, 3),
            **metadata,
        }
    )


def _schema(database: Database, table: str) -> TableSchema:
    """Return a table's columns with their comments; feature columns borrow the mart's."""
    columns = database.query(
        "select own.attname as name, format_type(own.atttypid, own.atttypmod) as type, "
        "coalesce(col_description(own.attrelid, own.attnum), "
        "col_description(mart.attrelid, mart.attnum)) as description "
        "from pg_attribute as own left join pg_attribute as mart "
        "on mart.attrelid = to_regclass('warehouse.customer_features') "
        "and mart.attname = own.attname "
        "where own.attrelid = %s::regclass and own.attnum > 0 and not own.attisdropped "
        "order by own.attnum",
        [table],
    )
    return TableSchema(
        [
            TableColumn(name=row["name"], type=row["type"], description=row["description"] or None)
            for row in columns.to_dict("records")
        ]
    )


def _mean_metrics(metrics: pd.DataFrame) -> pd.DataFrame:
    from retail_pipeline.clv.metrics import METRICS

    means = metrics.groupby("model_name").agg(
        cutoffs=("cutoff_date", "nunique"), **{name: (name, "mean") for name in METRICS}
    )
    return means.round(3).sort_values("tweedie_deviance").reset_index()


def _leaderboard(decision: "Decision") -> pd.DataFrame:
    board = decision.leaderboard
    return board.round(dict.fromkeys(board.select_dtypes("number").columns, 3))


def _abstentions(by_cutoff: dict[date, Any]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"cutoff": cutoff.isoformat(), "model": who.model_name, "reason": who.reason}
            for cutoff, abstained in by_cutoff.items()
            for who in abstained
        ],
        columns=["cutoff", "model", "reason"],
    )


def _markdown(table: pd.DataFrame) -> MetadataValue:
    lines = [list(map(str, table.columns)), ["---"] * len(table.columns)]
    lines += [["" if pd.isna(cell) else str(cell) for cell in row] for row in table.to_numpy()]
    return MetadataValue.md("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _listed(cutoffs: Sequence[date]) -> str:
    return ", ".join(cutoff.isoformat() for cutoff in cutoffs) or "none has a complete outcome"
