"""Chat under kills: who writes to a thread without pause, and what is killed meanwhile."""

import threading
from itertools import count

from azure.communication.chat import ChatThreadClient
from azure.core.exceptions import AzureError
from tests.support import processes
from tests.support.patience import PATIENCE_S

from landline.testing import Server

PAUSE_S = 2.0


def kill_server(server: Server) -> None:
    server.kill()
    server.restart()


def kill_postgresql(server: Server) -> None:
    processes.kill_postgresql(server.pid)


class Writers:
    """Threads that write to one chat thread until stopped; `acknowledged`: id to text. An error makes a thread wait for
    `resume`: what connects to a dying server leaves sockets behind in the SDK's transport."""

    def __init__(self, clients: list[ChatThreadClient]) -> None:
        self.acknowledged: dict[str, str] = {}
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._resumed = 0
        self._begun = 0
        self._answered: list[int] = []
        self._threads = [
            threading.Thread(target=self._write, args=(client, at), daemon=True) for at, client in enumerate(clients)
        ]
        for thread in self._threads:
            thread.start()

    def wait_for(self, more: int) -> None:
        """Return when so many of those that begin from now on were acknowledged."""
        with self._changed:
            first = self._begun
            enough = self._changed.wait_for(lambda: sum(each > first for each in self._answered) >= more, PATIENCE_S)
            assert enough, f"{self._answered[-5:]} of {self._begun} were acknowledged last"

    def resume(self) -> None:
        with self._changed:
            self._resumed += 1
            self._changed.notify_all()

    def stop(self) -> None:
        self._stopped.set()
        self.resume()
        for thread in self._threads:
            thread.join()

    def _write(self, client: ChatThreadClient, at: int) -> None:
        for number in count():
            if self._stopped.is_set():
                return
            with self._changed:
                self._begun += 1
                text, begun, before = f"{at}.{number}", self._begun, self._resumed
            try:
                message = client.send_message(text).id
            except AzureError:
                with self._changed:
                    self._changed.wait_for(lambda before=before: self._resumed > before, PAUSE_S)
                continue
            with self._changed:
                self.acknowledged[message] = text
                self._answered.append(begun)
                self._changed.notify_all()
