"""What a worker asks the source host for, and by which names a reader says how it reads.

Known to both sides of the socket, so it imports neither of them nor the CDK.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Final

STOCK: Final = "stock command"
PAGES: Final = "page loop"


@dataclass(frozen=True)
class ReadRequest:
    """What a reader is asked for.

    Attributes:
        arguments: The stock command's: `read --config … --catalog … --state … --manifest-path …`.
        folder: The private folder for what the CDK writes.
        streams: The streams to read, each with what its rows are rendered by: `schema`, `key` and
            `cursor`. Without any, records are sent as messages.
        page_loop: Whether the page loop may read.
    """

    arguments: list[str]
    folder: str
    streams: dict[str, dict[str, Any]] = field(default_factory=dict)
    page_loop: bool = True

    def encode(self) -> bytes:
        """Return it as a line."""
        return json.dumps(asdict(self)).encode() + b"\n"
