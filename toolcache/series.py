"""What is counted apart: a domain, and within it whose agent, which tool and which model it was."""

from typing import NamedTuple


class Series(NamedTuple):
    """One row of the counts; a label is empty where there is none to tell.

    Attributes:
        domain: its name; ``"general"`` for keys of the caller's own.
        agent: the agent that asked, or was asked.
        tool: the tool that was called, or described.
        model: the model that computed.
    """

    domain: str
    agent: str = ""
    tool: str = ""
    model: str = ""
