"""The `lastheard` command, also as `python -m lastheard`.

Owns the first half second. Until the service watches its signals, nothing is running that needs an
ordered end. So Ctrl-C and SIGTERM end the process at once, without a traceback from an import.
"""

import os
import signal
from types import FrameType

EXIT_STOPPED_WHILE_STARTING = 130


def main() -> None:
    """Run the `lastheard` command. A signal ends it from its first line on."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end_at_once)
    from lastheard.cli import main as command

    command()


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    os._exit(EXIT_STOPPED_WHILE_STARTING)


if __name__ == "__main__":
    main()
