"""The bundled retail API: a simulated retailer or a transactions file behind HTTP.

This is the room's face: open a source as records at a clock, name it, serve it. Nothing here knows
who reads the API. It brings pandas and the web server along: import it inside function bodies.
"""

from retail_pipeline.retail_api.records import (
    RetailRecords,
    Totals,
)
from retail_pipeline.retail_api.server.app import (
    Faults,
    create_app,
)
from retail_pipeline.retail_api.server.serve import (
    serve_forever,
    serving,
)
from retail_pipeline.retail_api.source.source import (
    RetailDataset,
    default_as_of,
    open_dataset,
    source_id,
)

__all__ = [
    "Faults",
    "RetailDataset",
    "RetailRecords",
    "Totals",
    "create_app",
    "default_as_of",
    "open_dataset",
    "serve_forever",
    "serving",
    "source_id",
]
