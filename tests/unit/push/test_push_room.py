"""What a client is given at once, where there is little room."""

from gatewayd.push.queue import Bounds, PushQueue


def test_a_message_without_room_beside_others_comes_alone_later() -> None:
    queue = PushQueue(lambda: Bounds(10, 1 << 20))
    large, small = b"x" * 100, b"y" * 10
    queue.put(large)
    queue.put(small)

    assert not queue.take(10, 50, alone=False)
    assert queue.take(10, 50).messages == (large,)
    assert queue.take(10, 50, alone=False).messages == (small,)
