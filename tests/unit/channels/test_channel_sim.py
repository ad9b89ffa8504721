"""The simulated platform: its script, its faults one by one, and what a channel makes of each."""

import json
from typing import Any

import pytest
from channel_rig import States

from gatewayd.channels.base import ChannelIO, ChannelState
from gatewayd.channels.sim import SimAdapter, SimSettings
from gatewayd.channels.sim_network import SimPlatform
from gatewayd.channels.sim_values import FAULTS, Sending, SimRefused
from gatewayd.channels.supervisor import ChannelSupervisor
from gatewayd.config.checking import Unfit, read
from gatewayd.core.message import ChatContext, InboundMessage, OutboundMessage
from gatewayd.core.secret import Secret
from gatewayd.testing.fakes import EvenRandomness, FakeClock


async def nowhere(message: OutboundMessage) -> str:
    raise AssertionError


class SimRig:
    """A sim channel under a supervisor, in virtual time."""

    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock()
        io = ChannelIO(self.clock, EvenRandomness(), nowhere)
        self.adapter = SimAdapter("ch", read(SimSettings, settings), io)
        self.states = States()
        self.taken: list[InboundMessage] = []
        self.supervisor = ChannelSupervisor(
            "ch", "sim", self.adapter, self._take, clock=self.clock, randomness=EvenRandomness(), on_state=self.states
        )

    async def _take(self, message: InboundMessage) -> None:
        self.taken.append(message)

    async def __aenter__(self) -> "SimRig":
        self.supervisor.begin()
        await self.clock.advance(0)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.clock.run(self.supervisor.close())

    def texts(self) -> list[str]:
        return [message.text for message in self.taken]


def lines(*texts: str, **more: object) -> list[dict[str, object]]:
    return [{"from": "alice", "text": text, **more} for text in texts]


async def test_users_say_their_script_in_time() -> None:
    script = [
        *lines("one"),
        *lines("two", after=10),
        *lines("three", context="group", chat="g", after=5, mentioned=True),
    ]
    async with SimRig(script=script) as rig:
        assert rig.texts() == ["one"]
        assert rig.taken[0].chat == "dm-alice"
        await rig.clock.advance(9)
        assert rig.texts() == ["one"]
        await rig.clock.advance(7)

        assert rig.texts() == ["one", "two", "three"]
        third = rig.taken[2]
        assert (third.context, third.chat, third.mentioned) == (ChatContext.GROUP, "g", True)
        assert rig.supervisor.status.state is ChannelState.READY


async def test_a_quiet_network_stays_ready() -> None:
    async with SimRig() as rig:
        await rig.clock.advance(3600)
        assert rig.states.names() == ["ready"]


async def test_fault_conflict() -> None:
    async with SimRig(script=lines("hi"), faults={"conflict": 2}) as rig:
        assert rig.supervisor.status.state is ChannelState.RETRYING
        assert "another connection" in rig.supervisor.status.reason
        await rig.clock.advance(30)
        assert rig.states.names() == ["retrying", "starting", "retrying", "starting", "ready"]
        assert rig.texts() == ["hi"]


async def test_fault_disconnects() -> None:
    async with SimRig(script=lines("hi"), faults={"disconnects": 1}) as rig:
        assert rig.supervisor.status.state is ChannelState.RETRYING
        await rig.clock.advance(3)
        assert rig.texts() == ["hi"]


async def test_fault_duplicates() -> None:
    async with SimRig(script=lines("hi"), faults={"duplicates": 2}) as rig:
        await rig.clock.advance(1)
        assert len({message.platform_id for message in rig.taken}) == 1
        assert rig.texts() == ["hi"] * 3


async def test_fault_reorder() -> None:
    async with SimRig(script=lines("one", "two", "three"), faults={"reorder": 1}) as rig:
        assert rig.texts() == ["three", "two", "one"]


async def test_fault_slow() -> None:
    async with SimRig(script=lines("hi"), faults={"slow": 1.5}) as rig:
        assert rig.supervisor.status.state is ChannelState.STARTING
        await rig.clock.advance(2)
        assert rig.texts() == ["hi"]
        await rig.clock.advance(600)
        assert rig.states.names() == ["ready"]


async def test_fault_auth_by_a_bad_token() -> None:
    async with SimRig(token=Secret("bad")) as rig:
        assert rig.supervisor.status.state is ChannelState.FAILED
        assert rig.supervisor.status.reason == "the token is refused: put a valid one into channels.ch.token"


async def test_two_connections_with_one_token_conflict() -> None:
    async with SimRig() as rig:
        assert rig.adapter.platform is not None
        with pytest.raises(SimRefused) as caught:
            await rig.adapter.platform.poll("", "somebody else", 0)
        assert caught.value.status == 409


async def test_messages_are_bounded_on_both_sides() -> None:
    platform = SimPlatform(FakeClock(), EvenRandomness(), max_sent=3)
    for number in range(5):
        await platform.send("", Sending(f"key {number}", "room", str(number), idempotent=True))
    assert [sent.text for sent in platform.heard()] == ["2", "3", "4"]
    assert len(platform._by_key) == 3
    with pytest.raises(SimRefused, match="4097"):
        await platform.send("", Sending("long", "room", "x" * 4097))


def test_faults_have_names() -> None:
    platform = SimPlatform(FakeClock(), EvenRandomness())
    for name in FAULTS:
        platform.fault(name)
    with pytest.raises(SimRefused, match="there is no fault"):
        platform.fault("earthquake")


@pytest.mark.parametrize(
    "settings",
    [
        {"tokn": "x"},
        {"server": "/no/scheme"},
        {"server": "unix:/s", "script": [{"from": "a", "text": "b"}]},
        {"server": "unix:/s", "faults": {"conflict": 1}},
        {"faults": {"earthquake": 1}},
        {"faults": {"conflict": -1}},
        {"script": [{"from": "a"}]},
        {"script": [{"from": "a", "text": "b", "context": "party"}]},
    ],
    ids=json.dumps,
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(Unfit):
        read(SimSettings, settings)
