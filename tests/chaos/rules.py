"""The promises, as pure functions from evidence to sentences about what was broken. No sentence: all is well.

The evidence is values only, so that a test can make it by hand (`test_checker.py`).
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from record import content_of, plain

ANSWERED, SILENT, DEAD = "answered", "silent", "dead_lettered"
TERMINAL = (ANSWERED, SILENT, "failed_and_told", DEAD, "expired")


@dataclass(frozen=True)
class Logged:
    """One event as the log gives it back."""

    seq: int
    id: str
    stream: str
    type: str
    content: str = ""
    """Of a message event."""
    execution: str = ""
    epoch: str = "e"


@dataclass(frozen=True)
class Story:
    """One message of the ledger."""

    id: str
    state: str
    reason: str = ""
    platform_id: str = ""
    channel: str = ""
    execution: str = ""
    stages: tuple = ()
    """The names of its steps, if they were asked for."""


@dataclass(frozen=True)
class Heard:
    """One piece of text that the platform took."""

    number: int
    key: str
    chat: str
    text: str
    quote: str
    life: int
    """How many times the daemon had been killed before."""


@dataclass
class Evidence:
    """What is known. `intended` and `sends` are in order; ids of events are STREAM-NUMBER."""

    intended: list = field(default_factory=list)
    published: dict = field(default_factory=dict)
    """Acknowledged event id → the seq up to which everything is on disk, as its acknowledgement says."""
    log: list = field(default_factory=list)
    got: list = field(default_factory=list)
    """(seq, id, epoch) as the subscriber got them."""
    gaps: list = field(default_factory=list)
    sends: dict = field(default_factory=dict)
    """key → the entry of the record: `text`, `answer`; `message`, `execution` once accepted; `reply` once replied."""
    said: list = field(default_factory=list)
    """Entries of the record in order: `update`, `channel`, `chat`, `peer`, `answer`."""
    stories: dict = field(default_factory=dict)
    """message id → Story."""
    heard: list = field(default_factory=list)
    cuts: int = 0
    """Sends whose answer the platform was told to lose, in all."""
    failures: list = field(default_factory=list)
    """Errors that a client was given instead of an acknowledgement."""


def judge(evidence, required):
    """All rules. `required`: message ids and platform ids whose story must have ended by now."""
    return [
        *judge_failures(evidence),
        *judge_log(evidence.log),
        *judge_published(evidence),
        *judge_subscriber(evidence),
        *judge_sends(evidence, required),
        *judge_chats(evidence, required),
        *judge_heard(evidence),
    ]


def judge_failures(evidence):
    """No client was refused anything, and no gap was told: there was no reason for either."""
    yield from (f"a client was given an error: {each}" for each in evidence.failures)
    yield from (f"the subscriber was told of a gap: {each}" for each in evidence.gaps)


def judge_log(log):
    """One log, dense, increasing, every id once."""
    before = log[0].seq - 1 if log else 0
    for event in log:
        if event.seq != before + 1:
            yield f"the log goes from seq {before} to {event.seq}"
        before = event.seq
    if len({event.epoch for event in log}) > 1:
        yield "the log has more than one epoch"
    for event_id, times in Counter(event.id for event in log).items():
        if times > 1:
            yield f"event {event_id} is {times} times in the log"


def judge_published(evidence):
    """What was acknowledged is there as it was sent, before the cursor that it got; streams keep their order."""
    intended = set(evidence.intended)
    streams = {each.split("-")[0] for each in intended}
    ours = {event.id: event for event in evidence.log if event.stream in streams}
    for event_id, seq in evidence.published.items():
        event = ours.get(event_id)
        if event is None:
            yield f"event {event_id} was acknowledged and is not in the log"
        elif event.seq > seq:
            yield f"event {event_id} was acknowledged with seq {seq} and is at {event.seq}"
    last = defaultdict(lambda: -1)
    for event in ours.values():
        if event.id not in intended:
            yield f"event {event.id} is in the log and nobody published it"
            continue
        if event.content != content_of(event.id):
            yield f"event {event.id} has other content than was published"
        number = int(event.id.split("-")[1])
        if number < last[event.stream]:
            yield f"event {event.id} stands behind number {last[event.stream]} of its stream"
        last[event.stream] = max(number, last[event.stream])


def judge_subscriber(evidence):
    """What the subscriber got is the log, from where it began, without a gap or a repetition."""
    log = {event.seq: event for event in evidence.log}
    before = evidence.got[0][0] - 1 if evidence.got else 0
    for seq, event_id, epoch in evidence.got:
        if seq <= before:
            yield f"the subscriber got seq {seq} again"
        elif seq != before + 1:
            yield f"the subscriber got seq {seq} after {before}"
        before = max(before, seq)
        if seq in log and (log[seq].id, log[seq].epoch) != (event_id, epoch):
            yield f"the subscriber got {event_id} as seq {seq}, where the log has {log[seq].id}"
    if log and before > max(log):
        yield f"the subscriber got seq {before}, and the log ends at {max(log)}"


def judge_sends(evidence, required):
    """An accepted send is answered once, with its own answer, by the execution that was named."""
    taken = Counter(event.content for event in evidence.log if event.type == "message")
    completed = Counter(event.execution for event in evidence.log if event.type == "execution_completed")
    for key, send in evidence.sends.items():
        if taken[send["text"]] > 1:
            yield f"send {key} was taken in {taken[send['text']]} times"
        if "reply" in send:
            execution, content = send["reply"]
            if execution != send["execution"]:
                yield f"send {key} was accepted as execution {send['execution']} and answered by {execution}"
            if plain(content) != plain(send["answer"]):
                yield f"send {key} got the answer {content!r}"
        if send.get("message") not in required:
            continue
        story = evidence.stories.get(send["message"])
        if story is None:
            yield f"send {key} was accepted as message {send['message']}, which the ledger does not know"
            continue
        yield from _ended_once(f"send {key}", story, (ANSWERED,))
        if story.execution != send["execution"] or completed[story.execution] != 1:
            yield f"send {key}: execution {story.execution} was completed {completed[story.execution]} times"


def judge_chats(evidence, required):
    """A chat message is answered whole, silent by policy, or held as ambiguous where the channel holds; once."""
    stories = defaultdict(list)
    for story in evidence.stories.values():
        if story.platform_id:
            stories[story.channel, story.platform_id].append(story)
    pieces = _pieces(evidence.heard)
    for said in evidence.said:
        if said["update"] not in required:
            continue
        name = f"chat message {said['update']} on {said['channel']}"
        found = stories[said["channel"], said["update"]]
        if len(found) != 1:
            yield f"{name} is {len(found)} times in the ledger"
            continue
        story, texts = found[0], pieces[found[0].id]
        allowed = (SILENT,) if not said["answer"] else (ANSWERED, DEAD) if said["channel"] == "hold" else (ANSWERED,)
        yield from _ended_once(name, story, allowed)
        if story.state == DEAD and not story.reason.startswith("ambiguous"):
            yield f"{name} was given up: {story.reason}"
        text = plain(" ".join(texts.values()))
        if story.state == ANSWERED and text != plain(said["answer"]):
            yield f"{name} was answered {text!r} instead of {said['answer']!r}"
        if story.state == DEAD and not plain(said["answer"]).startswith(text):
            yield f"{name} was answered with {text!r} before it was given up"
        if story.state == SILENT and texts:
            yield f"{name} is silent, and {text!r} was heard"


def judge_heard(evidence):
    """Answers of one conversation in order; nothing said twice except as the channel's rule allows."""
    order = {said["update"]: place for place, said in enumerate(evidence.said)}
    peers = {said["update"]: (said["chat"], said["peer"]) for said in evidence.said}
    rules = {said["chat"]: said["channel"] for said in evidence.said}
    updates = {heard.key.rpartition("/")[0]: heard.quote for heard in evidence.heard if heard.quote}
    lives, last = defaultdict(list), {}
    cuts = evidence.cuts
    for heard in evidence.heard:
        message, _, number = heard.key.rpartition("/")
        before = lives[heard.key]
        rule = rules.get(heard.chat, "hold")
        if before and rule in ("hold", "keyed"):
            yield f"piece {heard.key} was sent twice on {rule} (lives {before[-1]} and {heard.life})"
        elif before and heard.life == before[-1]:
            # Within one life only a lost answer is a reason to send again.
            cuts -= 1
            if cuts < 0:
                yield f"piece {heard.key} was sent twice in life {heard.life}"
        before.append(heard.life)
        update = updates.get(message, "")
        if update not in order:
            yield f"piece {heard.key} answers nothing that was said"
            continue
        place = (order[update], int(number))
        if len(before) == 1 and place < last.get(peers[update], place):
            yield f"piece {heard.key} came behind {last[peers[update]]} in {heard.chat}"
        last[peers[update]] = max(place, last.get(peers[update], place))


def _ended_once(name, story, allowed):
    if story.state not in TERMINAL:
        yield f"{name} was not taken up again: message {story.id} is {story.state}"
    elif story.state not in allowed:
        yield f"{name} ended as {story.state} ({story.reason})"
    if story.stages and story.state in TERMINAL and (story.stages.count("ended") != 1 or story.stages[-1] != "ended"):
        yield f"{name} has not one end: {', '.join(story.stages)}"


def _pieces(heard):
    """message id → its pieces by number, in order."""
    pieces = defaultdict(dict)
    for each in heard:
        message, _, number = each.key.rpartition("/")
        pieces[message].setdefault(int(number), each.text)
    return defaultdict(dict, {message: dict(sorted(found.items())) for message, found in pieces.items()})
