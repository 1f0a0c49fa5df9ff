"""The bundled retail API: a simulated retailer or a transactions file behind HTTP.

A source is opened as a dataset of the records before an as-of date, and served. The package does
not depend on the API's clients. It imports pandas and the web server, which is slow: import it
inside function bodies.
"""

from retail_pipeline.retail_api.records import RetailRecords, Totals
from retail_pipeline.retail_api.server.app import create_app
from retail_pipeline.retail_api.server.serve import serve_forever, serving
from retail_pipeline.retail_api.source.dataset import RetailDataset, default_as_of, open_dataset
from retail_pipeline.retail_api.source.identity import source_id, without_credentials

__all__ = [
    "RetailDataset",
    "RetailRecords",
    "Totals",
    "create_app",
    "default_as_of",
    "open_dataset",
    "serve_forever",
    "serving",
    "source_id",
    "without_credentials",
]
