"""The servers of a sync, such as Airbyte's stand-in, answer no page of another site."""

import httpx
from starlette.responses import PlainTextResponse

from retail_pipeline.loopback import served


def test_a_server_in_a_thread_refuses_foreign_pages() -> None:
    with served(PlainTextResponse("ours")) as url:
        assert httpx.get(url).text == "ours"
        assert httpx.get(url, headers={"host": "evil.example"}).status_code == 400
        assert httpx.get(url, headers={"origin": "http://evil.example"}).status_code == 403
        assert httpx.get(url, headers={"origin": url}).text == "ours"
