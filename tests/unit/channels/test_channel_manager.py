"""A reload touches the channels that it changes, and no others."""

from collections.abc import Mapping
from typing import Any, cast

import pytest
from channel_rig import OutboxStore, States, ToldAdapter, row

from gatewayd.channels.base import ChannelAdapter, ChannelAuthError, ChannelIO, ChannelState, ChannelUnavailable
from gatewayd.channels.manager import ChannelManager
from gatewayd.config.checking import read
from gatewayd.config.model import GatewayConfig
from gatewayd.config.section import Section, settings_of
from gatewayd.core.errors import ChannelNotFound, ReloadFailed, Unavailable
from gatewayd.core.ids import IdSource
from gatewayd.core.message import InboundMessage, OutboundMessage
from gatewayd.core.secret import Secret
from gatewayd.storage.base import Store
from gatewayd.testing.fakes import EvenRandomness, FakeClock


class ToldSettings(Section):
    token: Secret | None = None
    place: str = ""
    exclusive: bool = False


class Adapter(ToldAdapter):
    Settings = ToldSettings
    verdicts: dict[str, Exception] = {}  # noqa: RUF012  # by token; emptied by the fixture

    def __init__(self, name: str, settings: ToldSettings, io: ChannelIO) -> None:
        super().__init__(cast("FakeClock", io.clock))
        self.name = name
        self.token = settings.token.reveal() if settings.token else ""
        self.place = settings.place
        if settings.exclusive:
            self.exclusive()
        made.append(self)

    async def check(self) -> None:
        if self.token in self.verdicts:
            raise self.verdicts[self.token]

    async def run(self, inbox: Any, pulse: Any) -> None:
        if self.token in self.verdicts:
            self.began += 1
            raise self.verdicts[self.token]
        assert (
            sum(each.running for each in made if each.token == self.token and self.token) == 0 or not self.is_exclusive
        )
        await super().run(inbox, pulse)

    @property
    def is_exclusive(self) -> bool:
        return self.capabilities.handover == "exclusive"


made: list[Adapter] = []


class ManagerRig:
    def __init__(self) -> None:
        made.clear()
        Adapter.verdicts = {}
        self.clock = FakeClock()
        self.store = OutboxStore()
        self.states = States()
        self.config: GatewayConfig | None = None
        factories = cast("Mapping[str, type[ChannelAdapter]]", {"told": Adapter})
        self.manager = ChannelManager(
            factories=factories,
            store=cast("Store", self.store),
            inbox=self._take,
            io=ChannelIO(self.clock, EvenRandomness(), self._local),
            ids=IdSource(self.clock, EvenRandomness()),
            on_state=self.states,
        )

    async def _take(self, message: InboundMessage) -> None:
        return None

    async def _local(self, message: OutboundMessage) -> str:
        return ""

    async def reload(self, channels: dict[str, Any], *, initial: bool = False, **unavailable: str) -> None:
        new = config(channels)
        reasons = {f"channels.{name}": reason for name, reason in unavailable.items()}
        change = self.manager.plan(self.config, new, initial=initial, unavailable=reasons)
        try:
            await self.clock.run(change.prepare())
        except BaseException:
            await self.clock.run(change.abandon())
            raise
        change.commit()
        self.config = new
        await self.clock.run(change.retire())
        await self.clock.advance(0)

    async def start(self, channels: dict[str, Any], **unavailable: str) -> None:
        await self.reload(channels, initial=True, **unavailable)
        await self.manager.start()
        await self.clock.advance(0)

    async def __aenter__(self) -> "ManagerRig":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.clock.run(self.manager.stop())
        assert all(each.running == 0 for each in made)
        assert all(each.closed == 1 for each in made)

    def states_now(self) -> dict[str, str]:
        return {status.name: str(status.state) for status in self.manager.statuses()}


def config(channels: dict[str, Any]) -> GatewayConfig:
    sections = {}
    for name, keys in channels.items():
        own = {key: keys[key] for key in keys if key not in settings_of(ToldSettings)}
        connection = {key: keys[key] for key in keys if key in settings_of(ToldSettings)}
        if "token" in connection:
            connection["token"] = Secret(connection["token"])
        settings = ToldSettings(**connection)
        sections[name] = {"platform": "told", "routing": {"default": "a"}, "settings": settings, **own}
    return read(GatewayConfig, {"agents": {"a": {"model": "offline/echo"}}, "channels": sections})


async def test_start_is_a_reload_from_nothing() -> None:
    async with ManagerRig() as rig:
        await rig.start({"one": {}, "two": {}})

        assert rig.states_now() == {"one": "ready", "two": "ready"}
        with pytest.raises(ChannelNotFound, match="there are: one, two"):
            rig.manager.get("three")


async def test_an_untouched_channel_keeps_the_same_adapter_object() -> None:
    async with ManagerRig() as rig:
        await rig.start({"stays": {"token": "t"}, "goes": {}})
        before = rig.manager.get("stays").adapter

        await rig.reload({"stays": {"token": "t"}, "comes": {}})

        assert rig.manager.get("stays").adapter is before
        assert isinstance(before, Adapter)
        assert before.began == 1
        assert rig.states_now() == {"stays": "ready", "comes": "ready"}
        assert rig.states.names("stays") == ["ready"]
        assert rig.states.names("goes")[-1] == "stopped"


async def test_routing_policy_and_rate_change_without_touching_the_adapter() -> None:
    async with ManagerRig() as rig:
        await rig.start({"one": {}})
        before = rig.manager.get("one").adapter

        await rig.reload(
            {"one": {"routing": {"dm": "a"}, "rate_limit": 5, "ambiguous": "resend", "max_message_length": 100}}
        )

        channel = rig.manager.get("one")
        assert channel.adapter is before
        assert channel.section.ambiguous == "resend"
        assert channel.max_message_length == 100
        assert len(made) == 1


async def test_a_changed_connection_overlaps_with_the_old_one() -> None:
    async with ManagerRig() as rig:
        await rig.start({"one": {"place": "old"}})

        change = rig.manager.plan(rig.config, config({"one": {"place": "new"}}), initial=False, unavailable={})
        await rig.clock.run(change.prepare())
        assert [each.running for each in made] == [1, 1]
        assert rig.manager.get("one").adapter is made[0]
        change.commit()
        assert rig.manager.get("one").adapter is made[1]
        await rig.clock.run(change.retire())

        assert [each.running for each in made] == [0, 1]
        assert rig.states.names() == ["ready"]


async def test_an_exclusive_platform_s_old_connection_ends_first() -> None:
    async with ManagerRig() as rig:
        await rig.start({"one": {"place": "old", "token": "t", "exclusive": True}})

        await rig.reload({"one": {"place": "new", "token": "t", "exclusive": True}})

        assert [each.running for each in made] == [0, 1]
        assert rig.states.names() == ["ready", "degraded", "starting", "ready"]


@pytest.mark.parametrize("exclusive", [False, True])
async def test_F23_a_refused_changed_credential_refuses_the_whole_reload(exclusive: bool) -> None:
    async with ManagerRig() as rig:
        await rig.start({"one": {"token": "good", "exclusive": exclusive}, "two": {}})
        before = [rig.manager.get(name).adapter for name in ("one", "two")]
        Adapter.verdicts["wrong"] = ChannelAuthError("refused: put a valid token there")

        with pytest.raises(ReloadFailed, match="the channel one: refused"):
            await rig.reload({"new": {}, "two": {"place": "x"}, "one": {"token": "wrong", "exclusive": exclusive}})

        assert [rig.manager.get(name).adapter for name in ("one", "two")] == before
        assert rig.states_now() == {"one": "ready", "two": "ready"}
        assert rig.states.names() == ["ready", "ready"]


async def test_an_unreachable_platform_does_not_refuse_a_reload() -> None:
    async with ManagerRig() as rig:
        await rig.start({"one": {}})
        Adapter.verdicts["t"] = ChannelUnavailable("no route")

        await rig.reload({"one": {}, "two": {"token": "t"}})

        assert rig.states_now() == {"one": "ready", "two": "retrying"}


async def test_a_refused_credential_at_the_start_fails_its_channel_alone() -> None:
    async with ManagerRig() as rig:
        Adapter.verdicts["wrong"] = ChannelAuthError("refused")
        await rig.start({"one": {"token": "wrong"}, "two": {}})

        assert rig.states_now() == {"one": "failed", "two": "ready"}


async def test_an_unchanged_credential_that_is_refused_now_does_not_refuse_the_reload() -> None:
    async with ManagerRig() as rig:
        await rig.start({"one": {"token": "t"}})
        Adapter.verdicts["t"] = ChannelAuthError("revoked")

        await rig.reload({"one": {"token": "t", "place": "new"}})

        assert rig.states_now() == {"one": "failed"}


async def test_disabled_and_unavailable_channels_do_not_run_and_say_why() -> None:
    async with ManagerRig() as rig:
        await rig.start({"off": {"enabled": False}, "unset": {}}, unset="the variable TG_TOKEN is not set")

        assert made == []
        assert rig.states_now() == {"off": "stopped", "unset": "failed"}
        assert rig.manager.get("unset").status.reason == "the variable TG_TOKEN is not set"
        with pytest.raises(Unavailable, match="TG_TOKEN"):
            await rig.manager.reconnect("unset")

        await rig.reload({"off": {}, "unset": {}})

        assert rig.states_now() == {"off": "ready", "unset": "ready"}


async def test_a_channel_that_is_switched_off_leaves() -> None:
    async with ManagerRig() as rig:
        await rig.start({"one": {}})
        await rig.reload({"one": {"enabled": False}})

        assert made[0].closed == 1
        assert rig.states_now() == {"one": "stopped"}
        assert rig.manager.get("one").adapter is None


async def test_one_owner_per_token() -> None:
    async with ManagerRig() as rig:
        await rig.start({"one": {"token": "t"}, "two": {"token": "t"}})

        assert rig.states_now() == {"one": "ready", "two": "failed"}
        assert "the channel one has the same token" in rig.manager.get("two").status.reason


async def test_a_token_moves_to_another_channel_after_the_first_has_let_go() -> None:
    async with ManagerRig() as rig:
        await rig.start({"one": {"token": "t", "exclusive": True}})
        await rig.reload({"renamed": {"token": "t", "exclusive": True}})

        assert rig.states_now() == {"renamed": "ready"}


async def test_rows_of_a_channel_go_out_through_it_and_wait_for_one_that_is_away() -> None:
    async with ManagerRig() as rig:
        await rig.start({"ch": {}})
        rig.store.put(row(1))
        rig.manager.offer([row(1), row(2, channel="elsewhere")])
        await rig.clock.advance(0)
        assert made[0].texts() == ["text 1"]

        rig.store.put(row(3, channel="elsewhere"))
        await rig.reload({"ch": {}, "elsewhere": {}})

        assert made[1].texts() == ["text 3"]


async def test_sending_goes_on_through_an_exclusive_handover() -> None:
    async with ManagerRig() as rig:
        await rig.start({"ch": {"place": "old", "exclusive": True}})
        made[0].outcomes["text 1"] = [3.0]
        rig.store.put(row(1), row(2))
        rig.manager.offer([row(1), row(2)])
        await rig.clock.advance(0)

        await rig.reload({"ch": {"place": "new", "exclusive": True}})
        await rig.clock.advance(1)

        assert made[0].texts() == ["text 1"]
        assert made[1].texts() == ["text 2"]
        assert rig.store.letters == []


async def test_drain_stops_receiving_and_sends_what_is_queued() -> None:
    async with ManagerRig() as rig:
        await rig.start({"ch": {}})
        made[0].outcomes["text 1"] = [2.0]
        rig.store.put(row(1), row(2))
        rig.manager.offer([row(1), row(2)])
        await rig.clock.advance(0)

        await rig.clock.run(rig.manager.drain())

        assert made[0].running == 0
        assert made[0].texts() == ["text 1", "text 2"]
        assert rig.store.states() == {"row-00001": "sent", "row-00002": "sent"}


async def test_operators_pause_and_resume_a_channel() -> None:
    async with ManagerRig() as rig:
        await rig.start({"ch": {}})
        await rig.manager.pause("ch")
        rig.store.put(row(1))
        rig.manager.offer([row(1)])
        await rig.clock.advance(10)
        assert rig.states_now() == {"ch": "paused"}
        assert made[0].texts() == []

        await rig.manager.resume("ch")
        await rig.clock.advance(0)

        assert made[0].texts() == ["text 1"]
        assert rig.manager.get("ch").status.state is ChannelState.READY
