"""Which of a call's output is kept: its first bytes and its last ones."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from greenroom_hub.store.keeping import PIECE, Changes, Kept, Piece


class Shelf:
    """What a store would hold after the changes."""

    def __init__(self, head: int = 100, tail: int = 50) -> None:
        self.limits = head, tail
        self.kept = Kept(head, tail)
        self.pieces: dict[int, tuple[Piece, bytes]] = {}
        self.next = 1

    def take(self, stream: int, start: int, data: bytes) -> None:
        """One piece, as it comes."""
        self.take_all((stream, start, data))

    def take_all(self, *outputs: tuple[int, int, bytes]) -> None:
        """Several pieces whose changes are applied together."""
        changes = Changes()
        for stream, start, data in outputs:
            self.next = self.kept.take(stream, start, data, self.next, changes)
        for id, (piece, data) in changes.added.items():
            assert id == piece.id and piece.size == len(data)
            self.pieces[id] = (piece, bytes(data))
        for piece in changes.gone:
            del self.pieces[piece.id]
        for id, missed in changes.missed.items():
            piece, data = self.pieces[id]
            self.pieces[id] = (piece._replace(missed=missed), data)

    def restart(self) -> None:
        """Go on from what is stored."""
        self.kept = Kept(*self.limits)
        self.kept.restore(piece for _, (piece, _) in sorted(self.pieces.items()))

    def text(self, stream: int = 1) -> bytes:
        """The stream's bytes, with `<n>` for n bytes that are missing."""
        parts = []
        for _, (piece, data) in sorted(self.pieces.items()):
            if piece.stream == stream:
                parts.append((b"<%d>" % piece.missed if piece.missed else b"") + data)
        return b"".join(parts)


def test_short_output_is_kept_whole():
    """
    What fits into the head is kept as it came.
    """
    shelf = Shelf()

    shelf.take(1, 0, b"hello ")
    shelf.take(2, 0, b"warning")
    shelf.take(1, 6, b"world")

    assert (shelf.text(1), shelf.text(2)) == (b"hello world", b"warning")


def test_the_middle_of_long_output_is_let_go():
    """
    Of long output the first bytes stay and the last ones, and what lies between is counted.
    """
    shelf = Shelf(head=10, tail=20)

    for number in range(100):
        shelf.take(1, 5 * number, b"%04d " % number)

    assert shelf.text() == b"0000 0001 <470>0096 0097 0098 0099 "


def test_one_huge_piece_is_cut_in_the_middle():
    """
    A single piece larger than all that is kept leaves its beginning and its end.
    """
    shelf = Shelf(head=10, tail=20)

    shelf.take(1, 0, b"a" * 10 + b"b" * 10_000 + b"c" * 20)

    assert shelf.text() == b"a" * 10 + b"<10000>" + b"c" * 20


def test_what_came_before_is_left_out():
    """
    A replica that says things twice after a cut does not double the output.
    """
    shelf = Shelf()
    shelf.take(1, 0, b"hello")

    shelf.take(1, 0, b"hello")
    shelf.take(1, 3, b"lo world")

    assert shelf.text() == b"hello world"


def test_what_never_came_is_counted():
    """
    A hole in what a replica sent shows as missing bytes.
    """
    shelf = Shelf()
    shelf.take(1, 0, b"one")

    shelf.take(1, 10, b"two")

    assert shelf.text() == b"one<7>two"


def test_streams_share_the_room_of_their_call():
    """
    The bounds are the call's; a stream that is pushed out of the end says so when it comes again.
    """
    shelf = Shelf(head=4, tail=10)
    shelf.take(1, 0, b"head")
    shelf.take(2, 0, b"err!")

    for number in range(10):
        shelf.take(1, 4 + 5 * number, b"%04d " % number)
    shelf.take(2, 4, b"end")

    assert shelf.text(2) == b"<4>end"
    assert shelf.text(1) == b"head<45>0009 " or shelf.text(1) == b"head<40>0008 0009 "


def test_the_moving_part_is_let_go_in_small_pieces():
    """
    A large piece in the moving part is cut, so that no more than a piece beyond the bound is kept.
    """
    shelf = Shelf(head=1, tail=3 * PIECE)

    for number in range(10):
        shelf.take(1, number * 2 * PIECE, b"x" * 2 * PIECE)

    kept = sum(piece.size for piece, _ in shelf.pieces.values())
    assert 3 * PIECE + 1 <= kept < 4 * PIECE + 1


OUTPUTS = st.lists(
    st.tuples(st.sampled_from([1, 2]), st.integers(0, 40), st.integers(-8, 8), st.booleans()), max_size=40
)


@given(history=OUTPUTS, head=st.integers(0, 60), tail=st.integers(1, 40))
def test_whatever_is_printed_every_byte_is_kept_or_counted(history, head, tail):
    """
    After any output, repeated or with holes, each stream's bytes are there or counted, its end always there.
    """
    shelf = Shelf(head, tail)
    printed = {1: bytearray(), 2: bytearray()}
    order: list[tuple[int, int]] = []
    restarted = False
    for stream, size, shift, restart in history:
        text = printed[stream]
        restarted |= restart  # From then on nothing is said twice: a stream that was let go whole is forgotten.
        start = max(0, len(text) + (max(shift, 0) if restarted else shift))
        data = bytes((start + k) % 251 for k in range(size))
        if restart:
            shelf.restart()
        shelf.take(stream, start, data)
        if start + size > len(text) and size:
            order += [(stream, at) for at in range(max(len(text), start), start + size)]
            text.extend(at % 251 for at in range(len(text), start + size))

    for stream, text in printed.items():
        at = 0
        for _, (piece, data) in sorted(shelf.pieces.items()):
            if piece.stream == stream:
                assert at + piece.missed == piece.start
                assert bytes(text[piece.start : piece.start + piece.size]) == data
                at = piece.start + piece.size
    held = {(p.stream, p.start + k) for p, _ in shelf.pieces.values() for k in range(p.size)}
    assert held >= set(order[-tail:])
    assert held >= set(order[:head]) or not head
    assert len(held) <= head + tail + PIECE
