"""A support desk: tickets come in by webhook, agents find the answer together, people decide what only people can.

    the shop ──webhook──► entry point `tickets` ──► graph `desk`

      triage ──► board ──tickets.billing───► billing  ──┐
                   ▲   ──tickets.shipping──► shipping ──┤
                   └──────────── findings ──────────────┘
        │
        ├─ money is to be paid back ──► approve (a person) ──► refund ──► refunded ─┐
        ├─ the answer is known ───────────────────────────────────────► answer ─────┼─► chat `help-desk`
        └─ nobody knows, or it failed ► ask (a person) ───────────────► relay ──────┘

See it run, without an account: `make demo-desk`. What is where:

- gateway.yaml: who there is, who hears which topic, and the steps of the desk.
- tickets.py: what the agents say to each other.
- triage.py: reads a ticket, and puts it before those who know.
- specialists.py: billing and shipping, who hear topics and publish what they find.
- refunds.py: the step that moves money, once for each ticket.
- shop.py: the other side, which signs and sends webhooks.
- story.py: the events of it all, as sentences.

To make it yours: let your shop send to /hooks/shop, give `team` a platform and a room, and `writer` a real model.
"""
