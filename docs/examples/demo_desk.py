"""The support desk of docs/examples/desk at work, without an account: run it with `make demo-desk`.

It opens the desk in a directory of its own, sends it tickets, kills the daemon with -9 while two of them wait for a
person, starts it again, answers for the person, and tells all of it as it happens. It ends with 0 when every ticket
was answered once.
"""

import asyncio
import sys
import tempfile
from functools import partial
from pathlib import Path

from desk.office import Office
from desk.shop import new_secret
from running import Failed

from gatewayctl.client import GatewayError

ANN = (1, "Ann", "42", "My parcel came in pieces, I want my money back.")
BEN = (2, "Ben", "17", "Where is my parcel?")
CID = (3, "Cid", "", "Do you sell tea?")


async def main() -> int:
    """Returns the exit code: 0 when everything worked."""
    with tempfile.TemporaryDirectory(prefix="gatewayd-desk-") as place:
        try:
            async with Office(Path(place), partial(print, flush=True)) as office:
                await play(office)
        except (Failed, GatewayError, OSError) as failure:  # a wait that was too long is an OSError, too
            print(f"\nThe demo failed: {failure or type(failure).__name__}", file=sys.stderr)
            return 1
    print("\nThe daemon drained and stopped with exit code 0. How it is made: docs/examples/desk")
    return 0


async def play(office: Office) -> None:
    """One afternoon. `Failed` where it does not go as it should."""
    scene("Somebody who is not the shop sends a ticket")
    status = await office.ticket(*ANN, secret=new_secret())
    expect(status == 401, f"a forged ticket was answered with {status}")
    office.story.say("stranger", "is refused: 401, and nothing is written down.")

    scene("The shop sends two tickets: one for two specialists, one for a single one")
    for ticket in (ANN, BEN):
        await sent(office, *ticket)
    await office.story.question(1)
    await office.story.answer(2)

    scene("And one that no specialist hears")
    await sent(office, *CID)
    await office.story.question(3)

    scene("kill -9, while two tickets wait for a person")
    await office.daemon.kill()
    office.story.say("gatewayd", "is dead.")
    await office.daemon.start()
    office.story.say("gatewayd", "is there again.")

    scene("A person decides")
    await office.decide(1, "yes")
    await office.story.answer(1)
    await office.decide(3, "we sell none, but thank you for asking.")
    await office.story.answer(3)

    scene("The shop has lost our 202, and sends the first ticket again")
    await sent(office, *ANN)
    office.story.say("shop", "is told 202, and nothing happens: a ticket sent twice is one.", 1)

    scene("What was said in the chat `help-desk`")
    heard = await office.heard(3)
    for number, text in enumerate(heard, 1):
        print(f"  {number}. {text}")
    answers = {number: len(given) for number, given in office.story.answers.items()}
    expect(len(heard) == 3 and answers == {1: 1, 2: 1, 3: 1}, f"not every ticket was answered once: {answers}")
    expect(len(office.paid()) == 1, f"the books have {office.paid()}")
    print(f"\n3 tickets, 3 answers, 1 refund: {office.paid()[0]['amount']} for order {office.paid()[0]['order']}.")


async def sent(office: Office, *ticket: object) -> None:
    """The shop sends a ticket, which has to be taken."""
    status = await office.ticket(*ticket)  # type: ignore[arg-type]
    expect(status == 202, f"the webhook of ticket {ticket[0]} was answered with {status}")


def expect(holds: bool, otherwise: str) -> None:
    """`Failed` if it does not hold."""
    if not holds:
        raise Failed(otherwise)


def scene(title: str) -> None:
    """A headline."""
    print(f"\n— {title}", flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
