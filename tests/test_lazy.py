"""Attributes computed once, in whatever thread asks first, and never behind a lock."""

import threading

from fastloss.lazy import lazy


class Square:
    def __init__(self, side, ready=lambda: None):
        self.side, self.ready, self.times = side, ready, 0

    @lazy
    def area(self):
        """The side, squared."""
        self.times += 1
        self.ready()
        return [self.side**2]


def test_computed_once():
    square = Square(3)
    assert square.area is square.area == [9] and square.times == 1
    assert vars(square)["area"] == [9] and Square.area.__doc__ == "The side, squared."


def test_one_that_takes_long_does_not_hold_up_others():
    """`functools.cached_property` has one lock for all instances, before Python 3.12."""
    begun, go_on = threading.Event(), threading.Event()

    def wait():
        begun.set()
        assert go_on.wait(60)

    slow = Square(2, wait)
    first = threading.Thread(target=lambda: slow.area)
    first.start()
    assert begun.wait(60)
    other = threading.Thread(target=lambda: Square(5).area, daemon=True)
    other.start()
    other.join(30)
    held_up = other.is_alive()
    go_on.set()
    first.join()
    assert not held_up


def test_all_threads_get_the_same():
    meet = threading.Barrier(4)
    square, seen = Square(2, lambda: meet.wait(60)), []
    threads = [threading.Thread(target=lambda: seen.append(square.area)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert square.times == 4 and all(area is square.area for area in seen) and len(seen) == 4
