"""A channel's state tells the truth, and what passes by itself is tried again without a human."""

import asyncio
from typing import Any

import pytest
from channel_rig import States, ToldAdapter

from gatewayd.channels.base import (
    ChannelAuthError,
    ChannelConflict,
    ChannelState,
    ChannelUnavailable,
    Inbox,
    Pulse,
)
from gatewayd.channels.supervisor import ChannelSupervisor
from gatewayd.core.message import ChatContext, InboundMessage
from gatewayd.testing.fakes import EvenRandomness, FakeClock

HELLO = InboundMessage("ch", "1", "room", "alice", ChatContext.DM, "hello", 0.0)


class SupervisorRig:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.adapter = ToldAdapter(self.clock)
        self.states = States()
        self.inbox: list[InboundMessage] = []
        self.supervisor = ChannelSupervisor(
            "ch",
            "told",
            self.adapter,
            self._take,
            clock=self.clock,
            randomness=EvenRandomness(),
            on_state=self.states,
            queued=lambda: 7,
        )

    async def _take(self, message: InboundMessage) -> None:
        self.inbox.append(message)

    async def __aenter__(self) -> "SupervisorRig":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.clock.run(self.supervisor.close())
        assert self.adapter.running == 0

    @property
    def state(self) -> ChannelState:
        return self.supervisor.status.state

    async def begin(self, *runs: Any) -> None:
        self.adapter.runs = list(runs)
        self.supervisor.begin()
        await self.clock.advance(0)


def fails(verdict: Exception, *, ready_for: float | None = None, clock: FakeClock | None = None) -> Any:
    async def run(inbox: Inbox, pulse: Pulse) -> None:
        if ready_for is not None and clock is not None:
            pulse.ready("bot")
            await clock.sleep(ready_for)
        raise verdict

    return run


async def test_it_is_ready_when_the_adapter_says_so() -> None:
    async with SupervisorRig() as rig:
        assert rig.state is ChannelState.STARTING
        await rig.begin()

        assert rig.states.names() == ["ready"]
        status = rig.supervisor.status
        assert (status.account, status.queued, status.restarts) == ("bot", 7, 0)


async def test_an_unreachable_platform_is_tried_again_after_growing_times() -> None:
    async with SupervisorRig() as rig:
        await rig.begin(*(fails(ChannelUnavailable("no route")) for _ in range(9)))
        began = []
        while rig.adapter.runs:
            before = rig.adapter.began
            retry = rig.supervisor.status.retry_time - rig.clock.now()
            await rig.clock.advance(retry - 0.01)
            assert rig.adapter.began == before
            await rig.clock.advance(0.02)
            assert rig.adapter.began == before + 1
            began.append(round(retry, 1))

        assert began == [2.0, 3.6, 6.5, 11.7, 21.0, 30.0, 30.0, 30.0]
        assert rig.supervisor.status.reason == "no route"


async def test_the_platform_s_own_wait_is_respected() -> None:
    async with SupervisorRig() as rig:
        await rig.begin(fails(ChannelUnavailable("flood", retry_after=300)))
        await rig.clock.advance(299)
        assert rig.state is ChannelState.RETRYING
        await rig.clock.advance(2)
        assert rig.state is ChannelState.READY


async def test_the_delay_starts_small_again_after_a_stable_time() -> None:
    async with SupervisorRig() as rig:
        broken = [fails(ChannelUnavailable("down")) for _ in range(4)]
        await rig.begin(*broken, fails(ChannelUnavailable("cut"), ready_for=40, clock=rig.clock))
        await rig.clock.advance(2 + 3.6 + 6.5 + 11.7 + 1)
        assert rig.state is ChannelState.READY

        await rig.clock.advance(40)

        assert rig.supervisor.status.retry_time - rig.clock.now() <= 2.0


async def test_a_connection_that_breaks_at_once_does_not_count_as_stable() -> None:
    async with SupervisorRig() as rig:
        await rig.begin(*(fails(ChannelUnavailable("cut"), ready_for=1, clock=rig.clock) for _ in range(9)))
        await rig.clock.advance(60)

        assert rig.adapter.began <= 6


async def test_F70_a_conflict_waits_longer_than_a_poll_and_heals_by_itself() -> None:
    async with SupervisorRig() as rig:
        await rig.begin(*(fails(ChannelConflict("another instance polls this bot")) for _ in range(20)))
        assert rig.state is ChannelState.RETRYING
        assert "another instance" in rig.supervisor.status.reason
        assert rig.supervisor.status.retry_time - rig.clock.now() > rig.adapter.capabilities.conflict_wait

        await rig.clock.advance(3600)

        assert rig.state is ChannelState.READY


async def test_F71_refused_credentials_wait_for_a_human() -> None:
    async with SupervisorRig() as rig:
        await rig.begin(fails(ChannelAuthError("put a valid token into channels.ch.token")))
        await rig.clock.advance(86_400)
        assert rig.state is ChannelState.FAILED
        assert rig.supervisor.status.reason == "put a valid token into channels.ch.token"
        assert rig.adapter.began == 1

        await rig.supervisor.reconnect()
        await rig.clock.advance(0)

        assert rig.state is ChannelState.READY


async def test_a_defect_is_retried_and_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async with SupervisorRig() as rig:
        await rig.begin(fails(ZeroDivisionError("oops")))

        assert rig.state is ChannelState.RETRYING
        assert rig.supervisor.status.reason == "a defect: ZeroDivisionError"
        assert caplog.records[0].exc_info

        await rig.clock.advance(3)
        assert rig.state is ChannelState.READY


async def test_an_adapter_that_is_finished_is_stopped() -> None:
    async def ends(inbox: Inbox, pulse: Pulse) -> None:
        return None

    async with SupervisorRig() as rig:
        await rig.begin(ends)
        assert rig.state is ChannelState.STOPPED


async def test_a_silent_transport_is_degraded_and_then_made_anew() -> None:
    async with SupervisorRig() as rig:
        await rig.begin()
        await rig.clock.advance(89)
        assert rig.state is ChannelState.READY
        await rig.clock.advance(2)
        assert rig.state is ChannelState.DEGRADED
        assert "nothing came from the platform for 90 s" in rig.supervisor.status.reason

        await rig.clock.advance(90)

        assert rig.state is ChannelState.RETRYING
        assert rig.adapter.running == 0
        await rig.clock.advance(3)
        assert rig.state is ChannelState.READY
        assert rig.supervisor.status.restarts == 1


async def test_a_frame_makes_a_stale_connection_well() -> None:
    pulses: list[Pulse] = []

    async def run(inbox: Inbox, pulse: Pulse) -> None:
        pulses.append(pulse)
        pulse.ready()
        await asyncio.get_running_loop().create_future()

    async with SupervisorRig() as rig:
        await rig.begin(run)
        await rig.clock.advance(100)
        assert rig.state is ChannelState.DEGRADED

        pulses[0].frame()

        assert rig.state is ChannelState.READY


async def test_users_who_say_nothing_are_no_failure() -> None:
    async def run(inbox: Inbox, pulse: Pulse) -> None:
        pulse.ready()
        while True:
            await clock.sleep(30)
            pulse.heartbeat()

    async with SupervisorRig() as rig:
        clock = rig.clock
        await rig.begin(run)
        await rig.clock.advance(86_400)

        assert rig.states.names() == ["ready"]
        assert rig.supervisor.status.last_message == 0


async def test_an_attempt_that_never_gets_anywhere_is_given_up() -> None:
    async def hangs(inbox: Inbox, pulse: Pulse) -> None:
        await asyncio.get_running_loop().create_future()

    async with SupervisorRig() as rig:
        await rig.begin(hangs)
        await rig.clock.advance(181)
        assert rig.state is ChannelState.RETRYING


async def test_the_three_clocks_are_told_apart() -> None:
    async def run(inbox: Inbox, pulse: Pulse) -> None:
        pulse.ready()
        await clock.sleep(10)
        await inbox(HELLO)
        await clock.sleep(10)
        pulse.heartbeat()
        await clock.sleep(10)
        pulse.frame()
        await clock.sleep(1000)

    async with SupervisorRig() as rig:
        clock = rig.clock
        start = clock.now()
        await rig.begin(run)
        await rig.clock.advance(35)

        status = rig.supervisor.status
        assert rig.inbox == [HELLO]
        times = (status.last_message, status.last_heartbeat, status.last_frame)
        assert tuple(time - start for time in times) == (10, 20, 30)


async def test_paused_until_resumed() -> None:
    async with SupervisorRig() as rig:
        await rig.begin()
        await rig.supervisor.pause()
        await rig.clock.advance(1000)
        assert (rig.state, rig.adapter.running) == (ChannelState.PAUSED, 0)

        await rig.supervisor.resume()
        await rig.clock.advance(0)

        assert rig.state is ChannelState.READY


async def test_a_pause_ends_the_wait_for_a_retry() -> None:
    async with SupervisorRig() as rig:
        await rig.begin(fails(ChannelUnavailable("down")))
        await rig.supervisor.pause()
        await rig.clock.advance(1000)

        assert rig.state is ChannelState.PAUSED
        assert rig.adapter.began == 1


async def test_while_draining_it_receives_nothing_and_still_counts_as_up() -> None:
    async with SupervisorRig() as rig:
        await rig.begin()
        await rig.supervisor.stop_receiving()

        assert (rig.state, rig.adapter.running) == (ChannelState.DEGRADED, 0)

        await rig.supervisor.close()
        assert rig.state is ChannelState.STOPPED
        assert rig.adapter.closed == 1


async def test_an_adapter_that_ignores_its_end_holds_nobody_up_and_nothing_new_begins_before_its_end() -> None:
    release = asyncio.Event()

    async def stubborn(inbox: Inbox, pulse: Pulse) -> None:
        pulse.ready()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with SupervisorRig() as rig:
        await rig.begin(stubborn)
        await rig.clock.run(rig.supervisor.reconnect())
        await rig.clock.advance(0)
        assert rig.adapter.running == 1
        assert rig.state is ChannelState.RETRYING

        release.set()
        await rig.clock.advance(0)

        assert rig.adapter.began == 2
        assert rig.state is ChannelState.READY


async def test_a_listener_that_fails_disconnects_nobody() -> None:
    async with SupervisorRig() as rig:
        rig.supervisor._vitals._on_state = lambda old, new: 1 / 0  # type: ignore[assignment,return-value]
        await rig.begin()
        assert rig.state is ChannelState.READY
