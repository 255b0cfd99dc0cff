"""Checks JSON against the part of JSON Schema that the table of endpoints uses, so that what is documented is what is checked."""

import re
from collections.abc import Mapping
from typing import Any, Final

from toolcache.web.problems import Problem

Schema = Mapping[str, Any]

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def read(schema: Schema, text: str, at: str) -> Any:
    """A query parameter, which is text, as its schema has it.

    Raises:
        Problem: it cannot be.
    """
    kind = schema.get("type")
    value: Any = text
    if kind == "boolean":
        value = {"true": True, "false": False}.get(text, text)
    elif kind == "integer" and re.fullmatch(r"-?[0-9]{1,15}", text):
        value = int(text)
    elif kind == "number" and re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", text):
        value = float(text)
    check(schema, value, at)
    return value


def check(schema: Schema, value: Any, at: str) -> None:
    """Whether a value is what a schema says.

    Raises:
        Problem: it is not; the text says where, and what it is to be.
    """
    if schema.keys() <= {"description"}:  # anything, however deep
        return
    if "anyOf" in schema:
        _check_any(schema["anyOf"], value, at)
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(kind, value) for kind in kinds):
        raise _wrong(at, f"is to be {' or '.join(kinds)}")
    if "enum" in schema and value not in schema["enum"]:
        raise _wrong(at, f"is one of {', '.join(map(str, schema['enum']))}")
    match value:
        case str():
            _check_text(schema, value, at)
        case bool():
            pass
        case int() | float():
            _check_number(schema, value, at)
        case list():
            _check_list(schema, value, at)
        case dict():
            _check_object(schema, value, at)


def _is(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])


def _check_any(choices: list[Schema], value: Any, at: str) -> None:
    wrong = []
    for choice in choices:
        try:
            check(choice, value, at)
        except Problem as problem:
            wrong.append(problem.detail)
        else:
            return
    raise Problem(422, "; or ".join(wrong), at=at)


def _check_text(schema: Schema, value: str, at: str) -> None:
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    if len(value) < least or (most is not None and len(value) > most):
        raise _wrong(at, f"has {least} to {most or 'any number of'} characters")
    # All of them are of the whole text; to ``search`` their $ would be the end of a line, too.
    if "pattern" in schema and re.fullmatch(schema["pattern"], value) is None:
        raise _wrong(at, schema.get("description") or f"is to match {schema['pattern']}")


def _check_number(schema: Schema, value: float, at: str) -> None:
    if value < schema.get("minimum", value) or value > schema.get("maximum", value):
        raise _wrong(at, f"is from {schema.get('minimum', 'any')} to {schema.get('maximum', 'any')}")
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        raise _wrong(at, f"is more than {schema['exclusiveMinimum']}")


def _check_list(schema: Schema, value: list[Any], at: str) -> None:
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    if len(value) < least or (most is not None and len(value) > most):
        raise _wrong(at, f"has {least} to {most or 'any number of'} items")
    for index, one in enumerate(value):
        check(schema.get("items", {}), one, f"{at}[{index}]")


def _check_object(schema: Schema, value: dict[str, Any], at: str) -> None:
    known = schema.get("properties", {})
    for name in schema.get("required", []):
        if name not in value:
            raise _wrong(at, f"lacks {name!r}")
    least, most = schema.get("minProperties", 0), schema.get("maxProperties")
    if len(value) < least or (most is not None and len(value) > most):
        raise _wrong(at, f"takes {'one' if least == most == 1 else 'some'} of {', '.join(known)}")
    for name, one in value.items():
        if name in known:
            check(known[name], one, f"{at}.{name}")
        elif schema.get("additionalProperties", True) is False:
            raise _wrong(at, f"takes {', '.join(known) or 'nothing'}, and none else")


def _wrong(at: str, what: str) -> Problem:
    return Problem(422, f"{at} {what}", at=at)
