"""The load, a process of its own that outlives every daemon: publishes, asks agents, chats, and listens.

    python load.py RECORD DAEMON_ADDRESS SIM_SOCKET SEED CHANNEL…

It reads commands from its standard input (`fast N`: N more acknowledged writes at full pace, `stop`) and writes its
counts to its standard output, one JSON object a line. Everything that is promised to it goes into the record first.
"""

import asyncio
import contextlib
import json
import random
import sys

from record import STREAMS, Record, content_of, words

from gatewayctl.client import Client, EventsLost, GatewayError, event_filter, new_event
from gatewayctl.system import SystemClock
from gatewayd.channels.sim_values import SimCut
from gatewayd.testing.sim_platform import SimUsers

CLIENTS = ("pub", "ask", "ear")
FAST, SLOW = 1.0, 8.0
"""Factor on every pause: until the cycle has its writes, and afterwards."""
SETTLE = 60.0
"""Seconds that everything unanswered may take at the end."""
FAULTS = (("duplicates", 2, 0.0), ("rate_limit", 1, 0.05), ("disconnects_sending", 1, 0.0), ("slow", 5, 0.02))


class Impatient(SystemClock):
    """The SDK backs off when a daemon is lost again and again; here that is what is asked for."""

    async def sleep(self, seconds):
        await asyncio.sleep(min(seconds, 0.25))


class Load:
    """All tasks of the load and their counts."""

    def __init__(self, record, address, sim, seed, *channels):
        self.record = Record(record)
        self.rng = random.Random(f"{seed}/load")
        self.clients = {
            name: Client(address, client_id=name, clock=Impatient(), connect_timeout=30)
            for name in ("pub", "ask", "ear")
        }
        self.users = SimUsers(sim)
        self.channels = channels
        self.counts = dict.fromkeys(("published", "accepted", "taken", "replied", "got"), 0)
        self.said = 0
        self.furthest = 0
        self.until = 0
        self.stopping = asyncio.Event()
        self.changed = asyncio.Event()

    @property
    def acknowledged(self):
        return sum(self.counts[name] for name in ("published", "accepted", "taken"))

    def count(self, name, number=1):
        self.counts[name] += number
        self.changed.set()

    async def pause(self, seconds):
        """Wait, unless the end has come; whether to go on."""
        factor = FAST if self.acknowledged < self.until else SLOW
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds * factor * self.rng.uniform(0.5, 1.5))
        return not self.stopping.is_set()

    # Events

    async def publish(self, stream):
        """Batches on one stream, a few of them unanswered at a time."""
        slots, number = asyncio.Semaphore(3), 0
        async with asyncio.TaskGroup() as batches:
            while await self.pause(0.05):
                await slots.acquire()
                ids = [f"{stream}-{number + each}" for each in range(self.rng.randint(1, 25))]
                number += len(ids)
                self.record.write("publish", ids=ids)
                batches.create_task(self.batch(stream, ids, slots))

    async def batch(self, stream, ids, slots):
        events = [new_event("message", {"content": content_of(each)}, id=each, stream_id=stream) for each in ids]
        try:
            cursor = await self.clients["pub"].publish(events)
            self.record.write("published", ids=ids, cursor=cursor)
            self.count("published", len(ids))
        except GatewayError as error:
            self.record.write("failed", of="publish", ids=ids, error=repr(error))
        finally:
            slots.release()

    async def listen(self):
        """One subscription to everything, from the first event on and through all crashes."""
        subscription = self.clients["ear"].subscribe(event_filter())
        while True:
            try:
                async for event in subscription:
                    if event.HasField("seq"):
                        self.record.write("got", seq=event.seq, id=event.id, epoch=event.epoch)
                        self.furthest = event.seq
                        self.counts["got"] += 1
            except EventsLost as gap:
                self.record.write("gap", error=repr(gap))

    # Agents

    async def ask(self):
        """Sends with a key of their own, a few unanswered at a time."""
        slots, number = asyncio.Semaphore(6), 0
        async with asyncio.TaskGroup() as sends:
            while await self.pause(0.03):
                await slots.acquire()
                number += 1
                sends.create_task(self.send(f"s{number}", slots))

    async def send(self, key, slots):
        agent = self.rng.choice(("echo", "echo", "slow"))
        answer = f"{key} {words(self.rng, 8)}"
        text = f"10ms {answer}" if agent == "slow" else answer
        self.record.write("send", key=key, text=text, answer=answer)
        try:
            stream = self.clients["ask"].stream(agent, text, idempotency_key=key)
            await stream.accepted()
            self.record.write("accepted", key=key, message=stream.message_id, execution=stream.execution_id)
            self.count("accepted")
            reply = await stream.wait()
            self.record.write("replied", key=key, execution=reply.execution_id, content=reply.content)
            self.count("replied")
        except GatewayError as error:
            self.record.write("failed", of="send", key=key, error=repr(error))
        finally:
            slots.release()

    # Chats

    async def chat(self, channel):
        """Four people on one channel: two by themselves, two in a room, where one is not always spoken to."""
        number = 0
        while await self.pause(0.06):
            number += 1
            peer = self.rng.choice(("ann", "bob", "cat", "dan"))
            room = peer in ("cat", "dan")
            mentioned = not room or self.rng.random() < 0.8
            answer = f"{channel[0]}{number} {words(self.rng, 8 if room else 40)}"
            text = f"10ms {answer}" if room else answer
            chat = f"{channel}-room" if room else f"{channel}-{peer}"
            values = {"channel": channel, "chat": chat, "peer": peer, "answer": answer if mentioned else ""}
            self.record.write("say", text=text, **values)
            context = "group" if room else "dm"
            update = await self.users.say(chat, peer, text, context, token=f"{channel}-token", mentioned=mentioned)
            self.said += 1
            self.record.write("said", update=update, **values)

    async def watch_taken(self):
        """Count what the daemon has acknowledged to the platform."""
        while True:
            left = 0
            for channel in self.channels:
                left += await self.users.unacknowledged(f"{channel}-token")
            self.count("taken", max(0, self.said - left - self.counts["taken"]))
            await asyncio.sleep(0.1)

    async def misbehave(self):
        """Plan one fault of the platform."""
        name, count, value = self.rng.choice(FAULTS)
        self.record.write("fault", name=name, count=count)
        await self.users.fault(name, count, value)

    # Life

    async def report(self):
        while True:
            await self.changed.wait()
            self.changed.clear()
            tell(acknowledged=self.acknowledged, **self.counts)
            await asyncio.sleep(0.05)

    async def obey(self):
        """Commands, until `stop` or the end of the input."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while (line := (await reader.readline()).decode().split()) and line[0] != "stop":
            self.until = self.acknowledged + int(line[1])
            await self.misbehave()
        self.stopping.set()

    async def run(self):
        async with contextlib.AsyncExitStack() as open_clients:
            for client in self.clients.values():
                await open_clients.enter_async_context(client)
            tell(open=True)
            async with asyncio.TaskGroup() as group:
                endless = [group.create_task(each()) for each in (self.listen, self.watch_taken, self.report)]
                work = [group.create_task(self.obey()), group.create_task(self.ask())]
                work += [group.create_task(self.publish(stream)) for stream in STREAMS]
                work += [group.create_task(self.chat(channel)) for channel in self.channels]
                await self.stopping.wait()
                _, late = await asyncio.wait(work, timeout=SETTLE)
                await self.hear_all()
                tell(stopped=True, unanswered=len(late), acknowledged=self.acknowledged, **self.counts)
                for task in (*endless, *late):
                    task.cancel()
        await self.users.close()

    async def hear_all(self):
        """Wait until the subscription has brought what was there when everything had ended."""
        end = (await self.clients["pub"].publish([new_event("message", {"content": "end"}, id="end")])).rpartition(":")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                while self.furthest < int(end[2]):
                    await asyncio.sleep(0.02)


def tell(**values):
    print(json.dumps(values), flush=True)


async def main():
    with contextlib.suppress(SimCut):
        await Load(*sys.argv[1:]).run()


if __name__ == "__main__":
    asyncio.run(main())
