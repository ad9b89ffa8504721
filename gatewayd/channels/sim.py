"""The platform `sim`: scripted users and injectable faults, so that a configuration can be proven with no account.

Without `server` each channel has a network of its own in this process, and the users of `script` talk to it. With
`server: unix:/path` the network is another process (`python -m gatewayd.testing.sim_platform`).
"""

import asyncio
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Final, Literal

from gatewayd.channels.base import (
    Capabilities,
    ChannelAuthError,
    ChannelConflict,
    ChannelIO,
    ChannelUnavailable,
    Handover,
    Inbox,
    Pulse,
    RateLimited,
    SendRejected,
)
from gatewayd.channels.sim_link import InProcessLink, SimLink, SocketLink
from gatewayd.channels.sim_network import SimPlatform
from gatewayd.channels.sim_values import ALWAYS, Sending, SimCut, SimRefused, SimUnreachable, Update
from gatewayd.config.fields import HOUR, Duration, Flag, Line, Text, Whole
from gatewayd.config.section import Section, setting
from gatewayd.core.errors import GatewayError
from gatewayd.core.message import ChatContext, InboundMessage, OutboundMessage
from gatewayd.core.secret import Secret

POLL_TIMEOUT: Final = 2.0
"""Seconds that one poll waits for something to happen."""
_SENT_KEPT: Final = 10_000
"""Messages that the network of a channel remembers in this process."""

Count = Annotated[int, Whole(0, 1_000_000)]
Seconds = Annotated[float, Duration(0.0, HOUR)]


class ScriptLine(Section):
    """`script[]`: something that a user says."""

    sender: Line = setting(key="from", description="Who says it, by id.")
    text: Annotated[str, Text(65_536, 1)] = setting(description="What is said.")
    chat: Line = setting(default="", description="The room. Default: the user's own, `dm-USER` in a dm.")
    context: Literal["dm", "group", "channel"] = setting(default="dm", description="Kind of room. Default dm.")
    after: Seconds = setting(default=0.0, description="Time after the line before it. Default 0, to 1h.")
    mentioned: Flag = setting(default=False, description="Whether the bot is mentioned. Default false.")
    thread: Line = setting(default="", description="The thread within the room. Default: none.")


class FaultSection(Section):
    """`faults`: how often each fault happens, from the start of the channel on."""

    conflict: Count = setting(default=0, description="Polls refused because another connection has the token (409).")
    rate_limit: Count = setting(default=0, description="Sends refused because there are too many (429).")
    retry_after: Seconds = setting(default=1.0, description="Time to wait that comes with a 429. Default 1s.")
    duplicates: Count = setting(default=0, description="Messages that come once more after they were acknowledged.")
    reorder: Count = setting(default=0, description="Batches of two messages and more that come in reverse.")
    disconnects: Count = setting(default=0, description="Polls during which the connection is cut.")
    disconnects_sending: Count = setting(default=0, description="Sends that are taken, but cut before the answer.")
    slow: Seconds = setting(default=0.0, description="Time that every answer of the platform takes. Default 0, to 1h.")
    reject: Count = setting(default=0, description="Sends that the platform refuses for good (400).")


class SimSettings(Section):
    """The keys of a channel of the platform `sim`."""

    token: Secret | None = setting(default=None, description="The bot's token; any but `bad` is accepted.")
    server: Annotated[str, Text(108, 0, one_line=True)] = setting(
        default="", description="`unix:/path` of a network in another process. Default: one in this process."
    )
    account: Line = setting(default="sim-bot", description="The bot's own id on the platform. Default sim-bot.")
    script: tuple[ScriptLine, ...] = setting(default=(), description="What users say, in order. Not with `server`.")
    faults: FaultSection = setting(default=FaultSection(), description="What goes wrong. Not with `server`.")
    idempotent_send: Flag = setting(default=False, description="Whether a repeated send is recognised. Default false.")

    def objection(self) -> str:
        if self.server and not self.server.startswith("unix:/"):
            return "server is unix: and an absolute path, such as unix:/run/sim.sock"
        if self.server and (self.script or self.faults != FaultSection()):
            return "with a server, users and faults are that server's business"
        return ""


class SimAdapter:
    """One bot on a simulated network."""

    Settings: ClassVar[type[Any]] = SimSettings

    def __init__(self, name: str, settings: SimSettings, io: ChannelIO) -> None:
        self._name = name
        self._settings = settings
        self._io = io
        self._token = settings.token.reveal() if settings.token else ""
        self.platform = None if settings.server else _network(settings, io, self._token)
        """The network in this process, if it is there: what users say and hear."""
        self._sending = self._link()
        self._capabilities = Capabilities(
            max_message_length=4096,
            messages_per_second=0,
            idempotent_send=settings.idempotent_send,
            handover=Handover.EXCLUSIVE,
            transport_timeout=10.0,
            conflict_wait=2 * POLL_TIMEOUT,
        )

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def check(self) -> None:
        link = self._link()
        try:
            await link.hello()
        except (SimRefused, SimCut) as error:
            raise self._verdict(error) from error
        finally:
            await link.close()

    async def run(self, inbox: Inbox, pulse: Pulse) -> None:
        link = self._link()
        wait = 0.0  # the first poll proves that the token is ours before anybody is told that the channel is up
        try:
            while True:
                updates = await link.poll(wait)
                if not wait:
                    pulse.ready(self._settings.account)
                    wait = POLL_TIMEOUT
                pulse.frame()
                pulse.heartbeat()
                if updates:
                    await self._take(updates, inbox, link)
        except (SimRefused, SimCut) as error:
            raise self._verdict(error) from error
        finally:
            await link.close()

    async def send(self, message: OutboundMessage) -> str:
        idempotent = self._settings.idempotent_send
        sending = Sending(message.key, message.chat, message.text, message.thread, message.quote, idempotent)
        try:
            return await self._sending.send(sending)
        except SimUnreachable as error:
            raise ChannelUnavailable(str(error)) from error
        except SimRefused as error:
            verdict = self._verdict(error)
            # A refused token is told by `run`; this message was certainly not sent.
            raise (ChannelUnavailable(str(verdict)) if isinstance(verdict, ChannelAuthError) else verdict) from error

    async def close(self) -> None:
        await self._sending.close()

    def _link(self) -> SimLink:
        if self.platform is not None:
            return InProcessLink(self.platform, self._token)
        return SocketLink(self._settings.server.removeprefix("unix:"), self._token, self._io.clock)

    async def _take(self, updates: Iterable[Update], inbox: Inbox, link: SimLink) -> None:
        """Hand the updates over, rooms side by side, each in order, and acknowledge what was taken."""
        rooms: dict[str, list[Update]] = {}
        for update in updates:
            rooms.setdefault(update.chat, []).append(update)
        taken: list[str] = []
        refusals: list[GatewayError] = []

        async def hand_over(room: list[Update]) -> None:
            for update in room:
                try:
                    await inbox(self._inbound(update))
                except GatewayError as error:
                    refusals.append(error)
                    return  # what follows in this room comes again, after this one
                taken.append(update.id)

        async with asyncio.TaskGroup() as group:
            for room in rooms.values():
                group.create_task(hand_over(room))
        if taken:
            await link.ack(taken)
        if refusals:
            raise ChannelUnavailable(
                f"messages cannot be taken in now: {refusals[0].message}", retry_after=refusals[0].retry_after
            )

    def _inbound(self, update: Update) -> InboundMessage:
        return InboundMessage(
            channel=self._name,
            platform_id=update.id,
            chat=update.chat,
            peer=update.peer,
            context=ChatContext(update.context),
            text=update.text,
            time=update.time,
            account=self._settings.account,
            peer_name=update.peer,
            thread=update.thread,
            mentioned=update.mentioned,
            command=update.text.startswith("/"),
        )

    def _verdict(self, error: SimRefused | SimCut) -> Exception:
        if not isinstance(error, SimRefused):
            return ChannelUnavailable(str(error))
        match error.status:
            case 401:
                return ChannelAuthError(f"{error.reason}: put a valid one into channels.{self._name}.token")
            case 409:
                return ChannelConflict(f"{error.reason}: stop the other one, or give this channel a token of its own")
            case 429:
                return RateLimited(error.reason, retry_after=error.retry_after)
            case status if status < 500:
                return SendRejected(error.reason)
            case _:
                return ChannelUnavailable(error.reason, retry_after=error.retry_after)


def _network(settings: SimSettings, io: ChannelIO, token: str) -> SimPlatform:
    platform = SimPlatform(io.clock, io.randomness, max_sent=_SENT_KEPT)
    for line in settings.script:
        chat = line.chat or (f"dm-{line.sender}" if line.context == "dm" else line.context)
        details: dict[str, object] = {"context": line.context, "mentioned": line.mentioned, "thread": line.thread}
        platform.plan_to_say(line.after, chat, line.sender, line.text, token=token, **details)
    faults = settings.faults
    for name in ("conflict", "duplicates", "reorder", "disconnects", "disconnects_sending", "reject"):
        platform.fault(name, getattr(faults, name))
    platform.fault("rate_limit", faults.rate_limit, faults.retry_after)
    platform.fault("slow", ALWAYS if faults.slow else 0, faults.slow)
    return platform
