"""What does a key cost that is made of a prompt?"""

import hashlib
import json
import random
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from msgpack import packb

from benchmarks.harness import Goal, Pass, Task, WrongAnswerError, one_by_one
from benchmarks.main import main
from benchmarks.place import Place
from benchmarks.subject import Subject, Verb
from toolcache import make_key

_PROMPTS: Final = 20
_WORDS: Final = ("the", "agent", "searches", "tools", "for", "a", "question", "and", "answers", "it", "with", "them")
_JSON: Final = "json.dumps(sort_keys=True), SHA-256"


class Digested(Subject):
    """A way to make keys."""

    plain = True

    def __init__(self, name: str, verb: Verb, *, note: str = "") -> None:
        self.name, self.get, self.note = name, verb, note
        self.kind = "floor" if name.startswith("floor") else "ours" if name == "toolcache" else "peer"


class LitellmKeys(Subject):
    """LiteLLM's key of a request to a model."""

    name = "LiteLLM"
    needs = ("litellm",)
    plain = True
    note = "text of what the request says, SHA-256"

    async def open(self, place: Place) -> None:  # noqa: ARG002 - a key needs no place
        import os

        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # its import asks the network otherwise
        from litellm.caching.caching import Cache

        cache = Cache()
        self.get = lambda prompt: cache.get_cache_key(**prompt)


def prompt(size: int, number: int = 0) -> dict[str, Any]:
    """A request to a model, of about so many bytes as JSON."""
    chance = random.Random(number)
    text = f"{number}: " + " ".join(chance.choices(_WORDS, k=size // 9))
    turns = max(2, size // 2_000)
    length = len(text) // turns + 1
    said = [text[start : start + length] for start in range(0, len(text), length)]
    return {
        "model": "gpt-4o-mini",
        "temperature": 0.2,
        "max_tokens": 512,
        "stream": False,
        "messages": [
            {"role": "user" if turn % 2 else "assistant", "content": words} for turn, words in enumerate(said)
        ],
        "tools": [{"name": "search", "parameters": {"query": "string", "limit": 10, "exact": True}}],
    }


def _as_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _as_msgpack(value: Any) -> str:
    return hashlib.sha256(packb(value)).hexdigest()


async def keys(subject: Subject, *, size: int) -> Pass:
    prompts = [prompt(size, number) for number in range(_PROMPTS)]
    made = {subject.get(one) for one in prompts}
    if len(made) != _PROMPTS:
        raise WrongAnswerError(f"{_PROMPTS} prompts make {len(made)} keys")
    shuffled = [dict(reversed(one.items())) for one in prompts]
    if made != {subject.get(one) for one in shuffled}:
        if subject.kind == "ours":
            raise WrongAnswerError("the same prompt makes another key")
        subject.note = f"{subject.note}; other keys for fields in another order".removeprefix("; ")
    return one_by_one(subject.get, [(one,) for one in prompts], plain=True)


WAYS: Final[tuple[Callable[[], Subject], ...]] = (
    partial(Digested, "floor: MessagePack, SHA-256", _as_msgpack),
    partial(Digested, "toolcache", partial(make_key, "chat"), note="1, True and 1.0 differ"),
    partial(Digested, _JSON, _as_json, note="1 and True differ, a tuple is a list, 1 as a key is '1'"),
    LitellmKeys,
)

TASKS: Final = (
    Task("kb", "The key of a prompt of 1 KB", "µs", WAYS, partial(keys, size=1_000), [Goal(1.0, _JSON)]),
    Task("kb100", "The key of a prompt of 100 KB", "µs", WAYS, partial(keys, size=100_000), [Goal(0.6, _JSON)]),
)

if __name__ == "__main__":
    main(__doc__, TASKS)
