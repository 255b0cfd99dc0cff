"""What a check found."""

from typing import Literal

from toolcache.fields import Frozen

Status = Literal["ok", "note", "warn", "bad"]


class Finding(Frozen):
    """One thing that was looked at.

    Attributes:
        check: what was looked at.
        status: "ok"; "note", worth knowing; "warn", may hurt some day; "bad", does not work so.
        says: what was found.
        do: what to do about it; empty where there is nothing to do.
    """

    check: str
    status: Status
    says: str
    do: str = ""
