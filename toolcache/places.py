"""Where memory keeps keys: under the one form of their text, whoever spelled it."""

from typing import Any, Final

from toolcache.errors import UnsupportedKeyError
from toolcache.keys.text import MAX_TEXT, PLAIN, KeyText, key_text, place_of

_REMEMBERED: Final = 4_096
_LONGEST: Final = 512


class Places(dict[str, str]):
    """By key, the places of those that had to be encoded, so that a hit need not encode them again; bounded."""

    def of(self, key: Any) -> str:
        """The place of a key.

        Raises:
            UnsupportedKeyError: it is no text.
        """
        if type(key) is str and key.isascii() and len(key) <= MAX_TEXT and not key.encode().translate(None, PLAIN):
            return key  # as most are
        if type(key) is not str and type(key) is not KeyText:
            raise UnsupportedKeyError(f"a key is text, not {type(key).__name__}: make_key(...) makes one of any values")
        place = place_of(key_text(key))
        if place is not key and len(key) <= _LONGEST:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[key] = place
        return place
