"""`gatewayctl agents instances|save|load`: the instances of agents in the message engine, and their states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatewayctl.nouns import add_verb, listed
from gatewayctl.plain import plain

if TYPE_CHECKING:
    import argparse

    from gatewayctl.cli import Ctl
    from gatewayctl.output import Column


def add_verbs(verbs: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    """The verbs of `agents` that ask the daemon's message engine."""
    found = add_verb(verbs, "instances", common, instances, "list the instances that handle messages of other agents")
    found.add_argument("agent", nargs="?", default="", metavar="AGENT", help="only those of this agent")
    saved = add_verb(verbs, "save", common, save, "save the states of instances, and their subscriptions")
    loaded = add_verb(verbs, "load", common, load, "take up what was saved")
    for verb in (saved, loaded):
        verb.add_argument("instance", nargs="*", metavar="AGENT[/KEY]", help="only these; all without any")
        verb.add_argument("--name", default="", metavar="NAME", help="what it is saved under (engine)")


def instances(args: argparse.Namespace, ctl: Ctl) -> None:
    from gateway.v1 import agent_service_pb2 as pb  # noqa: PLC0415 - `agents --config` needs no contract

    rows = listed(
        ctl,
        "AgentService/ListAgentInstances",
        lambda token, size: pb.ListAgentInstancesRequest(agent=args.agent, page_token=token, page_size=size),
        pb.ListAgentInstancesResponse,
        "instances",
    )
    columns: list[Column] = [
        ("AGENT", "agent"),
        ("KEY", "key"),
        ("RUNNING", lambda row: str(row["running"])),
        ("QUEUED", lambda row: str(row["queued"])),
    ]
    ctl.out.table(rows, columns, "no instances: no agent was sent a message")


def save(args: argparse.Namespace, ctl: Ctl) -> None:
    from gateway.v1 import agent_service_pb2 as pb  # noqa: PLC0415

    request = pb.SaveStateRequest(name=args.name, agents=args.instance)
    values = plain(ctl.daemon.call("AgentService/SaveState", request, pb.SaveStateResponse))
    saved = ", ".join(values["saved"]) or "no instance"
    ctl.out.record(values, [("saved", saved), ("subscriptions", str(values["subscriptions"]))])


def load(args: argparse.Namespace, ctl: Ctl) -> None:
    from gateway.v1 import agent_service_pb2 as pb  # noqa: PLC0415

    request = pb.LoadStateRequest(name=args.name, agents=args.instance)
    values = plain(ctl.daemon.call("AgentService/LoadState", request, pb.LoadStateResponse))
    fields: list[tuple[str, object]] = [
        ("loaded", ", ".join(values["loaded"]) or "no instance"),
        ("unknown agents", ", ".join(values["unknown"])),
        ("subscriptions", f"{values['subscriptions']} added"),
    ]
    ctl.out.record(values, fields)
