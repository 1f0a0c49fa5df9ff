"""The OpenAPI 3.1 document of the retail API.

A test holds real answers against it; what it says and what `app` does change together.
"""

from typing import Any

TEXT = {"type": "string"}
OPTIONAL_TEXT = {"type": ["string", "null"]}
NUMBER = {"type": "number"}
OPTIONAL_NUMBER = {"type": ["number", "null"]}
TIME = {"type": "string", "format": "date-time"}
DECIMAL = {"type": "string", "pattern": r"^-?\d+(\.\d+)?$", "description": "An exact decimal."}
COUNT = {"type": "integer", "minimum": 0}

_RECORDED = {
    "recorded_at": TIME | {"description": "When the record was first known; never changes."},
    "updated_at": TIME | {"description": "When the record last changed: the cursor."},
}


def openapi_document() -> dict[str, Any]:
    """The document, as JSON values."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Retail API",
            "version": "1",
            "description": "Records that were known at the API's clock, ordered by "
            "(updated_at, id). Times are UTC with microseconds.",
        },
        "security": [{"key": []}],
        "paths": {
            "/v1/products": _stream("Product", "Products"),
            "/v1/users": _stream("User", "Customers with an account"),
            "/v1/transactions": _stream("Transaction", "Sales and returns with their lines"),
            "/v1/totals": _totals(),
            "/openapi.json": _open("This document", {"type": "object"}),
            "/health": _open("Whether the API answers", _object({"status": {"const": "ok"}})),
        },
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(),
            "responses": _responses(),
        },
    }


def _schemas() -> dict[str, Any]:
    return {
        "Product": _object(
            {
                "product_id": TEXT,
                "name": OPTIONAL_TEXT,
                "category": OPTIONAL_TEXT,
                "price": OPTIONAL_NUMBER,
                "cost": OPTIONAL_NUMBER,
                "currency": OPTIONAL_TEXT,
                **_RECORDED,
            }
        ),
        "User": _object(
            {
                "user_id": TEXT,
                "name": OPTIONAL_TEXT,
                "email": OPTIONAL_TEXT,
                "phone": OPTIONAL_TEXT,
                "address": OPTIONAL_TEXT,
                "country": OPTIONAL_TEXT,
                "created_at": TIME,
                **_RECORDED,
            }
        ),
        "Transaction": _object(
            {
                "transaction_id": TEXT,
                "user_id": TEXT,
                "transacted_at": TIME,
                **_RECORDED,
                "type": {"enum": ["sale", "return"]},
                "currency": OPTIONAL_TEXT,
                "country": OPTIONAL_TEXT,
                "channel": OPTIONAL_TEXT,
                "items": {"type": "array", "items": _ref("Item"), "minItems": 1},
            }
        ),
        "Item": _object(
            {
                "line_number": {"type": "integer", "minimum": 1},
                "product_id": OPTIONAL_TEXT,
                "quantity": OPTIONAL_NUMBER | {"description": "Negative in a return."},
                "unit_price": OPTIONAL_NUMBER,
                "discount": NUMBER | {"description": "Off the line; negative in a return."},
                "amount": NUMBER | {"description": "Net value of the line: what counts."},
            }
        ),
        "Error": _object(
            {"error": _object({"code": TEXT, "message": TEXT, "parameter": OPTIONAL_TEXT})}
        ),
    }


def _stream(schema: str, summary: str) -> dict[str, Any]:
    page = _object(
        {
            "data": {"type": "array", "items": _ref(schema)},
            "next_cursor": OPTIONAL_TEXT | {"description": "Null on the last page."},
        }
    )
    parameters = [
        _query("limit", {"type": "integer", "minimum": 1, "maximum": 5000, "default": 1000}),
        _query("updated_since", TIME, "Inclusive lower bound of updated_at."),
        _query("updated_until", TIME, "Exclusive upper bound of updated_at."),
        _query("cursor", TEXT, "The next_cursor of the page before."),
    ]
    return {"get": _operation(summary, page, parameters)}


def _totals() -> dict[str, Any]:
    counts = ("products", "users", "transactions", "sales", "returns", "lines")
    money = ("net_amount", "sales_amount", "returns_amount")
    totals = _object(
        {
            "as_of": {"type": "string", "format": "date"},
            **dict.fromkeys(counts, COUNT),
            **dict.fromkeys(money, DECIMAL),
        }
    )
    until = _query("updated_until", TIME, "Count records with updated_at before this time.")
    return {"get": _operation("Counts and money; net = sales - returns", totals, [until])}


def _operation(
    summary: str, schema: dict[str, Any], parameters: list[dict[str, Any]]
) -> dict[str, Any]:
    statuses = {"400": "BadParameter", "401": "Unauthorized", "429": "TooManyRequests"}
    refused = {
        status: {"$ref": f"#/components/responses/{name}"} for status, name in statuses.items()
    }
    return {
        "summary": summary,
        "parameters": parameters,
        "responses": {"200": _json(summary, schema), **refused},
    }


def _open(summary: str, schema: dict[str, Any]) -> dict[str, Any]:
    answer = {"200": _json(summary, schema)}
    return {"get": {"summary": summary, "security": [], "responses": answer}}


def _responses() -> dict[str, Any]:
    wait = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}}
    return {
        "BadParameter": _json("A parameter is wrong; `parameter` names it.", _ref("Error")),
        "Unauthorized": _json("The key is missing or wrong.", _ref("Error")),
        "TooManyRequests": _json("Too many requests.", _ref("Error")) | {"headers": wait},
    }


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _query(name: str, schema: dict[str, Any], description: str = "") -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _ref(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}
