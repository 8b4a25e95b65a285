"""What the API's description says before its operations: the rules that hold for all of them."""

from importlib.metadata import version

from api.openapi import Introduction

_DESCRIPTION = """\
When every vehicle was last heard from, and whose fault the silence is.

## Keys and tokens

Send `Authorization: Bearer <key>`. `lastheard token create` or `POST /keys` makes a key. Each
operation names the one scope that opens it (`x-scope`): no scope includes another. A key may be
limited to workspaces; then the others do not exist for it, and answer 404. Operations without a
scope need no key.

Where the operator has configured an issuer, the access tokens that it gives for client credentials
(OAuth2, JWTs) are taken in place of a key, with the same scopes and workspaces. A token without the
claim of workspaces sees none. A 401 says in `WWW-Authenticate` what is wrong with a key or token.

## Addresses

Paths begin where this document lies. Below, `…` stands for `/api/telematics-mvp`. An operation
without a scope is outside it. Ids in a path have 1 to 64 letters, digits and `. _ : -`.

## From nothing to the first healthy device

- `PUT …/workspaces/{workspace_id}` with a name. Its policy has the defaults then: see `…/policy`.
- `PUT …/workspaces/{workspace_id}/providers/{provider_id}`: a connection to a provider, or one of
transport `push`, over which clients send. `POST …/providers/{provider_id}/test` tries it.
- `PUT …/workspaces/{workspace_id}/devices/{device_id}` for each device, or `POST …/devices/import`
for all at once.
- `POST …/ingest` for devices of a `push` connection. The others are collected.
- `GET …/workspaces/{workspace_id}/health` shows them all.

The way back: `DELETE` the devices, which retires them, then the connections, then `PATCH` the
workspace to `{"active": false}`, and `DELETE` it. What is archived can still be read. The ids of
workspaces and connections are not used again; a `PUT` activates a retired device again.

## Changes

A write may carry the `ETag` of the last read in `If-Match`: if somebody changed the resource
meanwhile, it is 412, and nothing is stored. A policy and a cutover are changed with it only (428);
a rollback needs none. A `PATCH` is a JSON merge patch (RFC 7396). A `PUT` replaces the resource;
each body says what it leaves as it is.
A body has at most 1 MiB, an import 4 MiB (413).

## Times and names

Instants are RFC 3339 with an offset, like `2026-03-01T12:00:00Z`; answers have them in UTC. Ages
and durations are in seconds. A member of an answer that is null was never set, or is not known.
Later releases add members, enum values and problem types: a client ignores those that it does not
know. The body of a request may have no unknown member, except that of `POST …/cycles`, and its URL
no unknown parameter. Of a member that a body has twice, the last counts.

## Health

Each active device has one `state`, which follows from the age of its last update. `reason` says
why, and `party` whose fault it is. The schemas `State`, `HealthReason` and `Party` explain their
words. `evidence` has the facts behind the verdict.

`GET …/worklist` lists the `stale` and `configured-no-data` devices of all workspaces. It has no
`delayed` ones: `GET …/workspaces/{workspace_id}/health?state=delayed` lists those. A device was
last heard from at `last_update_received_at`; null: not once since `configured_at`.

## Runs

`POST …/cycles` answers 202 at once: the cycle will run. Its header `Location` is the path of the
cycle. Ask that every few seconds until `ended_at` is set: then `outcome` is final, `summary` says
what came, and `records` tell the story. A target of Amazon EventBridge may send its event as it is.

## Traces

Each request has a trace id: that of its header `traceparent` (W3C Trace Context), otherwise its
`X-Request-Id` of at most 64 letters, digits, `.`, `_` and `-`, otherwise a new one. The answer has
it as `X-Request-Id`. What the request stores has it as `trace_id`, and calls to providers carry it.

## Lists

A list answers `items` and `next_cursor`. Ask again with `cursor=<next_cursor>` and the same other
parameters for the next page, until `next_cursor` is null. A cursor is opaque. All pages of a list
with `evaluated_at` are judged at that one instant.

## Refusals

Every refusal is a problem document (RFC 9457). Its `type` is stable and tells refusals with one
status apart; each operation lists the types that it has. `detail` says what to do. `errors` name
the place: `pointer` leads into the body (RFC 6901), `parameter` into the query. `trace_id` finds
the request in the logs.

## Retries

429 and 503 come with the header `Retry-After`, in whole seconds, and the member `retry_after`: wait
so long and send the same request again. A 503 without them needs a person first. A request is
answered within 30 s, the sending of its body and of a long answer not counted. After
`outcome-unknown`, `deadline-passed` and `ending` the first request may have taken effect. A PUT, a
DELETE and updates may be sent again all the same: updates that were accepted before come back as
`duplicate`. A 500 is a fault of this service; its `trace_id` helps to find it.

## Updates

`POST /ingest` answers 200 after the commit, with one result for each update, in the order of the
request. `accepted` changed the snapshot. `duplicate` and `stale` are no news: do not send them
again. `conflict` has another value for an instant that we know. `rejected` and `quarantined` were
not taken, for the `reason`; `detail` and `errors` say what to mend. An `accepted` update may have
readings that were dropped: `errors` name them. The names, units and ranges of signals are at
`GET /signals`, the provider types and their settings at `GET /provider-types`.
"""
_TAGS = {
    "workspaces": "Customers' fleets.",
    "policy": "The thresholds and the poll interval of a workspace.",
    "cutover": "How a workspace moves here from a legacy system, and back.",
    "providers": "How a workspace reaches its providers.",
    "devices": "The telematics units and the vehicles that they sit in.",
    "health": "The state of each device, its reason, and whose fault it is.",
    "indicators": "How well a workspace is collected, in shares and percentiles.",
    "issues": "The devices that stopped reporting or never did.",
    "snapshots": "The current values of each device.",
    "ingest": "Data that clients send.",
    "events": "The accepted updates of a device.",
    "rejections": "What was refused, and why.",
    "cycles": "The scheduled collection from providers.",
    "catalogues": "The provider types and the signals that exist.",
    "keys": "API keys.",
    "runtime": "The running processes.",
    "probes": "For whatever restarts a process or sends it traffic.",
    "documentation": "This description.",
}


def introduce() -> Introduction:
    """Return the introduction to the whole API."""
    return Introduction("Lastheard API", version("lastheard"), _DESCRIPTION, _TAGS)
