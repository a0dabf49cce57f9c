"""What is shown in a terminal: words from outside are never markup, and figures are never cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.box import HEAVY_HEAD, Box
from rich.cells import cell_len
from rich.console import Console
from rich.progress import TextColumn
from rich.table import Table

from nebula_tune.words import printable

LEAST = 12  # columns that a name is folded to at most


def plain_console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console that shows texts as they are: no markup, no emoji codes, no colours of its own."""
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


def plain_text(template: str) -> TextColumn:
    """A progress bar's column that shows texts as they are."""
    return TextColumn(template, markup=False)


def say(console: Console, text: str) -> None:
    """A line for the user, as long as it is."""
    console.print(printable(text), markup=False, emoji=False, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class SheetColumn:
    """A table's column: names, which may be folded, or figures, which may not."""

    title: str
    justify: Literal["left", "right"] = "right"
    folds: bool = False


@dataclass
class Sheet:
    """A table that keeps its figures whole: in little room names are folded, in less each row becomes lines."""

    columns: Sequence[SheetColumn]
    title: str | None = None
    box: Box | None = HEAVY_HEAD
    padding: tuple[int, int, int, int] = (0, 1, 0, 1)
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """A row; what it lacks at its end is empty."""
        row = [printable(cell) for cell in cells]
        self.rows.append((*row, *[""] * (len(self.columns) - len(row))))

    def show(self, console: Console) -> None:
        """Print it as wide as the console has room."""
        room = console.width - self._frame
        longest = [max(map(cell_len, texts)) for texts in self._texts(whole=True)]
        if sum(longest) <= room:
            console.print(self._table(None))
            return
        least = [
            min(most, max(LEAST, min_title)) if column.folds else max(map(cell_len, texts))
            for column, texts, most, min_title in zip(
                self.columns, self._texts(whole=False), longest, map(_longest_word, self.columns), strict=True
            )
        ]
        if sum(least) > room:
            self._show_lines(console)
        else:
            console.print(self._table(_widened(least, longest, room, self.columns)))

    @property
    def _frame(self) -> int:
        """Columns of a line that padding and box take."""
        return len(self.columns) * (self.padding[1] + self.padding[3]) + (len(self.columns) + 1 if self.box else 0)

    def _texts(self, whole: bool) -> list[list[str]]:
        """Each column's cells, with its title, or that title's words."""
        titles = [[column.title] if whole else column.title.split() for column in self.columns]
        return [[*title, *(row[k] for row in self.rows)] for k, title in enumerate(titles)]

    def _table(self, widths: Sequence[int] | None) -> Table:
        title = None if self.title is None else printable(self.title)
        table = Table(title=title, title_justify="left", box=self.box, padding=self.padding)
        for k, column in enumerate(self.columns):
            width = widths[k] if widths else None
            table.add_column(column.title, justify=column.justify, overflow="fold", width=width)
        for row in self.rows:
            table.add_row(*row)
        return table

    def _show_lines(self, console: Console) -> None:
        if self.title is not None:
            say(console, self.title)
        for row in self.rows:
            for k, (column, cell) in enumerate(zip(self.columns, row, strict=True)):
                if cell:
                    say(console, f"{'  ' if k else ''}{column.title}: {cell}")


def _longest_word(column: SheetColumn) -> int:
    return max(map(cell_len, column.title.split()))


def _widened(least: Sequence[int], longest: Sequence[int], room: int, columns: Sequence[SheetColumn]) -> list[int]:
    """Widths of columns, from the least they need, until the room is used: names first, then titles of figures."""
    widths = list(least)
    for folds in (True, False):
        places = [k for k, column in enumerate(columns) if column.folds is folds]
        while sum(widths) < room and (short := [k for k in places if widths[k] < longest[k]]):
            widths[min(short, key=lambda k: widths[k])] += 1
    return widths
