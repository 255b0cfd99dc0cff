"""A screen: text, tables and lists on a terminal or in a pipe, in its width, its letters and, if it wants them, its colours."""

import codecs
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TextIO

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from toolcache.cli import charts

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH: Final = 80
"""Of a pipe, unless ``COLUMNS`` says otherwise."""
_LEAST: Final = 16
"""Letters of a column that can do with fewer than it would take."""

GOOD: Final = "green"
WARN: Final = "yellow"
BAD: Final = "bold red"
DIM: Final = "dim"
HEAD: Final = "bold"
ACCENT: Final = "cyan"

_PLAIN_LETTERS: Final = str.maketrans(
    {
        **dict(zip(charts.BLOCKS, "_.,-=+*#", strict=True)),
        charts.NOTHING: ".",
        charts.EMPTY: ".",
        "µ": "u",
        "–": "-",
        "→": ">",
        "…": "~",
        "─": "-",
        "’": "'",
        "×": "x",
        "✓": "+",
        "✗": "x",
        "●": "*",
        "○": "o",
        "▲": "!",
        "━": "-",
        "╸": "-",
        "╺": "-",
    }
)
_FILLED: Final = re.compile(r" +\n")
_DUMB: Final = frozenset({"dumb", "unknown"})


class Column(NamedTuple):
    """A column of a table.

    ``right`` for numbers. Where there is no room for all, those of the highest ``rank`` are left out first; the first column, and
    those of rank 0, stay. ``fold``: breaks what is long rather than cut it off.
    """

    title: str
    right: bool = True
    rank: int = 0
    fold: bool = False
    style: str = ""


Cell = str | Text


def shown(text: str) -> str:
    """Text of others as it may stand on a terminal: what is no letter, such as an escape code, is told by its number."""
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def styled(text: str, style: str) -> Text:
    """Text in a style."""
    return Text(text, style=style)


def colours(environ: Mapping[str, str], *, terminal: bool, plain: bool) -> str | None:
    """The colours to write: "auto" finds out what the terminal has, "standard" are sixteen; None for none.

    ``--no-color`` and ``NO_COLOR`` win, then ``FORCE_COLOR``, then what is known of the terminal.
    """
    if plain or environ.get("NO_COLOR"):
        return None
    if environ.get("FORCE_COLOR", "0").lower() not in {"", "0", "false"}:
        return "standard"
    return "auto" if terminal and environ.get("TERM", "") not in _DUMB else None


class _Plain:
    """A stream that is no terminal, or whose encoding lacks what is drawn with.

    Nothing is left at the ends of lines that only fills them up, and letters that are not there become what comes near.
    """

    def __init__(self, stream: TextIO, *, letters: bool) -> None:
        self._stream = stream
        self._letters = letters

    def write(self, text: str) -> int:
        """Write it so."""
        text = _FILLED.sub("\n", text)
        if not self._letters:
            encoding = self._stream.encoding or "ascii"
            text = text.translate(_PLAIN_LETTERS).encode(encoding, "backslashreplace").decode(encoding)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Console(Console):
    """A console that leaves it to others what becomes of a reader that has left."""

    def on_broken_pipe(self) -> None:
        """Pass it on."""
        raise BrokenPipeError


class Screen:
    """Where a verb tells a person something.

    Args:
        stream: standard output, or standard error.
        environ: says which colours are wanted, and how wide a pipe is.
        plain: no colours.
    """

    def __init__(self, stream: TextIO, environ: Mapping[str, str], *, plain: bool = False) -> None:
        self.terminal = stream.isatty()
        system = colours(environ, terminal=self.terminal, plain=plain)
        width = None if self.terminal else int(_digits(environ.get("COLUMNS")) or WIDTH)
        self.has_letters = _has_letters(stream)
        self.console: Console = _Console(
            file=stream if self.terminal and self.has_letters else _Plain(stream, letters=self.has_letters),  # type: ignore[arg-type]  # as much of a stream as is used
            force_terminal=self.terminal or system is not None,
            color_system=system,  # type: ignore[arg-type]  # of the words that it takes
            width=width,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=False,
            legacy_windows=False,
        )
        self.coloured = self.console.color_system is not None

    @property
    def width(self) -> int:
        """Columns."""
        return self.console.width

    def show(self, *things: RenderableType | None) -> None:
        """Text and tables, one below the other; None is none."""
        for thing in things:
            if thing is not None:
                self.console.print(thing)

    def note(self, text: str) -> None:
        """A sentence, broken where it is too long."""
        self.console.print(Text(text))

    def line(self, text: str) -> None:
        """A line as it is, however long."""
        self.console.print(Text(text), soft_wrap=True)


def _digits(text: str | None) -> str:
    return text if text and text.isdecimal() and int(text) > 0 else ""


def _has_letters(stream: TextIO) -> bool:
    try:
        return codecs.lookup(stream.encoding or "ascii").name.startswith("utf-")
    except LookupError:
        return False


def heading(title: str, *more: str) -> Text:
    """A title, and what belongs to it."""
    return Text.assemble((title, HEAD), *((f"  {one}", DIM) for one in more))


def table(columns: Sequence[Column], rows: Iterable[Sequence[Cell]], width: int) -> Table:
    """Rows beneath their titles, numbers to the right. Where there is no room columns are left out, and at last names cut off."""
    lines = list(rows)
    takes = [
        max(len(column.title), *(cell_len(_letters(line[place])) for line in lines), 0)
        for place, column in enumerate(columns)
    ]
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style=DIM, show_edge=False)
    kept = _kept(columns, takes, width)
    others = sum(min(takes[place], _LEAST) if columns[place].fold else takes[place] for place in kept[1:])
    most = max(_LEAST, width - others - 2 * (len(kept) - 1))
    for place in kept:
        column = columns[place]
        made.add_column(
            column.title,
            justify="right" if column.right else "left",
            style=column.style,
            no_wrap=not column.fold,
            overflow="fold" if column.fold else "ellipsis",
            min_width=None if column.fold or place == kept[0] else takes[place],
            max_width=most if place == kept[0] else None,
        )
    for line in lines:
        made.add_row(*(line[place] for place in kept))
    return made


def _kept(columns: Sequence[Column], takes: Sequence[int], width: int) -> list[int]:
    """The places of the columns that there is room for."""
    kept = list(range(len(columns)))
    needs = [min(most, _LEAST) if column.fold else most for column, most in zip(columns, takes, strict=True)]
    needs[0] = min(needs[0], max(_LEAST, width * 2 // 5))

    def wanted() -> int:
        return sum(needs[place] for place in kept) + 2 * (len(kept) - 1)

    while wanted() > width and (worst := max(kept, key=lambda place: (columns[place].rank, place))) != kept[0]:
        if not columns[worst].rank:
            break
        kept.remove(worst)
    return kept


def _letters(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell.plain


def fields(pairs: Iterable[tuple[str, Cell]]) -> Table:
    """Names, and what they are."""
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    made.add_column(style=DIM, no_wrap=True)
    made.add_column(overflow="fold")
    for name, said in pairs:
        made.add_row(name, said)
    return made


def indented(thing: RenderableType, by: int = 2) -> Padding:
    """Something a little to the right."""
    return Padding(thing, (0, 0, 0, by))


def stacked(things: "Iterable[RenderableType | None]") -> Group:
    """One below the other, an empty line between."""
    return Group(*_apart(things))


def _apart(things: "Iterable[RenderableType | None]") -> "Iterator[RenderableType]":
    first = True
    for thing in things:
        if thing is None:
            continue
        if not first:
            yield Text("")
        first = False
        yield thing
