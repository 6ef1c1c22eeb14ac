"""The metadata of reasoning-gym entries as JSON text: with tuples, and keys that are no text, which JSON has not."""

import json
from collections.abc import Mapping
from typing import Any

_TUPLE, _ITEMS = "__tuple__", "__items__"


def dump_metadata(metadata: Mapping[str, Any]) -> str:
    """Write metadata as JSON text. Without tuples and such keys it is plain JSON."""
    return json.dumps(_encoded(metadata))


def load_metadata(text: str) -> Any:
    """Read what `dump_metadata` wrote, or plain JSON."""
    return json.loads(text, object_hook=_decoded)


def _encoded(value: Any) -> Any:
    if isinstance(value, tuple):
        return {_TUPLE: [_encoded(item) for item in value]}
    if isinstance(value, list):
        return [_encoded(item) for item in value]
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: _encoded(item) for key, item in value.items()}
        return {_ITEMS: [[_encoded(key), _encoded(item)] for key, item in value.items()]}
    return value


def _decoded(value: dict[str, Any]) -> Any:
    if value.keys() == {_TUPLE}:
        return tuple(value[_TUPLE])
    if value.keys() == {_ITEMS}:
        return dict(value[_ITEMS])
    return value
