"""A trial of a connection on a terminal: a few lines, then tables that fit 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from lastheard.fitting import make_table
from lastheard.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.table import Table


def describe_trial(answer: Mapping[str, Any]) -> str:
    """Return the outcome, the fault, the counts and the advice, one a line."""
    fault, way = answer["fault"], {"call": "one call", "stream": "its stream"}[answer["way"]]
    lines = [
        f"{answer['provider_id']} ({answer['provider_type']}) {answer['outcome']} over {way}, "
        f"in {answer['seconds']:.1f} s. Nothing was stored."
    ]
    if fault is not None:
        lines.append(f"{fault['fault']}: {fault['detail']}")
    else:
        lines.append(
            f"{counted(answer['vehicle_count'], 'vehicle')}{_unconfigured(answer)}; "
            f"{counted(answer['records'], 'record')}, {answer['ignored']} ignored, "
            f"{counted(answer['refusal_count'], 'refusal')}"
        )
    lines += [f"-> {advice}" for advice in answer["advice"]]
    if answer["left_out"]:
        lines.append(f"not in the answer: {', '.join(answer['left_out'])}")
    return "\n".join(lines)


def _unconfigured(answer: Mapping[str, Any]) -> str:
    count = answer["unconfigured_count"]
    if not answer["vehicle_count"]:
        return ""
    return (
        f", {count} of them not configured as devices" if count else ", all configured as devices"
    )


def trial_tables(answer: Mapping[str, Any]) -> Iterator[Table]:
    """Yield the readings by vehicle and signal, then refusals and errors if there are any."""
    if answer["vehicles"]:
        yield _vehicles(answer)
    if answer["refusals"]:
        yield _refusals(answer)
    if answer["errors"]:
        table = make_table("errors of the provider")
        table.add_column("external id", overflow="fold")
        table.add_column("error", overflow="fold")
        for external_id, detail in answer["errors"].items():
            table.add_row(Text(external_id), Text(detail))
        yield table


def _vehicles(answer: Mapping[str, Any]) -> Table:
    shown, count = len(answer["vehicles"]), answer["vehicle_count"]
    table = make_table(f"vehicles: {shown} of {count} (times in UTC)")
    table.add_column("external id", overflow="fold", min_width=10)
    table.add_column("vehicle", overflow="fold", min_width=7)
    table.add_column("signal", no_wrap=True)
    table.add_column("value", overflow="fold", justify="right", min_width=5)
    table.add_column("observed", no_wrap=True)
    for vehicle in answer["vehicles"]:
        name = vehicle["vehicle_name"] or "no device"
        first = (Text(vehicle["external_id"]), Text(name))
        for reading in vehicle["readings"] or [None]:
            table.add_row(*first, *_cells(reading))
            first = (Text(""), Text(""))
    return table


def _cells(reading: Mapping[str, Any] | None) -> tuple[Text, Text, Text]:
    if reading is None:
        return Text("no readings"), Text(""), Text("")
    at = str(reading["observed_at"])[:19].replace("T", " ")
    return Text(reading["signal"]), Text(_value(reading["value"])), Text(at)


def _value(value: object) -> str:
    """Return a reading's value; true and false as JSON writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _refusals(answer: Mapping[str, Any]) -> Table:
    table = make_table(f"refusals: {answer['refusal_count']}")
    for column in ("external id", "signal", "reason", "detail"):
        table.add_column(column, overflow="fold")
    table.add_column("times", justify="right", no_wrap=True)
    for refusal in answer["refusals"]:
        cells = (refusal["external_id"], refusal["signal"], refusal["reason"], refusal["detail"])
        table.add_row(*(Text(cell or "-") for cell in cells), str(refusal["occurrences"]))
    return table
