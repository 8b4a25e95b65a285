"""The commands `lastheard token …`: their flags. tokens.py does the work, over the database."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Annotated

import typer

from lastheard.terminal import (
    ConfigOption,
    DataDirOption,
    EmbeddedOption,
    load,
    make_group,
    run_command,
)
from runtime.clock import SystemClock

token_app = make_group(
    "API keys: make, list and revoke them. Needs the database: LASTHEARD_DSN, or --embedded, also "
    "beside a running `serve --embedded`."
)

_JsonOption = Annotated[bool, typer.Option("--json", help="JSON, as the API's /keys has it")]


@token_app.command("create")
def token_create(
    name: Annotated[
        str, typer.Argument(help="a name that no other key has or had, such as its user's")
    ],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            metavar="SCOPE",
            help="read, ingest, follow_up, control or admin; may be repeated (default: read)",
        ),
    ] = None,
    workspace: Annotated[
        list[str] | None,
        typer.Option(
            "--workspace",
            metavar="ID",
            help="limit to this workspace; may be repeated (default: all)",
        ),
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(min=1, max=36_500, help="expires after so many days (default: never)"),
    ] = None,
    as_json: _JsonOption = False,
    embedded: EmbeddedOption = None,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Make an API key and print it. It cannot be shown again: only its hash is stored."""
    from lastheard.tokens import KeyOrder, create_token

    settings = load(config, embedded=embedded, data_dir=data_dir)
    expires_at = None if days is None else SystemClock().wall() + timedelta(days=days)
    order = KeyOrder(name, scope, workspace, expires_at)
    run_command(settings, partial(create_token, settings, order, as_json=as_json))


@token_app.command("list")
def token_list(
    revoked: Annotated[bool, typer.Option("--revoked", help="list revoked keys too")] = False,
    as_json: _JsonOption = False,
    embedded: EmbeddedOption = None,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
) -> None:
    """List the keys: what each opens, and when it was last used."""
    from lastheard.tokens import list_tokens

    settings = load(config, embedded=embedded, data_dir=data_dir)
    run_command(settings, partial(list_tokens, settings, with_revoked=revoked, as_json=as_json))


@token_app.command("revoke")
def token_revoke(
    key: Annotated[str, typer.Argument(help="the key's id or name, as `token list` shows it")],
    as_json: _JsonOption = False,
    embedded: EmbeddedOption = None,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Revoke a key: every shard refuses it from its next request on. Safe to repeat."""
    from lastheard.tokens import revoke_token

    settings = load(config, embedded=embedded, data_dir=data_dir)
    run_command(settings, partial(revoke_token, settings, key, as_json=as_json))
