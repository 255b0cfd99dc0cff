"""The rules of the house, read off the syntax trees: who may import whom, and what nobody may do."""

import ast
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

import toolcache
from toolcache import errors, testing

ROOT: Final = Path(toolcache.__file__).parent
MAX_LINES: Final = 400

# From the bottom up. A module imports what stands below it; within a level, modules may import one another without
# making a circle, except among the parts, which do not know one another at all.
LEVELS: Final[dict[str, str]] = {
    "words": "aside causes errors fields rare forks loops pieces wakes blob entry events clock versions durations freshness domains "
    "tags mishaps series spread",
    "promises": "encoded protocols credentials listing peeks swaps tiers channels groups",
    "parts": "keys codec memory stores resilience flight epochs stats tallies",
    "machine": "drafts overlaps modes lookups entrance batches changes claim layer parts entries found freshness_options recall "
    "horizon filler hits follower bus owed reader writer crowd home order places waiting turns sweeper compute journal risk "
    "invalidator scanner catalogue holdings lifetimes removals targets upkeep seen transfer archive archive_writer patience gatherer "
    "restorer backup moves record record_body ledger answers hold untold terms work course runs sets machine requests "
    "report cache spelling sources settings assembly rules keeper decorated functions blocking_functions keeping messages "
    "cleanup metrics insight alerts observed savings savings_text",
    "face": "tool_cache domain_cache declared discovery completions results decorator domain_keys embeddings dispatch policies "
    "session session_records sessions warming semantic agents views memories normalize schedule "
    "reactions consequences scoped __init__ requested told warm_items warm_plan verdicts tools tool_calls tool_results "
    "tool_definitions tool_labels tool_notes known_tools scoped_upkeep stages",
    "edges": "exporters integrations cli web blocking testing __main__ http",
}
RANKS: Final = {name: rank for rank, names in enumerate(LEVELS.values()) for name in names.split()}
PARTS: Final = frozenset(LEVELS["parts"].split())
EDGES: Final = frozenset(LEVELS["edges"].split())

# Who chooses concrete stores: nobody else knows one.
CHOOSERS: Final = {"settings", "assembly"}

# Who imports by a name that is not spelled out at the call, and the constant that the name comes from.
REGISTRIES: Final = {
    "toolcache.assembly": "STRATEGIES",
    "toolcache.stores.redis.dialer": "_DRIVER",
    "toolcache.cli.verbs": "HOMES",
    "toolcache.testing": "_HOMES",
    "toolcache": "_HOMES",
}

# Whoever does not use them does not wait for them.
HEAVY: Final = frozenset(
    {"redis", "hiredis", "numpy", "backports", "zstandard", "aiofiles", "anyio", "tenacity", "dotenv", "platformdirs"}
    | {"pytest", "hypothesis"}
)

FORBIDDEN_MODULES: Final = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle"}
FORBIDDEN_CALLS: Final = {"eval", "exec", "compile", "__import__"}


@cache
def sources() -> dict[str, Path]:
    """Module names and their files."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = ("toolcache", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(sources()[module].read_text(encoding="utf-8"), filename=module)


def nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Every node beneath, leaving out what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for other in child.orelse:
                yield from (other, *nodes(other))
            continue
        yield child
        yield from nodes(child)


def imports(module: str) -> set[str]:
    """The whole names of what a module imports, at whatever depth."""
    names = set()
    for node in nodes(tree(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            assert node.module
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if inner in sources() else node.module)
    return names


def ours(module: str) -> set[str]:
    return {name for name in imports(module) if name.split(".")[0] == "toolcache"}


def head(module: str) -> str:
    """The file or folder directly under the package that a module belongs to."""
    return module.split(".")[1] if "." in module else "__init__"


def run(program: str) -> Any:
    """What a fresh interpreter prints, read as JSON."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class TestImports:
    def test_every_module_has_its_place(self) -> None:
        """Each module directly under the package stands in the table above; a new one is given its level there."""
        assert {head(module) for module in sources()} - RANKS.keys() == set()

    @pytest.mark.parametrize("module", sources())
    def test_imports_point_down(self, module: str) -> None:
        """No module imports from a level above its own, and nothing but an edge imports an edge."""
        wrong = {name for name in ours(module) if RANKS.get(head(name), 99) > RANKS.get(head(module), -1)}
        assert wrong == set()

    @pytest.mark.parametrize("module", [name for name in sources() if head(name) in PARTS])
    def test_parts_do_not_know_one_another(self, module: str) -> None:
        """A part imports nothing of another part."""
        assert {name for name in ours(module) if head(name) in PARTS and head(name) != head(module)} == set()

    def test_no_circles(self) -> None:
        """No module imports, by whatever detour, itself."""
        try:
            order = list(TopologicalSorter({module: ours(module) - {module} for module in sources()}).static_order())
        except CycleError as circle:
            pytest.fail(f"imports in a circle: {' → '.join(circle.args[1])}")
        assert set(sources()) <= set(order)

    @pytest.mark.parametrize(
        "module", [name for name, path in sources().items() if path.name == "__init__.py" and head(name) in PARTS]
    )
    def test_a_family_is_a_folder_with_a_name(self, module: str) -> None:
        """The ``__init__`` of a family says what it is and imports nothing."""
        assert ast.get_docstring(tree(module))
        assert imports(module) == set()

    def test_one_place_chooses_the_stores(self) -> None:
        """Only the composition root and the edges know a concrete store."""
        knowing = {head(module) for module in sources() for name in ours(module) if head(name) == "stores"}
        assert knowing - {"stores"} - EDGES <= CHOOSERS

    def test_one_folder_knows_redis(self) -> None:
        """redis-py is imported by the Redis store, and by nothing else but edges."""
        knowing = {module for module in sources() for name in imports(module) if name.split(".")[0] == "redis"}
        assert {module for module in knowing if head(module) not in EDGES} <= {
            module for module in sources() if module.startswith("toolcache.stores.redis")
        }


class TestSafety:
    @pytest.mark.parametrize("module", sources())
    def test_nothing_runs_what_it_reads(self, module: str) -> None:
        """SZ-11: no module imports a format that can run code, or calls what runs text."""
        assert {name.split(".")[0] for name in imports(module)} & FORBIDDEN_MODULES == set()
        used = {node.id for node in ast.walk(tree(module)) if isinstance(node, ast.Name)}
        assert used & FORBIDDEN_CALLS == set()
        looked_up = {node.attr for node in ast.walk(tree(module)) if isinstance(node, ast.Attribute)}
        assert looked_up & {"__reduce__", "__setstate__", "import_string", "exec_module", "load_module"} == set()

    @pytest.mark.parametrize("module", sources())
    def test_nothing_imports_by_the_name_of_data(self, module: str) -> None:
        """SZ-11: a module is imported by a name written at the call, or by one out of a constant table of ours."""
        spelled_out = {
            node.func
            for node in ast.walk(tree(module))
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)
        }
        loose = {
            node
            for node in ast.walk(tree(module))
            if isinstance(node, ast.Name) and node.id == "import_module" and node not in spelled_out
        }
        if not loose:
            return
        registry = REGISTRIES.get(module)
        assert registry is not None, f"{module} imports by name: say above out of which table"
        for function in ast.walk(tree(module)):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                inside = set(ast.walk(function))
                if any(isinstance(node, ast.Name) and node.id == registry for node in inside):
                    loose -= inside
        assert not loose, f"{module} imports by a name that is not out of {registry}"
        table = getattr(import_module(module), registry)
        names = table.values() if isinstance(table, dict) else [table]
        assert all(re.fullmatch(r"[a-z0-9_.]+(:\w+)?", name) for name in names)

    def test_nothing_runs_what_it_reads_when_it_runs(self) -> None:
        """SZ-11: under an import hook, the package loads all of itself, stores and reads without any of them."""
        asked = run(f"""
            import asyncio, builtins, json, pkgutil, sys

            asked, imported = [], 0
            real = {{name: getattr(builtins, name) for name in ("__import__", "eval", "exec")}}

            def watching(what):
                def watch(*args, **kwargs):
                    caller = sys._getframe(1).f_globals.get("__name__", "")
                    forbidden = what != "__import__" or args[0].split(".")[0] in {FORBIDDEN_MODULES!r}
                    if caller.split(".")[0] == "toolcache" and forbidden:
                        asked.append([caller, what, str(args[0])[:40]])
                    return real[what](*args, **kwargs)
                return watch

            for name in real:
                setattr(builtins, name, watching(name))
            sys.addaudithook(lambda event, args: asked.append([event]) if event == "pickle.find_class" else None)
            import toolcache
            for found in pkgutil.walk_packages(toolcache.__path__, "toolcache.", onerror=lambda name: None):
                if not found.name.endswith("__main__"):
                    try:
                        __import__(found.name)
                        imported += 1
                    except ImportError as missing:  # what an optional package is needed for
                        assert not str(missing.name).startswith("toolcache"), missing

            async def use():
                values = [None, (1, {{2.5}}), {{1: b"bytes", "text": [10 ** 30]}}]
                async with toolcache.ToolCache(files=False) as cache:
                    for number, value in enumerate(values):
                        await cache.set(f"key:{{number}}", value, tags=["tag"])
                        assert await cache.get(f"key:{{number}}") == value
                    await cache.set_embedding("text", "model", [0.5, 0.25])
                    assert await cache.get_embedding("text", "model") == [0.5, 0.25]

            asyncio.run(use())
            print(json.dumps([asked, imported]))
        """)
        assert asked[0] == []
        assert asked[1] > 30


class TestShape:
    @pytest.mark.parametrize("module", sources())
    def test_no_file_is_long(self, module: str) -> None:
        """A file of more than 400 lines is two."""
        assert len(sources()[module].read_text(encoding="utf-8").splitlines()) <= MAX_LINES

    @pytest.mark.parametrize("module", sources())
    def test_every_file_says_what_it_is(self, module: str) -> None:
        """Each module begins with a sentence about itself."""
        assert ast.get_docstring(tree(module))

    def test_importing_is_cheap_and_quiet(self) -> None:
        """Importing all public names loads no redis-py, NumPy or compressor, opens no file but code, and no socket."""
        touched, loaded = run("""
            import json, sys

            touched = []

            def watch(event, args):
                if event == "open" and not str(args[0]).endswith((".py", ".pyc", ".so")):
                    touched.append(str(args[0]))
                elif event.startswith(("socket.", "subprocess.", "os.mkdir", "os.system", "os.fork")):
                    touched.append(event)

            sys.addaudithook(watch)
            from toolcache import *
            loaded = sorted({name.split(".")[0] for name in sys.modules})
            print(json.dumps([touched, loaded]))
        """)
        assert touched == []
        assert set(loaded) & HEAVY == set()

    @pytest.mark.parametrize("files", [False, True], ids=["memory", "files"])
    def test_nothing_is_loaded_that_is_not_used(self, files: bool, tmp_path: Path) -> None:
        """A fresh process that computes, keeps, finds and deletes loads what that takes: no other store, no rare type."""
        options = {"directory": str(tmp_path)} if files else {"files": False}
        loaded = run(f"""
            import asyncio, sys
            from toolcache import ToolCache

            async def use():
                async with ToolCache(**{options!r}) as cache:
                    tools = [{{"name": "search"}}]

                    async def discover():
                        return tools

                    assert await cache.get_catalog("source", compute=discover) == tools
                    await cache.set("key", {{"answer": 0.5}}, ttl="5m", tags=["tag"])
                    assert await cache.get("key") == {{"answer": 0.5}}
                    await cache.set_embedding("text", "model", [0.5, 0.25])
                    assert await cache.delete("key")
                    assert cache.stats().hits

            asyncio.run(use())
            loaded = [*sys.modules]
            import json
            print(json.dumps(loaded))
        """)
        unused = {"toolcache.stores.redis", "toolcache.testing", "toolcache.dispatch.results", "msgpack.fallback"}
        unused |= {"argparse", "dataclasses", "decimal", "difflib", "json", "platform", "uuid"} | HEAVY
        if files:
            unused.remove("aiofiles")
        else:
            unused |= {"toolcache.stores", "concurrent.futures.thread", "pathlib", "random", "tempfile", "urllib.parse"}
        assert unused & set(loaded) == set()


def isort_order(name: str) -> tuple[bool, bool, str]:
    """Constants, then classes, then the rest, each by the alphabet: the order that the linter keeps."""
    return not name.isupper(), not name[0].isupper(), name


class TestFace:
    @pytest.mark.parametrize("package", [toolcache, testing], ids=lambda package: package.__name__)
    def test_the_public_names_are_true(self, package: ModuleType) -> None:
        """``__all__`` is in order and without doubles, and each name in it is there and documented."""
        names = list(package.__all__)
        assert names == sorted(set(names), key=isort_order)
        for name in names:
            found = getattr(package, name)
            if callable(found):
                assert found.__doc__, f"{name} has no docstring"

    @pytest.mark.parametrize("package", [toolcache, testing], ids=lambda package: package.__name__)
    def test_checkers_see_what_programs_see(self, package: ModuleType) -> None:
        """The names imported for type checkers, where the rest is loaded on first touch, are those of ``__all__``."""
        seen = {
            alias.asname or alias.name
            for node in tree(package.__name__).body
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
            for inner in node.body
            if isinstance(inner, ast.ImportFrom)
            for alias in inner.names
        }
        assert seen == set(package.__all__)
        assert set(package.__all__) <= set(dir(package)) | package._HOMES.keys()

    @pytest.mark.parametrize("package", [toolcache, testing], ids=lambda package: package.__name__)
    def test_a_wrong_name_is_an_attribute_error(self, package: ModuleType) -> None:
        """A name that is not there is refused as by any module."""
        with pytest.raises(AttributeError, match="nonsense"):
            _ = package.nonsense


def drawn() -> dict[str, str]:
    """The tree in the docstring of ``errors``: each name and the one it hangs from."""
    assert errors.__doc__
    parents, path = {}, [""]
    for line in errors.__doc__.splitlines():
        branch = re.match(r" {4}((?:│   |    )*)(?:[├└]── )?(\w+Error)\b", line)
        if branch:
            depth = 0 if "──" not in line else len(branch[1]) // 4 + 1
            path[depth + 1 :] = [branch[2]]
            parents[branch[2]] = path[depth]
    return parents


class TestErrors:
    def test_the_drawing_is_true(self) -> None:
        """The tree drawn in the docstring is the tree of classes."""
        real = {
            name: next((base.__name__ for base in found.__bases__ if issubclass(base, errors.ToolCacheError)), "")
            for name, found in vars(errors).items()
            if isinstance(found, type) and issubclass(found, errors.ToolCacheError)
        }
        assert drawn() == real
        assert len(real) > 10

    def test_there_are_no_others(self) -> None:
        """No other module adds to the tree, so that one page shows what can be raised."""
        elsewhere = {
            f"{module}.{node.name}"
            for module in sources()
            if module != "toolcache.errors"
            for node in ast.walk(tree(module))
            if isinstance(node, ast.ClassDef)
            for base in node.bases
            if isinstance(base, ast.Name) and base.id in drawn()
        }
        assert elsewhere == set()

    def test_their_words_are_useful(self) -> None:
        """Each error that has a default says in its text what is the matter."""
        for made in (
            errors.CacheClosedError(),
            errors.ReentrantFlightError(),
            errors.FlightAbortedError(),
            errors.CircuitOpenError(1.5),
            errors.CircuitOpenError(),
            errors.UnsupportedEventLoopError(),
            errors.CacheWriteError("delete", "redis is down"),
            errors.ValueTooLargeError(10, 5),
            errors.DispatchError(),
            errors.AlreadyInProgressError(),
            errors.WaitTimeoutError(),
            errors.TaskMismatchError(),
            errors.TakeoverLimitError(attempts=3),
            errors.TakeoverLimitError(),
            errors.StoredAgentError("ValueError"),
            errors.StoresUnavailableError(),
        ):
            assert len(str(made)) > 20
        assert errors.CircuitOpenError(1.5).retry_after == 1.5
        assert "1.500 s" in str(errors.CircuitOpenError(1.5))
