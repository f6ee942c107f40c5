"""A local mail server that keeps what it is given: for the demo and the tests, never for the network.

It listens on 127.0.0.1 only, takes any recipient, forwards nothing, and writes each message as
``<nnn>.eml`` to a folder where any mail program can open it.
"""

from __future__ import annotations

import email
import email.policy
import os
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from reports.errors import MailboxError

MESSAGE_BYTES_MAX = 10 * 1024 * 1024
"""More than any report summary; keeps a runaway sender from filling the disk with one message."""


class Mailbox:
    """An SMTP server on loopback, used as a context manager.

    Parameters
    ----------
    folder : Path
        Where the ``.eml`` files go; made if absent, what is in it already stays.
    port : int
        0 lets the system choose; the chosen one is ``self.port`` once started.
    """

    host = "127.0.0.1"

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self.folder = folder
        self.port = port
        self._count = 0
        self._controller: Controller | None = None

    def __enter__(self) -> Mailbox:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; :class:`MailboxError` if the port is taken or the folder cannot be made."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MailboxError(f"cannot make the mailbox folder {self.folder}: {error.strerror}") from error
        self._count = max((int(path.stem) for path in self.folder.glob("[0-9]*.eml")), default=0)
        controller = _Loopback(
            self,
            hostname=self.host,
            port=self.port,
            data_size_limit=MESSAGE_BYTES_MAX,
            ready_timeout=10,
        )
        try:
            controller.start()
        except OSError as error:
            raise MailboxError(
                f"cannot open a mailbox on {self.host}:{self.port}: {error.strerror}; use port 0"
            ) from error
        self._controller = controller
        self.port = controller.port

    def stop(self) -> None:
        """Close the socket; safe to call twice."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def url(self, *, to: str = "desk@localhost.localdomain") -> str:
        """The address by which Apprise sends mail here (no TLS, no password: loopback only)."""
        user, _, domain = to.partition("@")
        return (
            f"mailto://{self.host}:{self.port}?mode=insecure&smtp={self.host}"
            f"&from=sallyport@{domain}&to={user}@{domain}"
        )

    def messages(self) -> list[EmailMessage]:
        """Every message in the folder, oldest first."""
        return [
            email.message_from_bytes(path.read_bytes(), _class=EmailMessage, policy=email.policy.default)
            for path in sorted(self.folder.glob("[0-9]*.eml"))
        ]

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Write one message; the name is aiosmtpd's hook for the SMTP command."""
        self._count += 1
        path = self.folder / f"{self._count:04d}.eml"
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.write_bytes(envelope.original_content or b"")
        partial.replace(path)
        return "250 Message kept"


class _Loopback(Controller):
    """aiosmtpd's controller checks itself by connecting to the port it was *given*: learn it when it is 0."""

    def _trigger_server(self) -> None:
        if self.port == 0 and self.server is not None:
            self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()
