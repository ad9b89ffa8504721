"""Retention of the ids that were seen: the oldest batches go, and of the last one as many of its ids as must."""

from gatewayd.core.errors import StoreCorrupt
from gatewayd.storage.retention import Limits
from gatewayd.storage.sqlite.seen import Batch
from gatewayd.storage.sqlite.tx import ROW_BYTES, Tx


def forget_seen(tx: Tx, limits: Limits, now: float, most: int) -> int:
    """Forget what the limits ask for, up to about so many ids; how many went."""
    tx.flush()
    rows, size = tx.totals("seen")
    gone = content = 0
    doomed: list[tuple[Batch, int]] = []
    for row in tx.execute("SELECT * FROM seen_batches ORDER BY number"):
        try:
            batch = Batch.read(row)
        except StoreCorrupt:  # told whoever asks for one of its ids; it must not keep all others
            continue
        old = limits.max_age and batch.time < now - limits.max_age
        count = 0
        for id_, ref in zip(batch.ids, batch.refs, strict=True):
            many = limits.max_count and rows - gone > limits.max_count
            large = limits.max_bytes and size - content - gone * ROW_BYTES > limits.max_bytes
            if not (old or many or large):
                break
            count, gone, content = count + 1, gone + 1, content + len(id_) + len(ref)
        if count:
            doomed.append((batch, count))
        if count < len(batch.ids) or gone >= most:
            break
    if not doomed:
        return 0
    keys = [(batch.scope, id_) for batch, count in doomed for id_ in batch.ids[:count]]
    tx.executemany("DELETE FROM seen WHERE scope = ? AND id = ?", keys)
    tx.executemany("DELETE FROM seen_batches WHERE number = ?", [(batch.number,) for batch, _ in doomed])
    batch, count = doomed[-1]
    if count < len(batch.ids):
        tx.execute("INSERT INTO seen_batches VALUES (?, ?, ?, ?, ?, ?, ?)", batch.without(count).row())
    tx.forget()
    tx.count("seen", -gone, -content)
    return gone
