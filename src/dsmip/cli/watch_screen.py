"""The screen of `dsmip watch`. Needs textual, which nothing else imports."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, RichLog, Static

from dsmip.cli import explain
from dsmip.cli.events import line
from dsmip.cli.watch_view import View, Watcher, is_turn, turn_line
from dsmip.daemon.control import SOCKET_NAME, ControlError, ask

#: Seconds between two looks.
_EVERY = 1.0
_LISTED = 500
_STYLES = {
    "registered": "green",
    "moved": "yellow",
    "handover": "yellow",
    "home": "green",
    "expired": "red",
    "refused": "red",
    "binding-refused": "red",
    "detached": "red",
    "stopped": "red",
    "dropped": "red",
}


class Story(ModalScreen[None]):
    """The story of one mobile node, over everything else."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "app.pop_screen", "close"),
    ]
    CSS = """
    Story { align: center middle; }
    Story VerticalScroll { width: 90%; max-width: 110; height: auto; max-height: 80%; padding: 1 2;
        border: round $accent; background: $surface; }
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """Text that scrolls."""
        with VerticalScroll():
            yield Static(Text(self._text), id="story")


class WatchScreen(App[None]):
    """Bindings or paths above, turns below."""

    TITLE = "dsmip"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #title { height: 1; text-style: bold; padding: 0 1; }
    #summary { height: 1; color: $text-muted; padding: 0 1; }
    #filter { display: none; border: none; height: 1; padding: 0 1; }
    #filter.open { display: block; }
    #table { height: 2fr; margin-top: 1; }
    #turns { height: 1fr; min-height: 5; border-top: solid $accent; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("escape", "unfilter", "show all"),
        Binding("e", "explain", "explain", key_display="e or enter"),
        Binding("a", "everything", "all events"),
    ]

    def __init__(self, name: str, root: Path, wanted: str = "") -> None:
        super().__init__()
        self._daemon = name
        self._root = root
        self._wanted = wanted
        self._everything = False
        self._ask = functools.partial(ask, name, root=root)
        self._watcher = Watcher(self._ask)
        self._headings: tuple[str, ...] = ()
        self._keys: tuple[str, ...] = ()

    def compose(self) -> ComposeResult:
        """Title, summary, filter, table, turns, keys."""
        yield Static(self._daemon, id="title", markup=False)
        yield Static("", id="summary", markup=False)
        yield Input(self._wanted, placeholder="name, address or tunnel", id="filter")
        yield DataTable(id="table", cursor_type="row", zebra_stripes=True)
        yield RichLog(id="turns", max_lines=_LISTED, wrap=True)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look and to listen."""
        if self._wanted:
            self.query_one("#filter").add_class("open")
        self.query_one("#table").focus()
        self.run_worker(self._look(), name="look")
        # Not before the lines have a width to be wrapped at.
        self.call_after_refresh(self.run_worker, self._listen(), name="listen")

    # Looking -----------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        while True:
            await self._look_once()
            await asyncio.sleep(_EVERY)

    async def _look_once(self) -> None:
        try:
            view = await asyncio.to_thread(self._watcher.look, self._wanted, time.monotonic())
        except ControlError as error:
            self._say(str(error))
        else:
            self._show(view)

    def _show(self, view: View) -> None:
        self.query_one("#title", Static).update(view.title)
        self._say(f"{view.summary}; {view.note}" if view.note else view.summary)
        table: DataTable[Text] = self.query_one("#table", DataTable)
        if view.headings != self._headings:
            table.clear(columns=True)
            for heading in view.headings:
                table.add_column(heading, key=heading)
            self._headings, self._keys = view.headings, ()
        keys = tuple(row.key for row in view.rows)
        if keys != self._keys:
            # Rows came or went: anew, with the cursor where it was.
            at = table.cursor_row
            table.clear()
            for row in view.rows:
                table.add_row(*map(Text, row.cells), key=row.key)
            table.move_cursor(row=min(at, max(0, len(keys) - 1)))
            self._keys = keys
            return
        for row in view.rows:
            for heading, cell in zip(view.headings, row.cells, strict=True):
                if table.get_cell(row.key, heading).plain != cell:
                    table.update_cell(row.key, heading, Text(cell), update_width=True)

    def _say(self, text: str) -> None:
        self.query_one("#summary", Static).update(text)

    # Listening ---------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Events as they happen; again and again, should the daemon be restarted."""
        past = _LISTED
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(
                    str(self._root / self._daemon / SOCKET_NAME), limit=1 << 20
                )
            except OSError:
                await asyncio.sleep(_EVERY)
                continue
            try:
                request = {"command": "events", "follow": True, "past": past}
                writer.write(json.dumps(request).encode() + b"\n")
                await reader.readline()
                while text := await reader.readline():
                    self._tell(json.loads(text))
            except (OSError, ValueError):
                pass  # the daemon went away in the middle of a line
            finally:
                writer.close()
            past = 0
            await asyncio.sleep(_EVERY)

    def _tell(self, record: Mapping[str, Any]) -> None:
        if is_turn(record):
            text = turn_line(record)
        elif self._everything:
            text = line(record)
        else:
            return
        style = _STYLES.get(str(record.get("event")), "")
        self.query_one("#turns", RichLog).write(Text(text, style=style), expand=True)

    # Keys --------------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Open the line for the filter."""
        field = self.query_one("#filter", Input)
        field.add_class("open")
        field.focus()

    def action_unfilter(self) -> None:
        """Show everything again."""
        field = self.query_one("#filter", Input)
        field.value = ""
        field.remove_class("open")
        self.query_one("#table").focus()

    def action_everything(self) -> None:
        """Tell all events from now on, or turns only."""
        self._everything = not self._everything
        self.notify("all events from now on" if self._everything else "handovers only from now on")

    async def on_input_changed(self, event: Input.Changed) -> None:
        """The filter works while it is typed."""
        self._wanted = event.value.strip()
        await self._look_once()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Back to the table."""
        self.query_one("#table").focus()

    async def action_explain(self) -> None:
        """The story of the row under the cursor."""
        row = self.query_one("#table", DataTable).cursor_row
        if row < len(self._keys):
            await self._explain(self._keys[row])

    async def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter, or a click."""
        await self._explain(str(event.row_key.value))

    async def _explain(self, key: str) -> None:
        # A binding's key is its home address; a mobile node explains itself, whatever the row.
        node = key if self._headings[0] == "MOBILE NODE" else ""
        try:
            told = await asyncio.to_thread(self._ask, "explain", node=node)
        except ControlError as error:
            self.notify(str(error), severity="error")
        else:
            self.push_screen(Story(explain.text(told["story"])))
