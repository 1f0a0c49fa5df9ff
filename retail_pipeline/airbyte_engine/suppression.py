"""Suppression of records: records with a listed value in one field do not land.

The list contains only digests of the values. The pipeline lists the ids of forgotten customers;
this module does not depend on that.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from retail_pipeline.airbyte_engine.values import storable


@dataclass(frozen=True)
class Suppression:
    """The suppressed values of a field, as digests.

    Attributes:
        fields: The field to check, by stream; records of other streams always land.
        digest: The function that returns the keyed hash of a text.
        values: The digests of the suppressed values.
        kept_out: The digests of the records that were suppressed so far.
    """

    fields: Mapping[str, str]
    digest: Callable[[str], str]
    values: frozenset[str]
    kept_out: frozenset[str] = frozenset()
    _known: dict[str, bool] = field(default_factory=dict, repr=False)

    def suppresses(self, stream: str, record: Mapping[str, Any]) -> bool:
        """Return whether a record is suppressed."""
        name = self.fields.get(stream)
        value = record.get(name) if name else None
        if value is None:
            return False
        text = str(value)
        if text not in self._known:
            self._known[text] = self.digest(text) in self.values
        return self._known[text]

    def record_digest(self, stream: str, key: Sequence[str], record: Mapping[str, Any]) -> str:
        """Return a digest of a record's key, or of the whole record if a key value is missing."""
        values: Any = [record.get(name) for name in key]
        if not values or any(value is None for value in values):
            values = record
        text = orjson.dumps([stream, storable(values)], option=orjson.OPT_SORT_KEYS)
        return self.digest(text.decode())
