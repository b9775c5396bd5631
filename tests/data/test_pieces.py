"""A header of our own and part of a file, as libsndfile reads them."""

import io

from asd_jax.data.pieces import Pieces, Sound, read_at


class File(io.BytesIO):
    """Bytes with all that a file has."""

    name = "a.bin"
    mode = "rb"


def test_the_pieces_read_as_one_file():
    pieces = Pieces(File(b"0123456789"), Sound(head=b"head", at=3, size=4))
    assert pieces.read() == b"head3456"
    for start in range(9):
        pieces.seek(start)
        assert pieces.read(3) == b"head3456"[start : start + 3] and pieces.tell() <= 8
    assert pieces.seek(-2, io.SEEK_END) == 6 and pieces.read() == b"56"


def test_what_is_claimed_beyond_the_part_is_zeros():
    pieces = Pieces(File(b"0123456789"), Sound(head=b"h", at=8, size=2, claimed=6))
    assert pieces.read() == b"h89" + bytes(3)
    assert pieces.seek(10**18) == 6 and pieces.read() == b""
    assert pieces.seek(-(10**18), io.SEEK_CUR) == 0


def test_a_failed_read_ends_the_file_and_is_kept():
    class Broken(File):
        def readinto(self, buffer):
            raise OSError("the card was taken out")

    pieces = Pieces(Broken(b"0123456789"), Sound(head=b"head", at=0, size=10))
    assert pieces.read() == b"head" and str(pieces.failed) == "the card was taken out"


def test_fewer_bytes_are_read_at_the_end():
    assert read_at(File(b"0123"), 1, 2) == b"12" and read_at(File(b"0123"), 3, 9) == b"3"
