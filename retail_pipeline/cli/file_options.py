"""The options of commands that read a transactions file: what its columns and values mean."""

from typing import Annotated, get_args

import typer

from retail_pipeline.reading_options import DateOrder, DecimalMark

Columns = Annotated[
    str | None,
    typer.Option(help="The file's columns: 'customer_id=Email,ts=\"Created at\",amount=Total'."),
]
Profile = Annotated[
    str | None,
    typer.Option(help="A known export, such as shopify, or the path of a profile's YAML file."),
]
DateOrderOption = Annotated[
    str | None,
    typer.Option(
        "--date-order",
        help="The order of day and month in dates like 12/1/2010.",
        metavar="|".join(get_args(DateOrder)),
    ),
]
Decimal = Annotated[
    str | None,
    typer.Option(
        help="The decimal mark of numbers like 1,234.", metavar="|".join(get_args(DecimalMark))
    ),
]
AcceptLoss = Annotated[
    str | None,
    typer.Option(help="Accept the loss of this share of lines or money, such as 0.05."),
]
MissingCustomerWords = Annotated[
    str | None,
    typer.Option(
        help="Words that mean no customer, such as 'guest,n/a'; 'none' for an empty list."
    ),
]
