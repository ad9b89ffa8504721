"""The judge, a process of its own: reads the record, the platform's memory and the daemon's answers, and says what
was broken.

    python judge.py RECORD DAEMON_ADDRESS SIM_SOCKET

Commands on its standard input, each answered by one JSON object on its standard output: `crash` (the daemon has just
died), `judge` (it is back: everything from before the crash must end well) and `final` (all is quiet: everything is
gathered anew from the first event on). It never asks the load and never looks into the daemon's files.
"""

import asyncio
import json
import sys
from dataclasses import replace

import grpc
import rules
from gateway.v1 import admin_service_pb2 as admin
from gateway.v1 import event_pb2, event_type_pb2, message_pb2
from gateway.v1 import event_service_pb2 as events
from record import CHANNELS, Reader

from gatewayd.testing.sim_platform import SimUsers

PATIENCE = 30.0
"""Seconds that a story may take to end after a restart."""
PAGE = 1000
ACKNOWLEDGEMENTS = ("published", "accepted", "replied", "got", "gap", "failed")


class Daemon:
    """What the judge asks of a running daemon."""

    def __init__(self, address):
        self._channel = grpc.aio.insecure_channel(address, options=[("grpc.max_receive_message_length", 64 << 20)])

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self._channel.close(grace=None)

    async def call(self, method, request, answer):
        invoke = self._channel.unary_unary(
            f"/gateway.v1.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        return await invoke(request, timeout=10, wait_for_ready=True)

    async def log(self, after):
        """All events with seq > `after`, in order."""
        found, token = [], ""
        select = event_pb2.EventFilter(all_types=True)
        while True:
            request = events.ListEventsRequest(page_size=PAGE, page_token=token, filter=select)
            page = await self.call("EventService/ListEvents", request, events.ListEventsResponse)
            found += [_logged(event) for event in page.events if event.seq > after]
            token = page.next_page_token
            if not token or (page.events and page.events[-1].seq <= after):
                return found[::-1]

    async def messages(self, wanted):
        """Stories, the newest first, until all that are wanted (by id or platform id) were seen."""
        missing, token = set(wanted), ""
        while True:
            request = admin.ListMessagesRequest(page_size=PAGE, page_token=token)
            page = await self.call("AdminService/ListMessages", request, admin.ListMessagesResponse)
            for message in page.messages:
                missing -= {message.id, message.platform_id}
                yield _story(message)
            token = page.next_page_token
            if not token or not missing:
                return

    async def traced(self, story):
        """The story with its steps."""
        request = admin.TraceMessageRequest(message_id=story.id)
        traced = await self.call("AdminService/TraceMessage", request, admin.TraceMessageResponse)
        stages = (_label(message_pb2.MessageStage, step.stage, "MESSAGE_STAGE_") for step in traced.steps)
        return replace(story, stages=tuple(stages))


class Judge:
    """Gathers evidence, little by little; `rules` does the judging."""

    def __init__(self, record, address, sim):
        self.reader = Reader(record)
        self.address = address
        self.users = SimUsers(sim)
        self.evidence = rules.Evidence()
        self.required = set()
        self.life = 0
        self.late = []
        """Acknowledgements that were read after the daemon was asked: they count the next time."""

    async def crash(self):
        """Note what was promised and heard until now."""
        await self._hear()
        self.life += 1
        self._read()
        self._require()
        return {"life": self.life}

    async def judge(self, final=False):
        """What is broken."""
        self._read()
        if final:
            self._require()
            self.evidence.stories.clear()
            self.evidence.log.clear()
        async with Daemon(self.address) as daemon:
            await self._await_ends(daemon)
            log = self.evidence.log
            # The end of what was read before is read again: it must not have changed.
            overlap = log[-100].seq - 1 if len(log) >= 100 else 0
            log[-100:] = await daemon.log(overlap)
        await self._hear()
        self._read(acknowledgements=False)
        evidence = self.evidence
        if not final:
            # A message may be answered before the load could write that it was said.
            known = {said["update"] for said in evidence.said}
            answers = {each.key.rpartition("/")[0] for each in evidence.heard if each.quote and each.quote in known}
            evidence = replace(evidence, heard=[h for h in evidence.heard if h.key.rpartition("/")[0] in answers])
        broken = list(rules.judge(evidence, self.required))
        seen = {"events": len(log), "messages": len(self.required), **self._seen()}
        return {"broken": len(broken), "violations": broken[:20], "seen": seen}

    def _seen(self):
        """How often what a crash may do to a message has happened: a run without any of it proves little."""
        evidence = self.evidence
        return {
            "taken up again": sum(event.type == "execution_interrupted" for event in evidence.log),
            "held": sum(story.state == rules.DEAD for story in evidence.stories.values()),
            "resent": len(evidence.heard) - len({each.key for each in evidence.heard}),
        }

    def _require(self):
        evidence = self.evidence
        self.required |= {send["message"] for send in evidence.sends.values() if "message" in send}
        self.required |= {said["update"] for said in evidence.said}

    async def _await_ends(self, daemon):
        """Fetch the stories that must have ended, again and again until they have, or the time is up."""
        stories = self.evidence.stories
        by_platform = {story.platform_id: story for story in stories.values() if story.platform_id}
        open_ = {
            each
            for each in self.required
            if (story := stories.get(each) or by_platform.get(each)) is None or story.state not in rules.TERMINAL
        }
        ended = {}
        until = asyncio.get_running_loop().time() + PATIENCE
        while open_:
            taken = [each for each in CHANNELS if not await self.users.unacknowledged(f"{each}-token")]
            async for story in daemon.messages(open_):
                stories[story.id] = story
                if story.state in rules.TERMINAL and not open_.isdisjoint({story.id, story.platform_id}):
                    open_ -= {story.id, story.platform_id}
                    ended[story.id] = story
            open_ -= self._lost(taken)
            if asyncio.get_running_loop().time() >= until:
                break
            await asyncio.sleep(0.2)
        todo = iter(ended.values())

        async def trace():
            for story in todo:
                stories[story.id] = await daemon.traced(story)

        await asyncio.gather(*(trace() for _ in range(8)))

    def _lost(self, taken):
        """What was accepted or taken off the platform (all of it on the channels `taken`) and is in no story."""
        stories = self.evidence.stories
        accepted = {send["message"] for send in self.evidence.sends.values() if "message" in send}
        said = {said["update"] for said in self.evidence.said if said["channel"] in taken}
        return (accepted - stories.keys()) | (said - {story.platform_id for story in stories.values()})

    async def _hear(self):
        heard = self.evidence.heard
        for sent in await self.users.heard(after=heard[-1].number if heard else 0):
            heard.append(rules.Heard(sent.number, sent.key, sent.chat, sent.text, sent.quote, self.life))

    def _read(self, acknowledgements=True):
        entries = self.reader.new()
        if acknowledgements:
            entries, self.late = [*self.late, *entries], []
        for entry in entries:
            if entry["what"] in ACKNOWLEDGEMENTS and not acknowledgements:
                self.late.append(entry)
            else:
                getattr(self, f"_note_{entry['what']}", _nothing)(entry)

    def _note_publish(self, entry):
        self.evidence.intended += entry["ids"]

    def _note_published(self, entry):
        self.evidence.published |= dict.fromkeys(entry["ids"], int(entry["cursor"].rpartition(":")[2]))

    def _note_send(self, entry):
        self.evidence.sends[entry["key"]] = entry

    def _note_accepted(self, entry):
        self.evidence.sends[entry["key"]] |= {"message": entry["message"], "execution": entry["execution"]}

    def _note_replied(self, entry):
        self.evidence.sends[entry["key"]]["reply"] = (entry["execution"], entry["content"])

    def _note_said(self, entry):
        self.evidence.said.append(entry)

    def _note_got(self, entry):
        self.evidence.got.append((entry["seq"], entry["id"], entry["epoch"]))

    def _note_gap(self, entry):
        self.evidence.gaps.append(entry["error"])

    def _note_failed(self, entry):
        self.evidence.failures.append(f"{entry['of']} {entry.get('key', '')}: {entry['error']}")

    def _note_fault(self, entry):
        if entry["name"] == "disconnects_sending":
            self.evidence.cuts += entry["count"]


def _nothing(entry):
    """What is written for people only."""


def _label(enum, value, prefix):
    return enum.Name(value).removeprefix(prefix).lower()


def _logged(event):
    kind = _label(event_type_pb2.EventType, event.type, "EVENT_TYPE_")
    content = event.message.content if kind == "message" else ""
    return rules.Logged(event.seq, event.id, event.stream_id, kind, content, event.execution_id, event.epoch)


def _story(message):
    state = _label(message_pb2.LedgerState, message.state, "LEDGER_STATE_")
    return rules.Story(message.id, state, message.reason, message.platform_id, message.channel, message.execution_id)


async def main():
    judge = Judge(*sys.argv[1:])
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps({"open": True}), flush=True)
    while command := (await reader.readline()).decode().strip():
        try:
            answer = await (judge.crash() if command == "crash" else judge.judge(final=command == "final"))
        except grpc.RpcError as error:
            answer = {"broken": 1, "violations": [f"the daemon did not answer the judge: {error.details()}"]}
        print(json.dumps(answer), flush=True)
    await judge.users.close()


if __name__ == "__main__":
    asyncio.run(main())
