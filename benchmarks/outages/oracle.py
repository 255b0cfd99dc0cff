"""What a key may answer: the last acknowledged operation on it, or a later one of which nobody knows whether it happened."""

from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeAlias

Verdict: TypeAlias = Literal["", "lost", "resurrected"]


@dataclass
class Known:
    """What is known of one key, which has one writer. Its operations are numbered, and its values tell their numbers.

    Attributes:
        begun: the number of the last operation.
        kept: the number of the last one that was acknowledged; 0 stands for the beginning, when nothing was there.
        deleted: whether that one was a delete.
        unsure: later operations that failed, or promised nothing, and whether each was a delete.
    """

    begun: int = 0
    kept: int = 0
    deleted: bool = True
    unsure: dict[int, bool] = field(default_factory=dict)

    def begin(self) -> int:
        """The number of a new operation."""
        self.begun += 1
        return self.begun

    def acknowledge(self, number: int, *, deleted: bool = False) -> None:
        """The cache said that it was done: what was before it does not matter any more."""
        self.kept, self.deleted = number, deleted
        self.unsure.clear()

    def doubt(self, number: int, *, deleted: bool = False) -> None:
        """It may have been done, or may be done later."""
        self.unsure[number] = deleted

    @classmethod
    def read(cls, told: dict[str, Any]) -> Self:
        """What is known, out of JSON, whose names are text."""
        return cls(**{**told, "unsure": {int(number): deleted for number, deleted in told["unsure"].items()}})

    @property
    def expected(self) -> bool:
        """Whether a value must be there."""
        return not self.deleted and not any(self.unsure.values())

    def wrong(self, found: int | None) -> bool:
        """Whether an answer is older than what was acknowledged, or another key's; a miss is never wrong."""
        return found is not None and not self._may_be(found)

    def judge(self, found: int | None) -> Verdict:
        """What became of the last acknowledged operation, by what is there in the end."""
        right = not self.expected if found is None else self._may_be(found)
        if right:
            return ""
        return "resurrected" if self.deleted else "lost"

    def _may_be(self, found: int) -> bool:
        return (found == self.kept and not self.deleted) or self.unsure.get(found) is False


def value_of(key: str, number: int) -> dict[str, Any]:
    """A value that tells whose it is."""
    return {"key": key, "number": number, "text": f"{key} " * 10}


def number_of(key: str, value: Any) -> int | None:
    """Which operation a value is of; None for none, -1 for a value that nobody stored under this key."""
    if value is None:
        return None
    right = isinstance(value, dict) and value.get("key") == key and value == value_of(key, value.get("number", 0))
    return int(value["number"]) if right else -1
