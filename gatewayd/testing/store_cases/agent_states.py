"""States of agents: kept, replaced and forgotten, over a restart."""

from gatewayd.testing.store_cases.samples import NOW, Harness


class AgentStateCases:
    async def test_states_of_agents_are_kept_replaced_and_forgotten(self, harness: Harness) -> None:
        store = harness.store
        assert not await store.agent_state("agent:clerk/a")
        await store.save_agent_state("agent:clerk/a", '{"n": 1}', NOW)
        await store.save_agent_state("agent:clerk/b", '{"n": 2, "word": "Grüße"}', NOW)
        await store.save_agent_state("agent:clerk/a", '{"n": 3}', NOW + 1)
        await harness.reopen()
        assert await harness.store.agent_state("agent:clerk/a") == '{"n": 3}'
        assert await harness.store.agent_state("agent:clerk/b") == '{"n": 2, "word": "Grüße"}'
        await harness.store.save_agent_state("agent:clerk/a", "", NOW + 2)
        await harness.store.save_agent_state("unknown", "", NOW + 2)
        assert not await harness.store.agent_state("agent:clerk/a")
