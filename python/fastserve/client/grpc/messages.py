"""Protobuf messages as plain values."""

from __future__ import annotations

from typing import Any


def plain(message: Any) -> dict[str, Any]:
    """As REST spells the same: fields by their own names, numbers as numbers, enums by name, and
    without what was not said."""
    return {field.name: _value(field, value) for field, value in message.ListFields()}


def _value(field: Any, value: Any) -> Any:
    if _is_map(field):
        of_values = field.message_type.fields_by_name["value"]
        return {key: _one(of_values, value[key]) for key in value}
    if field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED:
        return [_one(field, one) for one in value]
    return _one(field, value)


def _is_map(field: Any) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _one(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return plain(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return value if known is None else known.name
    return value
