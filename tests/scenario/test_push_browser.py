"""Push by WebSocket: the same frames as JSON, so that a page meets streams and polls on one topic."""

from pathlib import Path

from gateway.v1 import event_service_pb2 as pb

from tests.rigs.process import Daemon
from tests.rigs.push import ack, changes, join, push, pushed, texts
from tests.rigs.stream import RawStream
from tests.rigs.websocket import PROTO, RawSocket, http_port

CONFIG = "gateway: {http: {port: 0, websocket: true}}\npush: {enabled: true}\n"


async def test_a_page_and_a_stream_meet_on_a_topic(tmp_path: Path) -> None:
    async with Daemon(tmp_path, CONFIG) as daemon, RawStream(daemon.address) as stream:
        await stream.hello("stream")
        await join(stream, "room", create_if_missing=True, watch_presence=True)
        for form in ("gateway.v1.json", PROTO):
            page = RawSocket(http_port(daemon), token=daemon.token, form=form)
            async with page:
                await page.hello(f"page-{form}")
                await join(page, "room", acknowledged=True, status="typing", metadata={"n": [1, None, "größe"]})
                assert await changes(stream) == [(f"page-{form}", "join", "typing")]
                assert (await push(page, "room", {"text": "from the page"})).count == 1
                (message,) = await pushed(stream)
                assert (message.principal, texts([message])) == ("default", ["from the page"])
                assert (await push(stream, "room", {"text": "back", "deep": {"a": [1]}}, acknowledged=True)).count == 1
                (answer,) = await pushed(page)
                assert (answer.data["text"], answer.data["deep"]["a"][0]) == ("back", 1)
                assert await ack(page, answer.delivery_id) == 1
                leave = await page.ask(pb.ConnectRequest(leave_topic=pb.LeaveTopic(topic="room")))
                assert (await page.accepted(leave)).existed
