"""The command line: its commands and their flags.

The groups `token`, `provider` and `config` are in files of their own, and what all commands share
is in terminal.py. Exit codes: 0: done. 1: a check failed (`demo`, `migrate --check`). 2: wrong
usage or settings. 69: something is unavailable. Those of a running shard are in service.py, 130 is
in serving.py. The commands' work is in other modules.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from lastheard.config_commands import config_app, print_version
from lastheard.fleet_commands import apply_file, export_file
from lastheard.provider_commands import provider_app
from lastheard.tables import (
    describe_source,
    describe_switched_off,
    health_table,
    pause_note,
    runtime_tables,
)
from lastheard.terminal import (
    EXIT_UNAVAILABLE,
    ApiAccess,
    ConfigOption,
    CsvOption,
    DataDirOption,
    EmbeddedOption,
    JsonOption,
    KeyOption,
    UrlOption,
    WorkspaceArgument,
    exclude_each_other,
    fail,
    json_line,
    load,
    out,
    print_answer,
    run_command,
)
from lastheard.token_commands import token_app
from lastheard.wording import counted
from simulator.faults import describe_faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.table import Table

    from lastheard.client import ApiClient
    from simulator.server import Simulator

app = typer.Typer(
    help="Lastheard knows when it last heard from every vehicle, and whose fault the silence is.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(token_app, name="token")
app.add_typer(config_app, name="config")
app.add_typer(provider_app, name="provider")
app.command("apply")(apply_file)
app.command("export")(export_file)

EverythingOption = Annotated[
    bool, typer.Option("--everything", help="eight fleets with every fault of the simulator")
]
FleetFileOption = Annotated[
    Path | None,
    typer.Option(
        "--fleet-file",
        dir_okay=False,
        help="write the file with which `lastheard apply` collects from these fleets; their "
        "credentials go into LASTHEARD_CREDENTIALS_DIR",
    ),
]


@app.callback()
def lastheard(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="print the version and end", callback=print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Lastheard knows when it last heard from every vehicle, and whose fault the silence is."""


@app.command()
def demo(
    seconds: Annotated[
        float | None,
        typer.Option(
            "--for",
            min=1,
            help="end after so many seconds with a summary; from 60 on, every state must occur",
        ),
    ] = None,
    everything: EverythingOption = False,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Run everything here: PostgreSQL, simulated fleets, one shard.

    Prints the address and a key. Runs until Ctrl-C, or for --for seconds. Exit code 1 unless every
    workspace completed a cycle and the counts add up.
    """
    from lastheard.demo import run_demo

    settings = load(
        config,
        data_dir=data_dir,
        dsn="",  # not that of the environment or the file: the demo has a database of its own
        embedded=True,
        paused=False,
        shard_id="demo",
        http_port=_given_or_free_port("LASTHEARD_HTTP_PORT"),
        probe_port=_given_or_free_port("LASTHEARD_PROBE_PORT"),
        min_poll_interval_seconds=2,
        outbound_allow="127.0.0.1",  # where the simulated fleets listen
        log_level=os.environ.get("LASTHEARD_LOG_LEVEL", "error"),
    )
    run_command(settings, partial(run_demo, settings, seconds=seconds, everything=everything))


def _given_or_free_port(variable: str) -> str:
    """Return the variable's port, or 0 for a free one.

    A demo must not fail because another process listens on the default port.
    """
    return os.environ.get(variable, "0")


@app.command()
def serve(
    embedded: EmbeddedOption = None,
    host: Annotated[
        str | None, typer.Option(help="address to listen on (default: 127.0.0.1)")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="port to listen on; 0 picks a free one (default: 8080)")
    ] = None,
    probe_port: Annotated[
        int | None,
        typer.Option(help="port for /healthz and /readyz; 0 picks a free one (default: 8081)"),
    ] = None,
    paused: Annotated[
        bool | None,
        typer.Option(
            "--paused",
            help="collect nothing: no cycles, streams or calls of its own; clients may send. For a "
            "restored backup",
        ),
    ] = None,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Run one shard until SIGTERM or Ctrl-C.

    It ends in order: readiness off, drain, flush, release.
    """
    from lastheard.serving import serve as run_shard

    settings = load(
        config,
        embedded=embedded,
        http_host=host,
        http_port=port,
        probe_port=probe_port,
        paused=paused,
        data_dir=data_dir,
    )
    run_command(settings, partial(run_shard, settings))


@app.command()
def migrate(
    check: Annotated[
        bool,
        typer.Option("--check", help="change nothing; exit code 1 when the schema is not current"),
    ] = False,
    embedded: EmbeddedOption = None,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Bring the database's schema up to date. Safe to repeat, and to run in parallel."""
    from lastheard.serving import migrate_database

    settings = load(config, embedded=embedded, data_dir=data_dir)
    run_command(settings, partial(migrate_database, settings, check_only=check))


@app.command(epilog=f"Faults, written name=value,name=value:\n\n\b\n{describe_faults()}")
def simulate(
    devices: Annotated[int, typer.Option(min=1, help="vehicles in all")] = 100,
    tenants: Annotated[int, typer.Option(min=1, help="fleets, each with its own credential")] = 1,
    rfms_tenants: Annotated[
        int, typer.Option(min=0, help="how many of the fleets speak rFMS instead of the stream")
    ] = 0,
    rate: Annotated[float, typer.Option(help="frames per second and vehicle")] = 1.0,
    faults: Annotated[str, typer.Option(help="name=value,name=value; see below")] = "",
    seed: Annotated[int, typer.Option(help="the same seed gives the same fleet")] = 0,
    everything: EverythingOption = False,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on; 0 picks a free one")] = 0,
    legacy: Annotated[
        bool, typer.Option("--legacy", help="a legacy system of the same fleets, at /legacy/")
    ] = False,
    fleet_file: FleetFileOption = None,
    config: ConfigOption = None,
) -> None:
    """Run the simulated fleets alone, until Ctrl-C. Prints addresses and credentials as JSON.

    A service that collects from them needs LASTHEARD_OUTBOUND_ALLOW=127.0.0.1. With --everything
    only --devices (184 or more) and --seed count.
    """
    from simulator.config import ConfigInvalid, build_config
    from simulator.everything import everything_config
    from simulator.faults import FaultsInvalid
    from simulator.legacy_faults import LegacyFaults
    from simulator.run import run
    from simulator.server import CannotStart

    when_bound = None if fleet_file is None else _fleet_writer(fleet_file, config)
    try:
        if everything:
            simulated = everything_config(devices, seed)
        else:
            simulated = build_config(
                devices=devices,
                tenants=tenants,
                rfms_tenants=rfms_tenants,
                rate=rate,
                faults=faults,
                seed=seed,
            )
    except (ConfigInvalid, FaultsInvalid) as error:
        fail(str(error))
    simulated = replace(simulated, legacy=LegacyFaults() if legacy else None)
    try:
        run(simulated, host=host, port=port, when_bound=when_bound)
    except CannotStart as error:
        fail(str(error), EXIT_UNAVAILABLE)


def _fleet_writer(path: Path, config: Path | None) -> Callable[[Simulator], None]:
    """Return the function that writes the file of a running simulator."""
    from lastheard.simulated_file import write_simulated_fleet

    folder = load(config).credentials_folder
    return lambda simulator: write_simulated_fleet(simulator, path, folder)


@app.command()
def health(
    workspace: WorkspaceArgument,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help="only this state, as the table shows it; may be repeated",
        ),
    ] = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    url: UrlOption = None,
    key: KeyOption = None,
    config: ConfigOption = None,
) -> None:
    """List the devices of a workspace: state, reason, age."""
    exclude_each_other(as_json, as_csv)

    def answer(client: ApiClient) -> Iterable[str | Table]:
        wanted = {"state": state} if state else {}
        path = f"/workspaces/{quote(workspace, safe='')}/health"
        if as_csv:
            return client.csv_parts(path, **wanted)
        if as_json:
            return map(json_line, client.pages(path, **wanted))
        pages = list(client.pages(path, **wanted))
        table = _device_table(pages, f"Health of {workspace}")
        return [table, *describe_source(pages), *describe_switched_off(pages)]

    print_answer(ApiAccess(url, key, config), answer)


@app.command()
def worklist(
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    url: UrlOption = None,
    key: KeyOption = None,
    config: ConfigOption = None,
) -> None:
    """List the devices that stopped reporting or never did.

    Of all workspaces that the key may see. The longest silent come first.
    """
    exclude_each_other(as_json, as_csv)

    def answer(client: ApiClient) -> Iterable[str | Table]:
        if as_csv:
            return client.csv_parts("/worklist")
        if as_json:
            return map(json_line, client.pages("/worklist"))
        pages = list(client.pages("/worklist"))
        return [_device_table(pages, "Worklist", with_workspace=True), *describe_source(pages)]

    print_answer(ApiAccess(url, key, config), answer)


@app.command()
def runtime(
    as_json: JsonOption = False,
    url: UrlOption = None,
    key: KeyOption = None,
    config: ConfigOption = None,
) -> None:
    """Show shards, leases, actors, queues and database connections. Look here first in trouble."""

    def answer(client: ApiClient) -> Iterable[str | Table]:
        report = client.read("/runtime")
        return [json_line(report)] if as_json else runtime_tables(report, out.width)

    print_answer(ApiAccess(url, key, config), answer)


def _device_table(
    pages: Iterable[dict[str, Any]], title: str, *, with_workspace: bool = False
) -> Table:
    items = [item for page in pages for item in page["items"]]
    heading = f"{title}: {counted(len(items), 'device')}{pause_note(items)}"
    return health_table(heading, items, out.width, with_workspace=with_workspace)


def main() -> None:
    """Run the `lastheard` command."""
    app()
