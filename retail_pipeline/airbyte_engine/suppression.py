"""Records that are kept out of the landing tables because of the value of one of their fields.

The values are known by digests only; their meaning is the caller's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from retail_pipeline.airbyte_engine.values import storable


@dataclass(frozen=True)
class Suppression:
    """The values, as digests, whose records are kept out.

    Attributes:
        fields: The field that decides, by stream; other streams are not touched.
        digest: A keyed hash of a text.
        values: Digests of the field's values that are kept out.
        kept_out: Digests of the records that were kept out so far.
    """

    fields: Mapping[str, str]
    digest: Callable[[str], str]
    values: frozenset[str]
    kept_out: frozenset[str] = frozenset()
    _known: dict[str, bool] = field(default_factory=dict, repr=False)

    def suppresses(self, stream: str, record: Mapping[str, Any]) -> bool:
        """Return whether a record is kept out."""
        name = self.fields.get(stream)
        value = record.get(name) if name else None
        if value is None:
            return False
        text = str(value)
        if text not in self._known:
            self._known[text] = self.digest(text) in self.values
        return self._known[text]

    def record_digest(self, stream: str, key: Sequence[str], record: Mapping[str, Any]) -> str:
        """Return a digest of a record's key, or of the whole record where it has none."""
        values: Any = [record.get(name) for name in key]
        if not values or any(value is None for value in values):
            values = record
        text = orjson.dumps([stream, storable(values)], option=orjson.OPT_SORT_KEYS)
        return self.digest(text.decode())
