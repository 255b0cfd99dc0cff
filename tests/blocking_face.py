"""Writes the methods of ``BlockingToolCache``: those of ``ToolCache``, for callers that wait.

    PYTHONPATH=. python tests/blocking_face.py

A module of methods comes from each module that has some; a test says when they must be written again.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any, Final

import toolcache
from toolcache import ToolCache
from toolcache.alerts.alerts import Alerts
from toolcache.declared import Declared
from toolcache.memories import Memories
from toolcache.sessions import Sessions
from toolcache.tools import Tools

PACKAGE: Final = Path(toolcache.__file__).parent
BY_HAND: Final = {
    "aclose",
    "closed",
    "from_env",
    "from_url",
    "cached",
    "on",
    "off",
    "emit",
    "schedule",
    "for_agent",
    "copy_to",
} | {
    "edit",
    "limited",
    "normalized",
    "evaluate",
    "forked",
}
"""What the face itself has, and says otherwise."""

_ITEMS: Final = {"__getitem__", "__setitem__", "__delitem__", "__iter__", "__len__"}

_HEAD: Final = '"""{title}\n\nWritten by tests/blocking_face.py.\n"""\n\n'
_CALLABLES: Final = {
    "Compute": "_find",
    "Embed": "_with",
    "Run": "_with",
    "Remember": "_with",
    "Callable[[Session], Any]": "_with",
    "Work": "_run",
}
_OF_COMPUTATIONS: Final = {"batch_size=batch_size"}
"""What is said of computations alone."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(module: str) -> ast.Module:
    """The syntax of a module of the package."""
    file = PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
    return ast.parse(file.read_text("utf-8"))


# What a cache hands out, which has methods to wait for.
ROOMS: Final[tuple[type[Any], ...]] = (Declared, Sessions, Memories, Tools, Alerts)

_ROOM: Final = """    def __init__(self, room: {own}, portal: Portal) -> None:
        super().__init__(portal)
        self._cache = room
"""


def owners(cls: type[Any]) -> dict[type[Any], list[str]]:
    """The classes that a class is made of, and the public methods that it has from each, as they stand there."""
    found: dict[type[Any], list[str]] = {}
    for owner in cls.__mro__[:-1]:
        if not owner.__module__.startswith("toolcache."):
            continue
        said = _ITEMS if cls in ROOMS else set()
        names = [
            name
            for name, member in vars(owner).items()
            if isinstance(member, FunctionType) and (name[0] != "_" or name in said)
        ]
        mine = [name for name in names if getattr(cls, name) is vars(owner)[name] and name not in BY_HAND]
        if mine:
            found[owner] = mine
    return found


class Module:
    """One module of methods.

    Args:
        owner: the class whose methods they are.
        names: theirs.
    """

    def __init__(self, owner: type[Any], names: list[str]) -> None:
        self.name = owner.__module__.rpartition(".")[2]
        self.class_name = f"Blocking{owner.__name__}" if owner is not ToolCache else "BlockingCalls"
        self._source = owner.__module__
        self._owner = owner
        self._names = names
        self._is_room = owner in ROOMS
        self._used: set[str] = set()

    def text(self) -> str:
        """Its source."""
        (found,) = [
            n for n in tree(self._source).body if isinstance(n, ast.ClassDef) and n.name == self._owner.__name__
        ]
        methods = [n for n in found.body if isinstance(n, Function) and n.name in self._names]
        body = "\n".join(self._method(method) for method in methods)
        name, bases, own = self._owner.__name__, ["Face"], "ToolCache"
        begin = ""
        self._used.add("Portal" if self._is_room else "ToolCache")
        if self._is_room:
            generic = [ast.unparse(base) for base in found.bases if ast.unparse(base).startswith("Generic")]
            bases += generic
            own = name + "".join(base.removeprefix("Generic") for base in generic)
            self._used |= {name, *re.findall(r"\w+", " ".join(generic))}
            begin = f"\n{_ROOM.format(own=own)}"
        head = _HEAD.format(title=f"The methods of ``{name}``, for callers that wait.")
        kind = f"\n    _cache: {own}\n{begin}\n"
        variables = "".join(f'\n{one} = TypeVar("{one}")\n' for one in sorted(self._used & {"T"}))
        self._used |= {"TypeVar"} if variables else set()
        return f'{head}{self._imports()}\n{variables}\n\nclass {self.class_name}({", ".join(bases)}):\n    """See ``{name}``."""\n{kind}{body}\n'

    def _method(self, method: Function) -> str:
        _unquote(method)
        arguments = method.args
        self._note(arguments)
        decorators = [ast.unparse(one) for one in method.decorator_list]
        returns = ast.unparse(method.returns) if method.returns else "None"
        generator = re.fullmatch(r"(?:AsyncIterator|AsyncGenerator|Scan)\[(.*?)(?:, None)?\]", returns)
        if generator:
            returns = f"Iterator[{generator[1]}]"
            self._used.add("Iterator")
        if method.returns and not generator:
            self._note(method.returns)
        elif method.returns:
            self._note(method.returns.slice if isinstance(method.returns, ast.Subscript) else method.returns)
        lines = [f"@{one}" for one in decorators]
        self._used |= set(decorators)
        lines.append(f"def {method.name}({ast.unparse(arguments)}) -> {returns}:")
        if "overload" in decorators:
            return "\n".join(f"    {line}" for line in (*lines[:-1], f"{lines[-1]} ..."))
        said = re.sub(r"\bawait ", "", ast.get_docstring(method, clean=False) or "")
        lines += [f'    """{said}"""'] if said else []
        lines += [f"    {line}" for line in self._answer(method, generator=bool(generator))]
        return "\n".join(f"    {line}" for line in lines) + "\n"

    def _answer(self, method: Function, *, generator: bool) -> Iterator[str]:
        asked = f"self._cache.{method.name}"
        passed = list(_passed(method.args))
        if generator:
            yield f"return self._each(lambda: {asked}({', '.join(passed)}))"
            return
        if not isinstance(method, ast.AsyncFunctionDef):
            yield f"return {asked}({', '.join(passed)})"
            return
        called = next(_callables(method.args), None)
        if called is None:
            quick = method.name == "get"
            yield f"return self.{'_hit' if quick else '_call'}({', '.join([asked, *passed])})"
            return
        name, kind = called
        if kind == "Compute":
            again = [one for one, said in _annotated(method.args) if said.startswith("Iterable[")]
            yield from (f"{one} = several({one})" for one in again)
            self._used |= {"several"} if again else set()
        if _is_optional(method.args, name):
            quick = kind == "Compute"
            without = [one for one in passed if one not in {name, f"{name}={name}", *_OF_COMPUTATIONS}]
            yield f"if {name} is None:"
            yield f"    return self.{'_hit' if quick else '_call'}({', '.join([asked, *without])})"
        inner = ", ".join(re.sub(rf"(^|=){name}$", r"\1made", one) for one in passed)
        how = ', limited=options.get("timeout") is not None' if kind == "Work" else ""
        yield f"return self.{_CALLABLES[kind]}({name}, lambda made: {asked}({inner}){how})"

    def _note(self, node: ast.AST) -> None:
        self._used |= {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}

    def _imports(self) -> str:
        face = "toolcache.blocking.face"
        known = {"Iterator": "collections.abc", "overload": "typing", "Face": face, "several": face}
        known |= {"Portal": "toolcache.blocking.portal", "ToolCache": "toolcache.tool_cache", "TypeVar": "typing"}
        plain = set()
        for node in ast.walk(tree(self._source)):
            if isinstance(node, ast.Import):
                plain |= {alias.name for alias in node.names}
            if isinstance(node, ast.ImportFrom) and node.module:
                known |= {alias.asname or alias.name: node.module for alias in node.names}
        for node in tree(self._source).body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                known[node.target.id] = self._source
            elif isinstance(node, ast.ClassDef):
                known[node.name] = self._source
        lines: dict[str, list[str]] = {}
        for name in sorted({*self._used, "Face"}):
            if name in known:
                lines.setdefault(known[name], []).append(name)
        begin = "".join(f"import {name}\n" for name in sorted(plain & self._used))
        return begin + "\n".join(f"from {module} import {', '.join(names)}" for module, names in sorted(lines.items()))


class _Unquoted(ast.NodeTransformer):
    """Annotations that are texts, as what they say."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """A text."""
        return ast.parse(node.value, mode="eval").body if isinstance(node.value, str) else node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """What has parts, which may be texts and mean it."""
        return node if ast.unparse(node.value) == "Literal" else self.generic_visit(node)


def _unquote(method: Function) -> None:
    arguments = method.args
    for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
        if one is not None and one.annotation is not None:
            one.annotation = _Unquoted().visit(one.annotation)
    if method.returns is not None:
        method.returns = _Unquoted().visit(method.returns)


def _passed(arguments: ast.arguments) -> Iterator[str]:
    """The arguments, as they are handed on."""
    for one in (*arguments.posonlyargs, *arguments.args)[1:]:
        yield one.arg
    if arguments.vararg:
        yield f"*{arguments.vararg.arg}"
    for one in arguments.kwonlyargs:
        yield f"{one.arg}={one.arg}"
    if arguments.kwarg:
        yield f"**{arguments.kwarg.arg}"


def _annotated(arguments: ast.arguments) -> Iterator[tuple[str, str]]:
    for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        if one.annotation is not None:
            yield one.arg, ast.unparse(one.annotation)


def _callables(arguments: ast.arguments) -> Iterator[tuple[str, str]]:
    """The computations among the arguments, and of what kind each is."""
    for name, kind in _annotated(arguments):
        if (bare := kind.removesuffix(" | None")) in _CALLABLES:
            yield name, bare


def _is_optional(arguments: ast.arguments, name: str) -> bool:
    return dict(_annotated(arguments))[name].endswith("| None")


def modules() -> list[Module]:
    """All of them."""
    found = [owners(ToolCache), *map(owners, ROOMS)]
    return [Module(owner, names) for some in found for owner, names in some.items()]


def main() -> None:
    """Write them, as the formatter would have them."""
    files = []
    for module in modules():
        file = PACKAGE / "blocking" / f"{module.name}_methods.py"
        file.write_text(module.text(), "utf-8")
        files.append(str(file))
    ruff = [sys.executable, "-m", "ruff"]
    subprocess.run([*ruff, "check", "--fix", "-q", *files], check=False)
    subprocess.run([*ruff, "format", "-q", *files], check=True)


if __name__ == "__main__":
    main()
