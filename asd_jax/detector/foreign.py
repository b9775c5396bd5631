"""Recognises, from its first bytes, a stream that is not samples without a header."""

import numpy as np

from asd_jax.data.packets import mpeg_frame

ENOUGH = 4096  # number of bytes that are examined
_TEXT = 16  # bytes of text needed; as samples they would be a large constant offset
# The first bytes of what people pipe by mistake. Played as samples it would be noise, and scored as
# such.
_BEGINNINGS = {
    b"fLaC": "flac",
    b"OggS": "ogg",
    b"ID3": "mp3",
    b"FORM": "aiff",
    b".snd": "au",
    b"dns.": "au",
    b"caff": "caf",
    b"riff\x2e\x91\xcf\x11": "w64",
    b"RF64": "rf64",
    b"BW64": "bw64",
    b"\x1aE\xdf\xa3": "webm or matroska",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "wma",
    b"#!AMR": "amr",
    b"wvpk": "wavpack",
    b"MAC \x96\x0f": "monkey's audio",
    b"TTA1": "true audio",
    b"MPCK": "musepack",
    b"ADIF": "aac",
    b"DSD \x1c": "dsd",
    b".RMF": "real audio",
    b".ra\xfd": "real audio",
    b"FLV\x01": "flv",
    b"NIST_1A": "nist sphere",
    b"Creative Voice File": "voc",
    b"2BIT": "avr",
    b"MThd": "midi",
    b"\x7f\xfe\x80\x01": "dts",
    b"\x00\x00\x01\xba": "mpeg program stream",
    b"\x00\x00\x01\xb3": "mpeg video",
    b"\x1f\x8b\x08": "gzip",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a": "rar",
    b"\x93NUMPY": "numpy",
    b"\x89HDF\r\n": "hdf5",
    b"MATLAB 5.0": "matlab",
    b"SQLite format 3": "sqlite",
    b"\x89PNG\r\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"GIF8": "gif",
    b"%PDF": "pdf",
    b"\x7fELF": "a program",
}


def foreign(head: bytes, encoding: str) -> str:
    """Returns the format of a stream's first bytes, or "" if they may be raw samples."""
    if name := next((name for magic, name in _BEGINNINGS.items() if head.startswith(magic)), ""):
        return name
    if head[4:8] == b"ftyp":
        return "mp4"
    if _frames(head, lambda at: getattr(mpeg_frame(head[at : at + 4]), "size", 0)):
        return "mp3"
    if _frames(head, lambda at: _aac_frame(head[at : at + 7])):
        return "aac"
    # A transport stream has a sync byte at the start of each packet of 188 bytes.
    if len(head) > 564 and {head[at] for at in (0, 188, 376, 564)} == {0x47}:
        return "mpeg transport stream"
    if len(head) >= _TEXT and _is_text(head):
        return "text"
    if len(head) >= ENOUGH and _is_random(head):
        return "compressed or encrypted (all byte values are equally frequent, as in no sound)"
    if encoding == "f32le" and len(head) >= 400 and _no_floats(head):
        return "not of 32-bit float samples"
    return ""


def _frames(head: bytes, size_at) -> bool:
    """Returns whether the bytes begin with a frame and another frame begins where it ends."""
    first = size_at(0)
    # One header occurs in sound by chance, but hardly a second one where the first frame ends.
    return bool(first and size_at(first))


def _aac_frame(head: bytes) -> int:
    """Returns the size in bytes of an ADTS frame (ISO 13818-7), 0 if it is none."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return 0
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    # A frame is larger than its header of 7 bytes.
    return size if size > 7 else 0


def _is_text(head: bytes) -> bool:
    """Returns whether the bytes are printable text in UTF-8 or UTF-16."""
    # UTF-16 is recognised by its byte-order mark; UTF-8 has one sometimes.
    coding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    for cut in range(4):  # the last character may be incomplete
        try:
            text = head[: len(head) - cut].decode(coding)
        except UnicodeDecodeError:
            continue
        return all(letter.isprintable() or letter in "\t\r\n\f" for letter in text)
    return False


def _is_random(head: bytes) -> bool:
    """Returns whether all 256 byte values are equally frequent.

    The chi-square statistic must be at most six standard deviations above chance. Loud white noise
    of 16 bits (-10 dB) is 28 above.
    """
    # Sound has many small values, so its bytes are never equally frequent.
    counts = np.bincount(np.frombuffer(head, np.uint8), minlength=256)
    expected = len(head) / 256
    return float(np.square(counts - expected).sum() / expected) < 255 + 6 * (2 * 255) ** 0.5


def _no_floats(head: bytes) -> bool:
    """Returns whether more than 1 % of the bytes' floats are larger than any sound."""
    values = np.frombuffer(head[: len(head) // 4 * 4], "<f4")
    with np.errstate(invalid="ignore"):
        return bool(np.mean(~(np.abs(values) < 1e10)) > 0.01)
