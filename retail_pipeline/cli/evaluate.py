"""The command `evaluate`: predicted against actual value of a file's customers at a cut-off."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from retail_pipeline.cli import file_options
from retail_pipeline.cli.terminal import (
    check_output,
    open_console,
    print_json,
    print_line,
    print_table,
    stop_like_ctrl_c,
    unvalidated_mark,
)
from retail_pipeline.files import replaced_whole
from retail_pipeline.settings import LONGEST_HORIZON_DAYS, Settings, parse_as_of, parse_file
from retail_pipeline.shared_queries import excluded_in_words, guests_in_words, losses_in_words

if TYPE_CHECKING:
    from retail_pipeline.evaluation import Evaluation

_TABLES = {
    "Totals and errors": {
        "total_predicted": "predicted_total",
        "total_actual": "actual_total",
        "bias": "bias",
        "MAE": "mae",
        "MAE_÷ mean": "mae_over_mean",
        "R2": "r2",
    },
    "Ranking and groups": {
        "normalized_Gini": "normalized_gini",
        "Spearman": "spearman",
        "in top_tenth": "top_decile_capture",
        "Tweedie_deviance": "tweedie_deviance",
        "error of_tenths": "decile_calibration",
    },
    "Intervals and purchases": {
        "inside_80 %": "coverage_80",
        "below_it": "below_80",
        "above_it": "above_80",
        "Brier_score": "brier_score",
        "P(active)_error": "reliability_gap",
    },
}
"""The columns of each table, as heading and metric; a table is at most 80 characters wide."""

_FIGURES = (".png", ".svg", ".pdf")
_WRITERS = {".parquet": "to_parquet", ".csv": "to_csv"}


def _model_names() -> list[str]:
    from retail_pipeline.clv.models.registry import MODELS

    return [*MODELS, "all"]


def evaluate(
    transactions: Annotated[
        str, typer.Option(help="A file of order lines: CSV, Parquet, Excel, JSON.")
    ],
    cutoff: Annotated[str, typer.Option(help="Models use lines before this date (YYYY-MM-DD).")],
    horizon_days: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=LONGEST_HORIZON_DAYS,
            help="Days after the cut-off to predict; default: RETAIL_HORIZON_DAYS.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Name of a model, or all; default: the model that a run would serve.",
            autocompletion=_model_names,
        ),
    ] = None,
    columns: file_options.Columns = None,
    profile: file_options.Profile = None,
    date_order: file_options.DateOrderOption = None,
    decimal: file_options.Decimal = None,
    accept_loss: file_options.AcceptLoss = None,
    missing_customer_words: file_options.MissingCustomerWords = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the predictions to a .parquet or .csv file.")
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(help="Write a figure of the result to a .png, .svg or .pdf file."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Predict the value of a file's customers at a cut-off and compare it with the actual value.

    The model that a run would serve: `retail-pipeline evaluate --transactions sales.csv --cutoff
    2011-06-01`

    All models, for a script: `retail-pipeline evaluate --transactions sales.csv --cutoff
    2011-06-01 --model all --output predicted.parquet --json`
    """
    check_output("--output", output, _WRITERS)
    check_output("--figure", figure, _FIGURES)
    settings = Settings.from_environment()
    day = parse_as_of(cutoff, "--cutoff", settings.time_zone)
    horizon = horizon_days or settings.horizon_days

    source = parse_file(
        transactions,
        "--transactions",
        columns=columns,
        profile=profile,
        date_order=date_order,
        decimal=decimal,
        accept_loss=accept_loss,
        missing_customer_words=missing_customer_words,
    )

    from retail_pipeline.evaluation import evaluate_file

    stop_like_ctrl_c()
    with Console(stderr=True).status("evaluating …"):
        result = evaluate_file(settings, source, cutoff=day, horizon_days=horizon, model=model)
    if output is not None:
        with replaced_whole(output) as draft:
            getattr(result.predictions, _WRITERS[output.suffix])(draft, index=False)
    if figure is not None:
        result.draw(figure, source.path.name)
    outcome = _outcome(result)
    if as_json:
        print_json(outcome)
    else:
        _print(outcome, {"predictions": output, "figure": figure})


def _outcome(result: "Evaluation") -> dict[str, Any]:
    from retail_pipeline.clv.data.thin_data import History

    decision = result.valuation.decision
    return {
        "as_of_date": result.valuation.as_of.isoformat(),
        "horizon_days": result.valuation.horizon_days,
        "customers": int(result.predictions["customer_id"].nunique()),
        "rejected_lines": result.rejected_lines,
        "losses": result.losses,
        "guests": result.guests,
        "excluded": result.excluded,
        "served": decision.model_name,
        "validated": decision.validated,
        "extrapolated": result.valuation.is_extrapolated,
        "reason": decision.reason,
        "warnings": list(
            History.of(result.valuation.population).warnings(result.valuation.horizon_days)
        ),
        "metrics": json.loads(result.metrics.to_json(orient="records")),
    }


def _print(outcome: Mapping[str, Any], written: Mapping[str, Path | None]) -> None:
    console = open_console()
    mark = unvalidated_mark(outcome["validated"], outcome["extrapolated"])
    print_line(
        console,
        f"{outcome['customers']:,} customers at {outcome['as_of_date']}, "
        f"{outcome['horizon_days']} days ahead; "
        f"{outcome['rejected_lines']:,} lines of the file were rejected\n"
        f"served: {outcome['served']}{mark}: {escape(outcome['reason'])}",
    )
    for loss in losses_in_words(outcome["losses"]):
        print_line(console, f"of the file: {escape(loss)}")
    if outcome["guests"]["transactions"]:
        print_line(console, f"guests: {guests_in_words(outcome['guests'])}")
    if outcome["excluded"]:
        print_line(console, f"not counted: {escape(excluded_in_words(outcome['excluded']))}")
    for warning in outcome["warnings"]:
        print_line(console, f"[yellow]warning:[/yellow] {escape(warning)}")
    if outcome["metrics"]:
        console.print("[bold]*[/] the model that serves; what each measure means: docs/glossary.md")
        for title, headings in _TABLES.items():
            rows = [
                {
                    "model": f"{'*' if row['is_served'] else ' '} {row['model_name']}",
                    **{heading: row[name] for heading, name in headings.items()},
                }
                for row in outcome["metrics"]
            ]
            console.print()
            print_table(console, rows, f"[bold]{title}[/]")
    else:
        console.print("no metrics: the file ends before the horizon does")
    for name, path in written.items():
        if path is not None:
            print_line(console, f"{name}: {escape(str(path))}")
