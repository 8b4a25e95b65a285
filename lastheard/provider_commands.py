"""The commands `lastheard provider …`: their flags, and what a trial looks like on a terminal."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from lastheard.client import ClientError
from lastheard.terminal import (
    EXIT_FAILED,
    EXIT_UNAVAILABLE,
    ApiAccess,
    ConfigOption,
    KeyOption,
    UrlOption,
    WorkspaceArgument,
    fail,
    json_line,
    make_group,
    out,
    say,
)
from lastheard.trial_table import describe_trial, trial_tables
from runtime.faults import EnvironmentFault

provider_app = make_group("Provider connections.")


@provider_app.command("try")
def provider_try(
    workspace: WorkspaceArgument,
    provider: Annotated[str, typer.Argument(help="provider_id of the connection")],
    vehicle: Annotated[
        list[str] | None,
        typer.Option(
            "--vehicle",
            metavar="ID",
            help="ask for this external id; may be repeated (default: the configured devices)",
        ),
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="read the stream, not its state call")
    ] = False,
    seconds: Annotated[float, typer.Option(min=1, max=15, help="how long a stream is read")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, the answer of the API")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
    config: ConfigOption = None,
) -> None:
    """Make one live call over a connection and show what would be read. Stores nothing.

    The key needs the scope control. Exit code 1 if the provider failed.
    """
    body: dict[str, Any] = {"seconds": seconds, **({"way": "stream"} if stream else {})}
    if vehicle:
        body["external_ids"] = vehicle
    answer = _post(ApiAccess(url, key, config), workspace, provider, body)
    if as_json:
        typer.echo(json_line(answer), nl=False)
    else:
        say(describe_trial(answer))
        for table in trial_tables(answer):
            out.print(table)
    if answer["outcome"] == "failed":
        raise typer.Exit(EXIT_FAILED)


def _post(access: ApiAccess, workspace: str, provider: str, body: dict[str, Any]) -> dict[str, Any]:
    path = f"/workspaces/{quote(workspace, safe='')}/providers/{quote(provider, safe='')}/test"
    try:
        return access.connect().post(path, body)
    except (ClientError, EnvironmentFault) as error:
        fail(str(error), EXIT_UNAVAILABLE)
        raise AssertionError("fail has ended the process") from None
