"""Somebody with a page's address and a program instead of a browser: any message to any widget."""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
import websocket

if TYPE_CHECKING:
    from collections.abc import Iterator

HARMLESS = ("Cancel", "Stop", "Close")


class KernelVisitor:
    """Opens a page of Voila and talks to its kernel over the websocket.

    Attributes
    ----------
    page
        The HTML that the server sent.
    """

    def __init__(self, url: str) -> None:
        answer = requests.get(url, timeout=120)
        answer.raise_for_status()
        self.page = answer.text
        found = re.search(r'"?kernelId"?: ?"([0-9a-f-]{36})"', self.page)
        assert found, "the page names its kernel"
        parts = urlsplit(url)
        cookies = "; ".join(f"{name}={value}" for name, value in answer.cookies.items())
        self._socket = websocket.create_connection(
            f"ws://{parts.netloc}/api/kernels/{found[1]}/channels?{parts.query}",
            cookie=cookies,
            timeout=60,
        )

    def close(self) -> None:
        self._socket.close()

    def send(self, kind: str, content: dict) -> str:
        number = uuid.uuid4().hex
        header = {
            "msg_id": number,
            "msg_type": kind,
            "session": "visitor",
            "username": "visitor",
            "version": "5.4",
            "date": "2026-01-01T00:00:00Z",
        }
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        self._socket.send(json.dumps({**message, "channel": "shell", "buffers": []}))
        return number

    def ask(self, kind: str, content: dict) -> dict:
        """Send a request and return the content of its reply; all sent before has been heard."""
        number = self.send(kind, content)
        for said in self._messages():
            if said["parent_header"].get("msg_id") == number and said["channel"] == "shell":
                return said["content"]
        raise AssertionError("the connection ended")

    def widgets(self) -> dict[str, dict]:
        """Every widget model that exists, with its state."""
        comms = self.ask("comm_info_request", {"target_name": "jupyter.widget"})["comms"]
        states, left = {}, set(comms)
        for comm_id in comms:  # one after the other takes longer than an offer stands
            self.send("comm_msg", {"comm_id": comm_id, "data": {"method": "request_state"}})
        for said in self._messages() if left else ():
            content = said["content"]
            state, comm_id = content.get("data", {}).get("state", {}), content.get("comm_id")
            if comm_id in left and "_model_name" in state:
                states[comm_id] = state  # whole; a trait that changed comes alone
                left.discard(comm_id)
            left -= set(re.findall(r"No such comm: (\w+)", str(content.get("text", ""))))
            if not left:
                break
        return states

    def click(self, words: str = "") -> int:
        """Tick every box and click every widget there is, but for what takes something back.

        With ``words``, only those whose description holds them.
        """
        states = self.widgets()
        for comm_id, state in states.items():
            said = state.get("description", "")
            if said in HARMLESS or words not in said:
                continue
            if isinstance(state.get("value"), bool):
                self._tell(comm_id, {"method": "update", "state": {"value": True}})
            self._tell(comm_id, {"method": "custom", "content": {"event": "click"}})
        self.ask("kernel_info_request", {})
        return len(states)

    def _tell(self, comm_id: str, data: dict) -> None:
        self.send("comm_msg", {"comm_id": comm_id, "data": {"buffer_paths": [], **data}})

    def _messages(self) -> Iterator[dict]:
        while True:
            yield json.loads(self._socket.recv())
