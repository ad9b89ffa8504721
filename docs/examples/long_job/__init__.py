"""A long job that outlives kill -9: it sends a letter to each customer, and each gets it once.

    > gatewayctl trigger letters --input '{"month": "May", "customers": ["Ann", "Ben", "Cid"]}'

Two things together make it so:

- After each letter the agent calls `ctx.checkpoint`. What is before a checkpoint is not done again.
- A letter that was under way when the daemon died may have been sent or not; nobody can know. So it is sent again under
  the same idempotency key, made of the execution and the letter, and the post office takes each key once.

See it run, without an account: `make demo-job`. What is where:

- gateway.yaml: the agent and its entry point.
- letters.py: the agent.
- post_office.py: what is outside. A program of its own, which counts what it was asked and what it has sent.
"""
