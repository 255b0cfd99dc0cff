"""Types that a value may have and whose modules few programs load: known by name, so that looking for them loads nothing."""

import sys
from typing import Final

_MODULES: Final = {"Decimal": "decimal", "UUID": "uuid"}


def rare(cls: type) -> str:
    """Which of them a type is: ``"Decimal"``, ``"UUID"``, or ``""`` for every other, subclasses included."""
    name = cls.__name__
    module = _MODULES.get(name)
    return name if module is not None and getattr(sys.modules.get(module), name, None) is cls else ""
