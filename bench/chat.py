"""A chat message through `sim`, journaled and answered, beside the `message` round trip of PraisonAI's gateway."""

import statistics
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from bench import praisonai_chat, sim_chat
from bench.load import Round, load, summary
from bench.report import Row

TARGET, AIM = 1.0, 3.0
IN_FLIGHT = (1, 16, 32, 64)
WARM = 60
"""Messages before those that count, at least ten in each chat."""
PEER_PREFIX = "You said: "


async def rows(*, rounds: int, messages: int, with_peer: bool, in_flight: Sequence[int] = IN_FLIGHT) -> list[Row]:
    """About `messages` in each round and arm (a third one at a time), in alternation; each load warms up uncounted."""
    found = []
    async with AsyncExitStack() as stack:
        homes = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))) for _ in range(2)]
        network, running = await stack.enter_async_context(sim_chat.serve(homes[0]))
        peer = await stack.enter_async_context(praisonai_chat.serve(homes[1])) if with_peer else None
        for chats in in_flight:
            ours: list[Round] = []
            theirs: list[Round] = []
            for number in range(rounds + 1):
                name = f"c{chats}r{number}"
                wanted = WARM if not number else messages // 3 if chats == 1 else messages
                each = max(10, wanted // chats)
                ours.append(await load(network.chat, name, chats=chats, messages=each, prefix="", cpu=running.cpu))
                if peer is not None:
                    theirs.append(
                        await load(
                            peer.chat, name, chats=chats, messages=each, prefix=PEER_PREFIX, cpu=peer.running.cpu
                        )
                    )
            found.append(_row(chats, ours[1:], theirs[1:]))
    return found


def _row(chats: int, ours: Sequence[Round], theirs: Sequence[Round]) -> Row:
    ratio = statistics.median(a.rate / b.rate for a, b in zip(ours, theirs, strict=True)) if theirs else 0.0
    return Row(
        "chat message through `sim` and back",
        summary(ours),
        f"PraisonAI `message` {summary(theirs)}" if theirs else "PraisonAI's gateway: no environment for it",
        ratio,
        f"≥ {TARGET}× (aim {AIM}×)",
        ratio >= TARGET if theirs else None,
        durable="yes, fsync (peer: no)",
        authenticated="yes (peer: yes)",
        in_flight=str(chats),
        processes="1 + load (peer: 1 + load)",
        note=f"{len(ours)} rounds of {ours[0].messages} messages; every answer compared, the ledger counted",
    )
