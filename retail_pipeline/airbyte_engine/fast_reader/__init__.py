"""The reader of declarative manifests: a process that reads page by page, or by the stock command.

One door: `COMMAND` starts the process, `ReadRequest` is one line on its standard input for each
read, and Airbyte's messages come back on its standard output, a line of JSON each. Three kinds of
line are its own:

- `{"type": "READER", "reader": PAGES or STOCK, "reason": ...}` comes first: which of them reads.
- `{"type": "ROWS", ...}` is a page of records as COPY's text; as many bytes follow as it says.
- `{"type": "END", "exit_code": ...}` comes last.

The page loop (`page_loop`) is five times faster than the stock command and reads only manifests
whose every part it supports (`supported`); the stock command reads the others. It depends on one
version of the CDK, with which its contract test compares it. Only this package imports the CDK, and
only in this process.
"""

import json
import sys
from dataclasses import asdict, dataclass, field
from typing import Any, Final

COMMAND = (sys.executable, "-m", "retail_pipeline.airbyte_engine.fast_reader")
STOCK: Final = "stock command"
PAGES: Final = "page loop"


@dataclass(frozen=True)
class ReadRequest:
    """The request for one read.

    Attributes:
        arguments: The stock command's: `read --config … --catalog … --state … --manifest-path …`.
        folder: The private folder for files of the CDK.
        log: The file for the CDK's log.
        streams: Each stream with its `schema`, `key` and `cursor`, by which pages are rendered as
            rows. Without any, records are printed as messages.
        page_loop: Whether the page loop may read.
    """

    arguments: list[str]
    folder: str
    log: str
    streams: dict[str, dict[str, Any]] = field(default_factory=dict)
    page_loop: bool = True

    def encode(self) -> bytes:
        """Return the request as a line."""
        return json.dumps(asdict(self)).encode() + b"\n"
