"""The reader process for declarative manifests, with a fast page loop and the CDK's stock command.

`COMMAND` starts the process. Each read is requested by one line on its standard input, a
`ReadRequest`. The process prints Airbyte's messages on its standard output, one line of JSON each,
and three kinds of line that are not Airbyte's:

- `{"type": "READER", "reader": PAGES or STOCK, "reason": ...}`, the first line, names the reader.
- `{"type": "ROWS", ...}` announces a page of records as COPY text; `rows` and `rejected` are the
  numbers of bytes that follow.
- `{"type": "END", "exit_code": ...}` is the last line.

The page loop (`page_loop`) is five times faster than the stock command, but it reads only manifests
of which it supports every part (`supported`); the stock command reads all others. The page loop
depends on one version of the CDK; a contract test compares the two. Only this package imports the
CDK, and only in this process.
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
        catalog: The configured catalog: the streams and their sync modes.
        state: The state from which each stream continues, as Airbyte's messages.
        streams: The `schema`, `key` and `cursor` of each stream, for rendering pages as rows. If
            empty, records are printed as messages.
        page_loop: Whether the page loop may be used.
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
        """Return the request as one line of JSON."""
        return orjson.dumps(asdict(self)) + b"\n"

    def arguments(self) -> list[str]:
        """Write the files for the stock command; return its command-line arguments."""
        arguments = ["read", "--manifest-path", self.manifest]
        for name in ("config", "catalog", "state"):
            path = Path(self.folder, f"{name}.json")
            path.write_bytes(orjson.dumps(getattr(self, name)))
            arguments += [f"--{name}", str(path)]
        return arguments
