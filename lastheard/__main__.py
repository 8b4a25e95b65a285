"""`python -m lastheard` is the `lastheard` command.

Owns the first half second: until the service watches its signals, nothing has been started that would have to be
ended in order, so Ctrl-C and SIGTERM end the process on the spot, without a traceback out of some import.
"""

import os
import signal
from types import FrameType

EXIT_STOPPED_WHILE_STARTING = 130


def main() -> None:
    """The `lastheard` command, interruptible from its first line on."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end_at_once)
    from lastheard.cli import main as command

    command()


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    os._exit(EXIT_STOPPED_WHILE_STARTING)


if __name__ == "__main__":
    main()
