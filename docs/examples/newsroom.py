"""Two agents that work together over topics: one finds facts, the other makes an article of them.

    agents:
      researcher:
        class: newsroom:Researcher
        options: {facts: {bees: [They dance., They sleep.]}}
      writer: {class: "newsroom:Writer"}

    > What about bees?      (to the researcher)
    The writer is at it. Ask me again.
    > What about bees?
    About bees: They dance. They sleep.

Neither knows who hears it: the researcher publishes on `findings`, the writer on `articles`. The source of a topic is
the key of the instance, here one for each conversation, so that no article gets into somebody else's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gatewayd.engine import HandlerAgent, MessageContext, TopicId, message_handler


@dataclass
class Findings:
    """What the researcher publishes."""

    subject: str
    facts: list[str]


@dataclass
class Article:
    """What the writer publishes."""

    subject: str
    text: str


class Researcher(HandlerAgent):
    """A turn of a chat is a message of text; what the handler returns is the answer."""

    topics = ("articles",)

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.facts: Mapping[str, list[str]] = options["facts"]
        self.articles: dict[str, str] = {}

    @message_handler
    async def on_question(self, question: str, ctx: MessageContext) -> str:
        subject = next((word for word in question.lower().strip("?!. ").split() if word in self.facts), "")
        if not subject:
            return "I know nothing of that."
        if subject in self.articles:
            return self.articles[subject]
        await ctx.publish(Findings(subject, self.facts[subject]), TopicId("findings", self.id.key))
        return "The writer is at it. Ask me again."

    @message_handler
    async def on_article(self, article: Article, _ctx: MessageContext) -> None:
        self.articles[article.subject] = article.text

    async def save_state(self) -> Mapping[str, Any]:
        return {"articles": self.articles}

    async def load_state(self, state: Mapping[str, Any], /) -> None:
        self.articles = dict(state["articles"])


class Writer(HandlerAgent):
    """Has nothing to remember."""

    topics = ("findings",)

    @message_handler
    async def on_findings(self, findings: Findings, ctx: MessageContext) -> None:
        text = f"About {findings.subject}: {' '.join(findings.facts)}"
        await ctx.publish(Article(findings.subject, text), TopicId("articles", self.id.key))
