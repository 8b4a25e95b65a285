"""The reference of the health benchmark: a bare quart-trio route behind hypercorn that answers a
document as JSON.

The document is held as Python objects and encoded at each request; no database, no keys, no rules.
Shares no code with the product. Run `python -m benchmarks.bare_route`, then send the document as
one line.
"""

from __future__ import annotations

import socket
from functools import partial

import orjson
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import Response
from quart_trio import QuartTrio

from benchmarks.workers import hear_word, say


async def main() -> None:
    document = orjson.loads(await hear_word())
    app = QuartTrio("bare", static_folder=None)

    @app.route("/")
    async def answer() -> Response:
        return Response(orjson.dumps(document), content_type="application/json")

    listener = socket.create_server(("127.0.0.1", 0))
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.accesslog = config.errorlog = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(serve, app, config))
        say(port=listener.getsockname()[1])


if __name__ == "__main__":
    trio.run(main)
