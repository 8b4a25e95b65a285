"""Mistakes of a fleet file: line, place and remedy of each are said, and nothing is applied."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from lastheard.fleet_faults import FleetInvalid
from lastheard.fleet_file import read_fleet
from tests.commands.fleet_service import open_service

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands.fleet_service import FleetService
    from tests.conftest import Stores

GOOD = """\
[[workspaces]]
id = "depot"
name = "Depot"
interval = 300

[workspaces.policy]
delayed_after_seconds = 360
stale_after_seconds = 900

[[workspaces.connections]]
id = "hourly"
type = "rfms"
transport = "poll"
base_url = "https://vendor.example/rfms"
credential = "env:LASTHEARD_SECRET_DEPOT"

[workspaces.connections.settings]
auth = "bearer"

[[workspaces.devices]]
id = "bus-1"
connection = "hourly"
external_id = "WDB9634031L123456"
vehicle_id = "v-1"
vehicle_name = "Bus 1"

[[workspaces.devices]]
id = "bus-2"
connection = "hourly"
external_id = "WDB9634031L123457"
vehicle_id = "v-2"
vehicle_name = "Bus 2"
"""


class Mistake(NamedTuple):
    """A change of the good file, and what is said about it."""

    old: str
    new: str
    line: int
    said: str

    def write(self, path: Path) -> Path:
        assert GOOD.count(self.old) >= 1
        path.write_text(GOOD.replace(self.old, self.new, 1), encoding="utf-8")
        return path


OF_FORM = {
    "text without quotation marks": Mistake('"Depot"', "Depot", 3, "Text stands in quotation"),
    "an open quotation mark": Mistake('"Depot"', '"Depot', 3, "add the quotation mark at its end"),
    "a key twice": Mistake("interval", "name", 4, "Cannot overwrite a value"),
    "a table twice": Mistake(
        "[workspaces.connections.settings]", "[workspaces.policy]", 17, "twice"
    ),
    "an end within a list": Mistake('vehicle_name = "Bus 2"', "x = [1,", 32, "not TOML"),
    "an unknown key": Mistake(
        "interval = 300",
        "intervall = 300",
        4,
        "intervall: no such key here; did you mean interval? The keys are id, name, active",
    ),
    "an unknown key of a policy": Mistake(
        "delayed_after_seconds",
        "delay",
        7,
        "policy, delay: no such key here. The keys are freshness",
    ),
    "an unknown table": Mistake(
        "[[workspaces.devices]]", "[[workspaces.busses]]", 20, "busses: no such key here"
    ),
    "an unknown key of the file": Mistake(
        "[[workspaces]]", "version = 1\n[[workspaces]]", 1, "version: no such key here"
    ),
    "a wrong type": Mistake(
        "= 300", '= "300"', 4, "interval: write a whole number, without quotation"
    ),
    "a fraction": Mistake("= 300", "= 300.5", 4, "interval: write a whole number"),
    "a switch as text": Mistake(
        'name = "Depot"', 'name = "D"\nactive = "yes"', 4, "active: write true or false"
    ),
    "a missing key": Mistake(
        'vehicle_id = "v-2"\n', "", 27, "device bus-2, vehicle_id: it is missing: add it"
    ),
    "an id that is none": Mistake(
        '"bus-1"', '"bus 1"', 21, "device bus 1, id: it is not 1 to 64 letters, digits and . _ : -"
    ),
    "an id that a path has": Mistake('"bus-1"', '"import"', 21, "is taken by the path"),
    "a secret": Mistake('"env:LASTHEARD_SECRET_DEPOT"', '"hunter2"', 15, "never the secret itself"),
    "a transport that is none": Mistake(
        '"poll"', '"pull"', 13, "it must be one of 'poll', 'stream' or 'push'"
    ),
    "a threshold of zero": Mistake("= 360", "= 0", 7, "it must be more than 0"),
    "a threshold that is no number": Mistake("= 360", "= nan", 7, "it must be 31536000 or less"),
    "a date among settings": Mistake('"bearer"', "2026-01-01", 17, "is written as text"),
    "an infinite setting": Mistake('"bearer"', "inf", 17, "nan and inf are no values"),
    "a zone that is none": Mistake(
        "interval = 300",
        'time_zone = "Europe/Berln"',
        4,
        "workspace depot, time_zone: there is no time zone 'Europe/Berln': give an IANA name, "
        "such as Europe/Berlin",
    ),
    "a tag with the separator": Mistake(
        'vehicle_id = "v-2"',
        'tags = ["a", "b|c"]\nvehicle_id = "v-2"',
        31,
        "device bus-2, tags, 1: a tag has 1 to 64 characters, none of them |",
    ),
    "too many tags": Mistake(
        'vehicle_id = "v-2"',
        f"tags = {[str(n) for n in range(21)]}\nvehicle_id = 'v-2'",
        31,
        "device bus-2, tags: List should have at most 20 items",
    ),
    "a name of two lines": Mistake('"Bus 1"', '"Bus\\n1"', 25, "text of one line"),
    "a workspace twice": Mistake(
        '[[workspaces]]\nid = "depot"\n',
        '[[workspaces]]\nid = "depot"\nname = "x"\n[[workspaces]]\nid = "depot"\n',
        5,
        "workspace depot, id: depot is given twice",
    ),
    "a device twice": Mistake('"bus-2"', '"bus-1"', 28, "bus-1 is given twice: remove one"),
}


@pytest.mark.parametrize("mistake", OF_FORM.values(), ids=OF_FORM.keys())
def test_a_mistake_of_form_is_named_with_its_line(mistake: Mistake, tmp_path: Path) -> None:
    path = mistake.write(tmp_path / "fleet.toml")
    with pytest.raises(FleetInvalid) as refused:
        read_fleet(path)
    said = str(refused.value).splitlines()
    assert said[0].startswith(f"{path}, line {mistake.line}: "), said
    assert mistake.said in said[0]
    assert said[-1] == "Nothing was applied."
    assert "hunter2" not in str(refused.value)


def test_every_mistake_is_named_in_the_order_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(
        GOOD.replace("= 900", '= "x"').replace('"v-1"', "1").replace("\nid = ", "\nno = ")
    )
    with pytest.raises(FleetInvalid) as refused:
        read_fleet(path)
    lines = [int(line.partition("line ")[2].partition(":")[0]) for line in _places(refused.value)]
    assert lines == sorted(lines)
    assert len(lines) == 10  # an unknown and a missing key in each of four tables, and two types


def _places(refused: FleetInvalid) -> list[str]:
    return [line for line in str(refused).splitlines() if ", line " in line]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"\xff\xfe", "line 1: it is not UTF-8"),
        (b'# ok\n[[workspaces]]\nname = "\xe9"', "line 3: it is not UTF-8"),
        (b"", r"line 1: workspaces: it is missing: add \[\[workspaces\]\]"),
        (b"workspaces = []", r"line 1: workspaces: it is empty: add \[\[workspaces\]\]"),
        (b"workspaces = 3", r"line 1: workspaces: write \[\[workspaces\]\] before each"),
        (b"[workspaces]", r"write \[\[workspaces\]\] before each"),
        (b"[workspaces.devices]\n[workspaces.devices]", "each begins with two brackets"),
        (b"[[workspace]]", "workspace: no such key here; did you mean workspaces"),
        (b'[[workspaces]]\nid = 7\nname = "x"', "id: write it as text, in quotation marks"),
        (b'x = "C:\\d"', "Write two backslashes"),
        (b"x = " + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_fleet_is_refused(raw: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_bytes(raw)
    with pytest.raises(FleetInvalid, match=said):
        read_fleet(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FleetInvalid, match="cannot be read: No such file"):
        read_fleet(tmp_path / "fleet.toml")


OF_THE_INSTALLATION = {
    "thresholds out of order": Mistake(
        "= 900",
        "= 360",
        8,
        "workspace depot, policy, stale_after_seconds: It must be more than delayed_after_seconds",
    ),
    "an interval that is too short": Mistake("= 300", "= 1", 4, "greater than or equal to 2"),
    "an unknown provider type": Mistake('"rfms"', '"rfsm"', 12, "type: It must be one of"),
    "a transport that the type has not": Mistake(
        '"poll"', '"stream"', 13, "rfms has poll and push only"
    ),
    "an address that is none": Mistake(
        "https://vendor.example", "vendor.example", 14, "Give an address like https://host/path"
    ),
    "a secret that may not be named": Mistake(
        "LASTHEARD_SECRET_DEPOT", "HOME", 15, "is out of bounds"
    ),
    "a setting that is none": Mistake('auth = "bearer"', "speed = 3", 18, "settings, speed: "),
    "a secret among settings": Mistake("auth", "api_key", 18, "This looks like a secret"),
    "a connection that is nowhere": Mistake(
        'connection = "hourly"', 'connection = "daily"', 22, "there is no connection daily"
    ),
    "one unit in two spellings": Mistake(
        "WDB9634031L123457", "wdb9634031l123456", 30, "device bus-1 has this unit"
    ),
}


async def test_a_mistake_of_configuration_is_named_before_any_write(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    async with open_service(dsn, postgres_stores) as service:
        for name, mistake in OF_THE_INSTALLATION.items():
            path = mistake.write(tmp_path / "fleet.toml")
            child = await service.run("apply", str(path))
            assert child.exit_code == 2, (name, child.tail())
            assert f"{path}, line {mistake.line}: " in child.errors, (name, child.errors)
            assert mistake.said in child.errors, (name, child.errors)
        assert (await service.read("/workspaces"))["items"] == []
        await _the_good_file_is_applied(service, tmp_path)


async def _the_good_file_is_applied(service: FleetService, tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(GOOD)
    child = await service.run("apply", str(path))
    assert child.exit_code == 0, child.tail()
    place = "warning: workspace depot, connection hourly, credential"
    assert f"{place}: the secret env:LASTHEARD_SECRET" in child.errors
