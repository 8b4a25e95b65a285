"""What the proxy knows of the protocol: which bytes belong to one transaction."""

from __future__ import annotations

from tests.processes.database_proxy import Transaction

BEGIN = b"Q\0\0\0\x0aBEGIN\0"
COMMIT = b"Q\0\0\0\x0bCOMMIT\0"
ROLLBACK = b"Q\0\0\0\x0dROLLBACK\0"


def committed(*chunks: bytes) -> list[bytes]:
    """Return what each transaction had sent when it asked for its COMMIT."""
    transaction, found = Transaction(), []
    for chunk in chunks:
        transaction.add(chunk)
        if transaction.is_committed:
            found.append(transaction.sent)
    return found


def test_a_transaction_that_is_rolled_back_is_not_the_next_one() -> None:
    assert committed(BEGIN, b"trace", ROLLBACK, BEGIN, b"other", COMMIT) == [b"other" + COMMIT]


def test_what_stands_between_transactions_belongs_to_none() -> None:
    assert committed(b"heartbeat", BEGIN, b"one", COMMIT, b"beat", BEGIN, b"two", COMMIT) == [
        b"one" + COMMIT,
        b"two" + COMMIT,
    ]


def test_bytes_may_be_cut_anywhere() -> None:
    assert committed(BEGIN[:3], BEGIN[3:], b"tr", b"ace", COMMIT[:5], COMMIT[5:]) == [
        b"trace" + COMMIT
    ]


def test_a_text_that_says_commit_is_no_commit() -> None:
    assert committed(BEGIN, b"the word COMMIT\0", COMMIT) == [b"the word COMMIT\0" + COMMIT]
