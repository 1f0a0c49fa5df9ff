"""Models of the retail API's parameters and answers, from which its OpenAPI document is built.

Answers are not built from these models: `pages` renders them from columns. A test validates real
answers against the document.
"""

from datetime import date, datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from retail_pipeline.retail_api.server.pages import Cursor, parse_time

Time = Annotated[
    int, PlainValidator(parse_time), WithJsonSchema({"type": "string", "format": "date-time"})
]
"""A time, given as text and parsed to microseconds since 1970 (UTC)."""

Place = Annotated[Cursor, PlainValidator(Cursor.decode), WithJsonSchema({"type": "string"})]
"""The `next_cursor` of an earlier answer."""

RecordedAt = Annotated[
    datetime, Field(description="When the record was first recorded; never changes.")
]
UpdatedAt = Annotated[datetime, Field(description="When the record last changed: the cursor.")]
Money = Annotated[str, Field(pattern=r"^-?\d+(\.\d+)?$", description="An exact decimal.")]
Count = Annotated[int, Field(ge=0)]


class Exact(BaseModel):
    """A model with these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class Product(Exact):
    """A product of the catalog; products of a transactions file have only an id."""

    product_id: str
    name: str | None
    category: str | None
    price: float | None
    cost: float | None
    currency: str | None
    recorded_at: RecordedAt
    updated_at: UpdatedAt


class User(Exact):
    """A customer with an account."""

    user_id: str
    name: str | None
    email: str | None
    phone: str | None
    address: str | None
    country: str | None
    created_at: datetime
    recorded_at: RecordedAt
    updated_at: UpdatedAt


class Item(Exact):
    """A line of a transaction."""

    line_number: Annotated[int, Field(ge=1)]
    product_id: str | None
    quantity: Annotated[float | None, Field(description="Negative in a return.")]
    unit_price: float | None
    discount: Annotated[float, Field(description="Off the line; negative in a return.")]
    amount: Annotated[float, Field(description="Net amount of the line, used for all totals.")]


class Transaction(Exact):
    """A sale or a return with its lines."""

    transaction_id: str
    user_id: Annotated[str | None, Field(description="Null for a guest.")]
    transacted_at: datetime
    recorded_at: RecordedAt
    updated_at: UpdatedAt
    type: Literal["sale", "return"]
    currency: str | None
    country: str | None
    channel: str | None
    items: Annotated[list[Item], Field(min_length=1)]


Record = TypeVar("Record")


class Page(Exact, Generic[Record]):
    """Records in the order of `(updated_at, id)`."""

    data: list[Record]
    next_cursor: Annotated[str | None, Field(description="Null on the last page.")]


class TotalsAnswer(Exact):
    """Counts and amounts of the records served; net is sales less returns."""

    as_of: date
    products: Count
    users: Count
    transactions: Count
    sales: Count
    returns: Count
    lines: Count
    net_amount: Money
    sales_amount: Money
    returns_amount: Money


class Health(Exact):
    """The answer of a healthy API."""

    status: Literal["ok"]


class ErrorDetail(Exact):
    """The reason of a refused request; `parameter` is the name of the wrong parameter."""

    code: str
    message: str
    parameter: str | None


class ErrorAnswer(Exact):
    """The body of every error answer."""

    error: ErrorDetail


class TotalsQuery(Exact):
    """Parameters of the totals."""

    updated_until: Time | None = Field(None, description="Exclusive upper bound of updated_at.")


class PageQuery(TotalsQuery):
    """Parameters of a page."""

    limit: int = Field(1000, ge=1, le=5000, description="The most records on the page.")
    updated_since: Time | None = Field(None, description="Inclusive lower bound of updated_at.")
    cursor: Place | None = Field(None, description="The next_cursor of the previous page.")
