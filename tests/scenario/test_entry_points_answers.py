"""Entry points that answer in a chat: what they say is sent there, once, and what goes wrong is told there."""

from pathlib import Path

from tests.rigs.entry_points import execution_is
from tests.rigs.house import house, state_of

CONFIG = """
agents: {echo: {model: offline/echo}, broken: {model: offline/fail}}
provider: {retries: 0}
channels: {sim: {server: "unix:@net", routing: {dm: echo}}}
entry_points:
  report: {agent: echo, channel: sim, channel_id: "team"}
  alarm: {agent: broken, channel: sim, channel_id: "pager"}
  quiet: {agent: echo}
"""


async def test_the_answer_of_an_entry_point_is_sent_to_its_chat(tmp_path: Path) -> None:
    """`channel` and `channel_id`: through the outbox, with a story that ends like that of a message in a chat."""
    async with house(tmp_path, CONFIG) as rig:
        report = await rig.client.trigger("report", "all is well")
        quiet = await rig.client.trigger("quiet", "nobody hears this")
        alarm = await rig.client.trigger("alarm", "no answer comes")

        assert await rig.hear("team") == ["all is well"]
        (told,) = await rig.hear("pager")
        assert told.startswith("Sorry, this did not work")
        assert state_of(await rig.story(report.message_id)) == "answered"
        assert state_of(await rig.story(alarm.message_id)) == "failed_and_told"
        assert state_of(await rig.story(quiet.message_id)) == "answered"
        assert (await execution_is(rig, report.execution_id, "succeeded")).output == "all is well"
        assert len(rig.network.heard()) == 2
