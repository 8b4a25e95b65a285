"""`python -m simulator`: the fleet alone, from flags.

Owns only the flags. `lastheard simulate` builds the same fleet from flags of its own.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from simulator.config import ConfigInvalid, SimulatorConfig, build_config
from simulator.demo import demo_config
from simulator.everything import EverythingPace, everything_config
from simulator.faults import FaultsInvalid, describe_faults
from simulator.legacy_faults import parse_legacy_faults
from simulator.run import run
from simulator.server import CannotListen

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_UNAVAILABLE = 69


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulator",
        description="Fleets of chatty vehicles behind the interfaces of ViriCiti and rFMS 4.",
        epilog=f"Faults, written name=value,name=value:\n{describe_faults()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--demo", action="store_true", help="the five demonstration fleets; only --seed counts"
    )
    parser.add_argument(
        "--everything",
        action="store_true",
        help="eight accounts with every fault; only --devices, --seed, --pace and --without count",
    )
    parser.add_argument(
        "--pace",
        type=float,
        default=1.0,
        help="with --everything: troubles come so many times as often",
    )
    parser.add_argument(
        "--without", default="", help="with --everything: faults to leave out, joined by '+'"
    )
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--tenants", type=int, default=1)
    parser.add_argument(
        "--rfms-tenants", type=int, default=0, help="how many of the tenants speak rFMS"
    )
    parser.add_argument("--rate", type=float, default=1.0, help="frames per second and vehicle")
    parser.add_argument(
        "--report-interval", type=float, default=60.0, help="seconds between two rFMS statuses"
    )
    parser.add_argument("--faults", default="", help="see below")
    parser.add_argument("--credentials", nargs="*", default=(), help="one per tenant, in order")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--exit-with-parent",
        nargs="?",
        type=int,
        const=os.getppid(),
        metavar="PID",
        help="end when the parent process ends; its PID also covers an end before this start",
    )
    _add_legacy(parser)
    return parser


def _add_legacy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--legacy", action="store_true", help="a legacy system of the same fleets, at /legacy/"
    )
    parser.add_argument(
        "--legacy-faults",
        default="",
        help="with --legacy: lag=SECONDS,losses=SHARE,wrong=SHARE,outage=1,registry=empty",
    )


def _config(flags: argparse.Namespace) -> SimulatorConfig:
    if flags.demo:
        return demo_config(flags.seed)
    if flags.everything:
        pace = EverythingPace().times(flags.pace)
        return everything_config(flags.devices, flags.seed, pace, flags.without.split("+"))
    return build_config(
        devices=flags.devices,
        tenants=flags.tenants,
        rate=flags.rate,
        faults=flags.faults,
        seed=flags.seed,
        rfms_tenants=flags.rfms_tenants,
        report_interval_seconds=flags.report_interval,
        credentials=flags.credentials,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    flags = _parser().parse_args(arguments)
    try:
        config = _config(flags)
        if flags.legacy:
            config = replace(config, legacy=parse_legacy_faults(flags.legacy_faults))
    except (ConfigInvalid, FaultsInvalid) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        run(config, host=flags.host, port=flags.port, parent=flags.exit_with_parent)
    except CannotListen as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_UNAVAILABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())
