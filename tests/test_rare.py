"""Types that are told by name, so that nobody loads their modules to look for them."""

import sys
from decimal import Decimal
from types import ModuleType
from uuid import UUID

import pytest

from toolcache.rare import rare


class Own(UUID):
    """A subclass, which may mean more."""


def test_they_are_told_from_all_others() -> None:
    """The very types are known; subclasses, and others of the same name and module, are not."""
    pretender = type("Decimal", (), {"__module__": "decimal"})
    assert [rare(cls) for cls in (Decimal, UUID, Own, pretender, str, ModuleType)] == [
        "Decimal",
        "UUID",
        "",
        "",
        "",
        "",
    ]


def test_a_module_that_is_not_loaded_has_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the module is not loaded, a type of that name is another, and it stays unloaded."""
    monkeypatch.delitem(sys.modules, "uuid")
    assert rare(type("UUID", (), {})) == ""
    assert "uuid" not in sys.modules
