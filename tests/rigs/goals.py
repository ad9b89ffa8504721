"""What the stories about goals share: a goal, executions that count for it, and how far it is."""

from gateway.v1 import goal_pb2

from gatewayctl.client import Client
from tests.rigs.house import eventually

GOALS = """
goals:
  helpful:
    description: People get an answer that helps them.
    criteria:
      - {id: answered, description: The question was one that we know, target: 80%, weight: 3}
      - {id: reliable, measure: executions, target: 95%}
    constraints:
      - {id: no-secrets, description: No answer holds a password, kind: hard}
    window: 8
"""


async def ask(client: Client, *questions: str, entry_point: str = "support") -> list[str]:
    return [(await client.trigger_and_wait(entry_point, question)).execution_id for question in questions]


async def goal_when(client: Client, executions: int, goal_id: str = "helpful") -> goal_pb2.GoalProgress:
    """How far the goal is, once so many executions were counted; their ends are read from the log."""

    async def counted() -> goal_pb2.GoalProgress | None:
        request = goal_pb2.GetGoalProgressRequest(goal_id=goal_id)
        answer = await client.call("RuntimeService/GetGoalProgress", request, goal_pb2.GetGoalProgressResponse)
        return answer.goal if answer.goal.metrics.executions >= executions else None

    return await eventually(counted)
