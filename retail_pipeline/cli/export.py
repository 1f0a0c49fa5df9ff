"""The command `export`: the current predictions as a file for other tools."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from retail_pipeline.cli.terminal import check_output
from retail_pipeline.errors import UsageError
from retail_pipeline.files import replaced_whole
from retail_pipeline.postgres import Role, open_database
from retail_pipeline.settings import Settings
from retail_pipeline.wording import counted


class Format(StrEnum):
    """The formats of an exported file."""

    CSV = "csv"
    PARQUET = "parquet"


def export(
    output: Annotated[
        Path | None, typer.Option(help="The file to write; by default CSV is printed.")
    ] = None,
    format: Annotated[
        Format | None, typer.Option(help="By default the ending of the file's name.")
    ] = None,
) -> None:
    """Write the current predictions, one row per customer, for e-mail tools and spreadsheets.

    In CSV, an id that a spreadsheet would run as a formula has an apostrophe in front.

    For an e-mail tool: `retail-pipeline export --output customers.csv`
    """
    kind = _format(output, format)
    check_output("--output", output)
    from retail_pipeline.report.export import for_spreadsheets, read_export

    database = open_database(Settings.from_environment()).as_role(Role.READER)
    frame, words = read_export(database)
    if kind is Format.CSV:
        frame["customer_id"] = for_spreadsheets(frame["customer_id"])
    if output is None:
        frame.to_csv(sys.stdout, index=False)
        return
    with replaced_whole(output) as draft:
        getattr(frame, f"to_{kind}")(draft, index=False)
    typer.echo(f"{counted(len(frame), 'customer')} {words}: {output}", err=True)


def _format(output: Path | None, wanted: Format | None) -> Format:
    """Return the format of the export.

    Raises:
        UsageError: The file's name has no known ending, or there is no file for Parquet.
    """
    if output is None and wanted is Format.PARQUET:
        raise UsageError("--format parquet needs a file: --output customers.parquet")
    if output is None or wanted is not None:
        return wanted or Format.CSV
    try:
        return Format(output.suffix.removeprefix("."))
    except ValueError:
        raise UsageError(
            f"--output {output} must end in .csv or .parquet, or be used with --format"
        ) from None
