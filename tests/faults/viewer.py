"""Somebody who keeps pages open: one Streamlit session a page, rerun over the websocket as the browser does."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from streamlit.proto.BackMsg_pb2 import BackMsg
from websockets.sync.client import connect

from bench.websocket import Shown, address, handshake

# What a page may take while something is down; the promise is 5 s on a machine that does nothing else.
SLOWEST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at a page: everything readable, and how long it took."""

    page: str
    texts: tuple[str, ...]
    seconds: float

    @property
    def text(self) -> str:
        return "\n".join(self.texts)

    def sentences(self, *words: str) -> list[str]:
        """The texts that hold all of `words`."""
        return [text for text in self.texts if all(word in text for word in words)]


class Viewer:
    """`page` as one signed-in person has it open. Every look checks that no exception is shown."""

    def __init__(self, port: int, page: str, cookies: Mapping[str, str]) -> None:
        self._page = page
        self._open = ExitStack()
        self._connection = self._open.enter_context(connect(address(port), **handshake(port, cookies)))
        self._buttons: dict[str, str] = {}

    def look(self, *, press: str | None = None) -> Seen:
        """Rerun the page, with the button labelled `press` pressed."""
        request = BackMsg()
        request.rerun_script.page_name = self._page
        if press is not None:
            state = request.rerun_script.widget_states.widgets.add()
            state.id, state.trigger_value = self._buttons[press], True
        begun = time.monotonic()
        self._connection.send(request.SerializeToString())
        shown = Shown()
        while not shown.take(self._connection.recv(60, decode=False)):
            pass
        seen = Seen(self._page, tuple(_plain(text) for text in shown.texts), time.monotonic() - begun)
        self._buttons = shown.buttons
        assert shown.exceptions == 0, f"{self._page} shows an exception: {seen.text}"
        assert "Traceback" not in seen.text, seen.text
        assert "Something went wrong on our side" not in seen.text, seen.text
        assert seen.seconds < SLOWEST_SECONDS, f"{self._page} took {seen.seconds:.1f} s"
        return seen

    def close(self) -> None:
        self._open.close()


def _plain(text: str) -> str:
    return text.replace("\\", "")
