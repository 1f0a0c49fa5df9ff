"""Requests of the API's totals: an invalid address is one error, without the key."""

import pytest

from retail_pipeline.errors import PipelineError
from retail_pipeline.ingestion.specs import load_folder
from retail_pipeline.ingestion.totals import fetch_totals


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://localhost:80a", "a-key"),
        ("http://..example", "a-key"),
        ("http://127.0.0.1:1", "鍵"),
    ],
)
def test_an_address_or_a_key_that_cannot_be_sent_is_named(url: str, key: str) -> None:
    values = {"RETAIL_API_URL": url, "RETAIL_API_KEY": key, "RETAIL_API_END": None}
    folder = load_folder()
    with pytest.raises(PipelineError, match="RETAIL_SOURCE and RETAIL_API_KEY") as error:
        fetch_totals(folder, folder.connections["retail_api_users"], values)
    assert key not in str(error.value)
