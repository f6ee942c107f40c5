"""A TCP proxy before Postgres that counts what passes and cuts every connection at a given message."""

from __future__ import annotations

import contextlib
import socket
import threading

import psycopg
import pytest
from sqlalchemy.engine import make_url

from sql.ledger import Ledger
from sql.server import libpq_url


class CuttingProxy:
    """Listens on loopback and forwards to a Unix socket or address; ``cut_after`` counts messages.

    A message is one burst in one direction, which is how psycopg and Postgres talk: one for a statement,
    one for its answer. ``cut_after`` None passes everything. At the cut the burst is not forwarded.
    """

    def __init__(self, target: str | tuple[str, int]) -> None:
        self.target = target
        self.passed = 0
        self.cut_after: int | None = None
        self._pairs: list[socket.socket] = []
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, messages: int | None) -> None:
        """Cut when ``messages`` more have passed; None = never."""
        with self._lock:
            self.passed, self.cut_after = 0, messages

    def cut(self) -> None:
        """Cut every connection now."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for end in pairs:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        """Stop listening and cut."""
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            family = socket.AF_UNIX if isinstance(self.target, str) else socket.AF_INET
            server = socket.socket(family)
            server.connect(self.target)
            with self._lock:
                self._pairs += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while burst := source.recv(1 << 16):
                with self._lock:
                    self.passed += 1
                    over = self.cut_after is not None and self.passed > self.cut_after
                if over:
                    self.cut()
                    return
                sink.sendall(burst)
        except OSError:
            pass
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


def proxied(ledger: Ledger) -> tuple[CuttingProxy, str]:
    """A proxy before the ledger's server and the ledger's address through it."""
    with psycopg.connect(libpq_url(ledger.url)) as connection:
        host, port = connection.info.host, connection.info.port
    proxy = CuttingProxy(f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port))
    url = make_url(ledger.url).difference_update_query(["host"]).set(host="127.0.0.1", port=proxy.port)
    through = url.update_query_dict({"sslmode": "disable", "gssencmode": "disable"})
    address = through.render_as_string(hide_password=False)
    try:
        psycopg.connect(libpq_url(address)).close()
    except psycopg.OperationalError as error:
        proxy.close()
        pytest.skip(f"this server does not take our login over TCP: {error}")
    return proxy, address
