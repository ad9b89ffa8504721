"""The verbs of gatewayctl and the module of each. A module is imported when its verb is used, never before."""

VERBS = {
    "status": "how the daemon is",
    "channels": "the channels and their state",
    "agents": "the agents",
    "reload": "read the configuration file again and put it in place",
    "send": "send a message to an agent and print its answer",
    "chat": "talk to an agent",
    "sessions": "conversations: list, show, reset, export, erase",
    "trigger": "start an entry point",
    "entry-points": "the named ways to start an agent: list, stats",
    "goals": "what entry points are to reach, and how far it is",
    "executions": "runs of agents: list, show, cancel, pause, resume, input, watch",
    "events": "what has happened, and what happens now",
    "publish": "publish an event",
    "topics": "push topics: list, show, create, delete, push, follow, dead letters, retry",
    "state": "the shared state: list, get, set, delete, watch",
    "messages": "the ledger of accepted messages",
    "trace": "the story of one message",
    "route": "which agent a message would go to, and why",
    "dead-letters": "what could not be delivered: list, retry",
    "clients": "the connected clients",
    "token": "tokens of clients: new, revoke",
    "config": "the configuration: check, show",
    "completion": "the completion script for a shell",
}


def module_of(verb: str) -> str:
    """`dead-letters` lives in `gatewayctl.commands.dead_letters`."""
    return f"gatewayctl.commands.{verb.replace('-', '_')}"
