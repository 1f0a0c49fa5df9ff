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

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

COMMAND = (sys.executable, "-m", "retail_pipeline.airbyte_engine.fast_reader")
STOCK: Final = "stock command"
PAGES: Final = "page loop"


@dataclass(frozen=True)
class ReadRequest:
    """The request for one read.

    Attributes:
        manifest: The path of the declarative manifest.
        config: The source's configuration; holds secrets.
        catalog: The configured catalog: which streams, and how.
        state: Where each stream goes on, as Airbyte's messages.
        streams: Each stream with its `schema`, `key` and `cursor`, by which pages are rendered as
            rows. Without any, records are printed as messages.
        page_loop: Whether the page loop may read.
        log: The file for the CDK's log; by default one in the folder.
        folder: The private folder for the files of this read.
    """

    manifest: str
    config: Mapping[str, Any]
    catalog: Mapping[str, Any]
    state: Sequence[Mapping[str, Any]]
    streams: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    page_loop: bool = True
    log: str = ""
    folder: str = ""

    def encode(self) -> bytes:
        """Return the request as a line."""
        return orjson.dumps(asdict(self)) + b"\n"

    def arguments(self) -> list[str]:
        """Write the files that the stock command reads; return its arguments."""
        arguments = ["read", "--manifest-path", self.manifest]
        for name in ("config", "catalog", "state"):
            path = Path(self.folder, f"{name}.json")
            path.write_bytes(orjson.dumps(getattr(self, name)))
            arguments += [f"--{name}", str(path)]
        return arguments
