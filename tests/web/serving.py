"""The page on a real port, and a small client that asks it as browsers and programs do."""

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlencode

from worker.config import Settings
from worker.web import Listening, listen

TOKEN = "a-token-of-this-test-alone"


class Answer(NamedTuple):
    code: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def mark(self) -> str:
        """What a form on this page sends along."""
        found = re.search(r'name="mark" value="([^"]+)"', self.text)
        assert found, self.text
        return found[1]


class Client:
    """One browser: it keeps its cookie and follows nothing by itself."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookie = ""

    def ask(self, method: str, path: str, body: str = "", **headers: str) -> Answer:
        given = {"Accept": "text/html"} | ({"Cookie": self.cookie} if self.cookie else {})
        if method == "POST":
            given |= {"Content-Type": "application/x-www-form-urlencoded"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body or None, given)
        response = connection.getresponse()
        answer = Answer(response.status, response.headers, response.read().decode())
        connection.close()
        if set_cookie := answer.headers.get("Set-Cookie"):
            self.cookie = set_cookie.partition(";")[0]
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def shown(self, path: str) -> str:
        answer = self.get(path)
        assert answer.code == 200, answer
        return answer.text

    def send(self, path: str, fields: dict[str, str], **headers: str) -> Answer:
        return self.ask("POST", path, urlencode(fields), **headers)

    def sign_in(self, token: str = TOKEN) -> Answer:
        return self.send("/sign-in", {"mark": self.get("/sign-in").mark, "token": token})


@contextmanager
def served(settings: Settings, host: str = "127.0.0.1", names: tuple[str, ...] = ()) -> Iterator[Listening]:
    """Serve the page of these settings on a free port."""
    with listen(settings, host=host, port=0, names=names) as page:
        serving = threading.Thread(target=page.run)
        serving.start()
        try:
            yield page
        finally:
            page.stop()
            serving.join(30)
            assert not serving.is_alive()
