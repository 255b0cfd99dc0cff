"""A part of what a store holds."""


class Share:
    """What the entries of one tally have of a store: how many there are, their bytes, how many were evicted."""

    __slots__ = ("bytes", "entries", "evictions")

    def __init__(self) -> None:
        self.entries = 0
        self.bytes = 0
        self.evictions = 0
