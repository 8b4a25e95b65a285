"""One question to a PostgreSQL server over its Unix socket.

Owns just enough of the frontend/backend protocol 3.0
(postgresql.org/docs/18/protocol-message-formats.html) to log in without a password, send one simple
query and read the answer. A start needs this before there is a pool, and meanwhile an operator
wants to read the server's own words ("the database system is starting up"). It must never carry the
service's queries; those go through the gateway.
"""

import struct
from pathlib import Path
from typing import Final

import trio

_PROTOCOL: Final = 3 << 16
_MAX_ANSWER_BYTES: Final = 65_536


class NoAnswer(Exception):
    """The server did not answer the question.

    It is away, still starting, or refuses; the message says which.
    """


async def ask(
    socket: Path, sql: str, *, database: str = "postgres", timeout_seconds: float = 5.0
) -> list[str | None]:
    """Return the first column of every row that `sql` returns, as text.

    Waits at most the timeout. Raises NoAnswer.
    """
    try:
        with trio.fail_after(timeout_seconds):
            async with await trio.open_unix_socket(str(socket)) as stream:
                await stream.send_all(_startup(database) + _query(sql) + _TERMINATE)
                return await _read_answer(stream)
    except trio.TooSlowError as slow:
        raise NoAnswer(f"no answer within {timeout_seconds:g} s") from slow
    except (OSError, trio.BrokenResourceError) as away:
        raise NoAnswer(f"not reachable on {socket}: {away}") from away


async def _read_answer(stream: trio.SocketStream) -> list[str | None]:
    rows: list[str | None] = []
    received = b""
    ready = 0
    # ReadyForQuery comes twice: after the login, then after the query that was sent along with it.
    while ready < 2:
        chunk = await stream.receive_some()
        if not chunk or len(received) > _MAX_ANSWER_BYTES:
            raise NoAnswer("the server closed the connection in the middle of its answer")
        messages, received = split_messages(received + chunk)
        for kind, body in messages:
            if kind == b"E":
                raise NoAnswer(error_text(body))
            if kind == b"R" and body != b"\0\0\0\0":
                raise NoAnswer("the server asks for a password")
            if kind == b"D":
                rows.append(first_column(body))
            ready += kind == b"Z"
    return rows


def split_messages(received: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Cut a byte stream into (type, body) messages and the beginning of the next one."""
    messages = []
    while len(received) >= 5:
        end = 1 + int.from_bytes(received[1:5], "big")
        if len(received) < end:
            break
        messages.append((received[:1], received[5:end]))
        received = received[end:]
    return messages, received


def first_column(data_row: bytes) -> str | None:
    (length,) = struct.unpack_from("!i", data_row, 2)
    return None if length < 0 else data_row[6 : 6 + length].decode()


def error_text(error_response: bytes) -> str:
    """Return the error as one line, from its fields S, C and M.

    Example: `FATAL 57P03: the database system is starting up`.
    """
    fields = {
        field[:1]: field[1:].decode(errors="replace")
        for field in error_response.split(b"\0")
        if field
    }
    return f"{fields.get(b'S', 'ERROR')} {fields.get(b'C', '?')}: {fields.get(b'M', 'no message')}"


def _startup(database: str) -> bytes:
    pairs = b"".join(part.encode() + b"\0" for part in ("user", "postgres", "database", database))
    body = _PROTOCOL.to_bytes(4, "big") + pairs + b"\0"
    return (len(body) + 4).to_bytes(4, "big") + body


def _query(sql: str) -> bytes:
    body = sql.encode() + b"\0"
    return b"Q" + (len(body) + 4).to_bytes(4, "big") + body


_TERMINATE: Final = b"X\0\0\0\4"
