"""Audio files by their headers alone: how many bytes of sound they say they hold, and how many there are.

Recorders that stream cannot go back to write a length: they leave 0, or the largest number there is. libsndfile takes a
0 at its word; :func:`mended` gives it a header with the true length.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

UNKNOWN_FROM = 0x7F000000  # sizes from here on, of files that are smaller: what streaming recorders write
MOST_MENDED = 1 << 28  # bytes of sound that are given to libsndfile in memory: a minute of anything
MOST_STATED = 0xFFFFFFFE  # bytes that a size of 32 bits can state
MOST_CHUNKS = 10_000  # looked at: a file of zeros has no end of them
LARGEST_PAGE = 65307  # bytes of an Ogg page
ENDS_STREAM = 4  # flag of an Ogg page


@dataclass(frozen=True)
class SoundExtent:
    """The bytes of sound in a file.

    Attributes:
        begin: where they begin.
        claimed: how many there are by the header; None where it does not say.
        available: how many there are to the end of the file.
        frame: bytes of one frame, or of one block of a compressed sound.
        edits: what to write where, so that the header has the number of those that are available.
    """

    begin: int
    claimed: int | None
    available: int
    frame: int
    edits: tuple[tuple[int, bytes], ...]

    @property
    def is_cut(self) -> bool:
        """Whether frames that the header counts are missing."""
        return self.claimed is not None and self.available // self.frame < self.claimed // self.frame


def sound_extent(path: Path) -> SoundExtent | None:
    """Of WAV (RIFF, RF64, BW64, W64), AIFF, 8SVX, CAF and AU; None of other files, and where no sound is announced."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        magic = file.read(12)
        for begin, read in _READERS.items():
            if magic.startswith(begin):
                try:
                    return read(file, size)
                except struct.error:  # the header itself is cut
                    return None
    return None


def mended(path: Path, extent: SoundExtent) -> io.BytesIO:
    """The file with the true length in its header, in memory."""
    with open(path, "rb") as file:
        content = bytearray(file.read(extent.begin + min(extent.available, MOST_MENDED)))
    for place, value in extent.edits:
        content[place : place + len(value)] = value
    return io.BytesIO(bytes(content))


def ogg_is_cut(path: Path) -> bool:
    """Whether an Ogg file does not end with a whole page that says it is the last."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - 2 * LARGEST_PAGE))
        end = file.read()
    place = end.rfind(b"OggS")
    if place < 0 or len(end) < place + 27:
        return True
    lacing = end[place + 27 : place + 27 + end[place + 26]]
    whole = len(lacing) == end[place + 26] and len(end) >= place + 27 + len(lacing) + sum(lacing)
    return not (whole and end[place + 5] & ENDS_STREAM)


def mp3_is_cut(path: Path) -> bool:
    """Whether an MPEG file ends within a frame; False where its frames cannot be followed to the end."""
    content = path.read_bytes()
    end = len(content) - 128 if content[-128:-125] == b"TAG" else len(content)
    place = 0
    while content[place : place + 3] == b"ID3" and len(content) >= place + 10:
        a, b, c, d = content[place + 6 : place + 10]
        place += 10 + (a << 21 | b << 14 | c << 7 | d)
    while place + 4 <= end:
        length = _mpeg_frame_length(content[place : place + 4])
        if length is None:
            return False
        place += length
    return place > end


def _mpeg_frame_length(header: bytes) -> int | None:
    """Bytes of a frame of MPEG audio, layer II or III; None where that is no header of one."""
    if header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)  # version 3: MPEG 1; 2: MPEG 2; 0: MPEG 2.5
    rate, frequency = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer not in (2, 3) or rate in (0, 15) or frequency == 3:
        return None
    kilobits = _KILOBITS[(layer if version == 3 else 0)][rate - 1]
    hertz = (44100, 48000, 32000)[frequency] >> {3: 0, 2: 1, 0: 2}[version]
    return (72 if layer == 3 and version != 3 else 144) * kilobits * 1000 // hertz + (header[2] >> 1 & 1)


_KILOBITS = {
    2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    0: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # of MPEG 2 and 2.5
}


def _chunks(file: BinaryIO, place: int, end: int, form: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and size of the content of each chunk whose header is there; ``form`` is how a size is packed."""
    length = 4 + struct.calcsize(form)
    for _ in range(MOST_CHUNKS):
        if place + length > end:
            return
        file.seek(place)
        header = file.read(length)
        size = struct.unpack(form, header[4:])[0]
        yield header[:4], place + length, size
        place += length + max(0, size) + (size & 1 if form[1] == "I" else 0)


def _claimed(file: BinaryIO, size: int, begin: int, end: int, form: str) -> int | None:
    """A size that a header states; None where that is what those write who do not know it.

    A sound of no bytes is believed where nothing follows, or only other chunks up to the end.
    """
    available = end - begin
    if size < 0 or (size > available and size >= UNKNOWN_FROM):
        return None
    if size > 0 or available <= 0:
        return size
    place = begin
    for name, content, length in _chunks(file, begin, end, form):
        if not (name.isascii() and name.decode("ascii").isprintable() and 0 <= length <= end - content):
            return None
        place = content + length
    return 0 if end - place in (0, 1, -1) and place > begin else None


def _riff(file: BinaryIO, end: int) -> SoundExtent | None:
    order = ">" if _start(file, 4) == b"RIFX" else "<"
    frame, long_size, ds64 = 1, None, None
    for name, begin, size in _chunks(file, 12, end, order + "I"):
        if name == b"ds64":
            ds64, long_size = begin, struct.unpack(order + "Q", _read(file, begin + 8, 8))[0]
        elif name == b"fmt ":
            frame = struct.unpack(order + "H", _read(file, begin + 12, 2))[0] or 1
        elif name == b"data":
            if long_size is not None:
                size = long_size if long_size < 1 << 63 else -1
            claimed, available = _claimed(file, size, begin, end, order + "I"), end - begin
            sizes = (min(end - 8, MOST_STATED), min(available, MOST_STATED))
            edits = [(place, struct.pack(order + "I", size)) for place, size in zip((4, begin - 4), sizes, strict=True)]
            if ds64 is not None:  # the plain form will do
                edits += [(0, b"RIFF"), (ds64 - 8, b"JUNK")]
            return SoundExtent(begin, claimed, available, frame, tuple(edits))
    return None


def _w64(file: BinaryIO, end: int) -> SoundExtent | None:
    place, frame = 40, 1
    for _ in range(MOST_CHUNKS):
        if place + 24 > end:
            break
        header = _read(file, place, 24)
        name, size = header[:4], struct.unpack("<Q", header[16:])[0]
        if name == b"fmt ":
            frame = struct.unpack("<H", _read(file, place + 36, 2))[0] or 1
        elif name == b"data":
            begin = place + 24
            claimed = None if size <= 24 < end - place or size >= 1 << 62 else max(0, size - 24)
            return SoundExtent(begin, claimed, end - begin, frame, ((place + 16, struct.pack("<Q", end - place)),))
        place += max(24, size + 7 & ~7)
    return None


def _form(file: BinaryIO, end: int) -> SoundExtent | None:
    frame = 1
    for name, begin, size in _chunks(file, 12, end, ">I"):
        if name == b"COMM":
            channels, _, bits = struct.unpack(">HIH", _read(file, begin, 8))
            compressed = _start(file, 12)[8:] == b"AIFC" and size >= 22 and _read(file, begin + 18, 4) not in _PLAIN
            frame = 1 if compressed else max(1, channels * ((bits + 7) // 8))
        elif name in (b"SSND", b"BODY"):
            head = 8 if name == b"SSND" else 0  # offset and block size stand before the samples
            sound, known = begin + head, size - head if size >= head else 0
            claimed, available = _claimed(file, known, sound, end, ">I"), end - sound
            edits = (
                (4, struct.pack(">I", min(end - 8, MOST_STATED))),
                (begin - 4, struct.pack(">I", min(available + head, MOST_STATED))),
            )
            return SoundExtent(sound, claimed, available, frame, edits)
    return None


_PLAIN = (b"NONE", b"sowt", b"twos", b"fl32", b"fl64", b"FL32", b"FL64", b"in24", b"in32")


def _caf(file: BinaryIO, end: int) -> SoundExtent | None:
    frame = 1
    for name, begin, size in _chunks(file, 8, end, ">q"):
        if name == b"desc":
            frame = struct.unpack(">I", _read(file, begin + 16, 4))[0] or 1
        elif name == b"data":
            sound, available = begin + 4, end - begin - 4  # an edit count stands before the samples
            claimed = _claimed(file, size - 4 if size >= 4 else min(0, size), sound, end, ">q")
            edit = (begin - 8, struct.pack(">q", available + 4))
            return SoundExtent(sound, claimed, available, frame, (edit,))
    return None


def _au(file: BinaryIO, end: int) -> SoundExtent | None:
    order = "<" if _start(file, 4) == b"dns." else ">"
    begin, size, encoding, _, channels = struct.unpack(order + "5I", _read(file, 4, 20))
    frame = max(1, channels * {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}.get(encoding, 1))
    claimed = None if size in (0, 0xFFFFFFFF) and end > begin else size
    return SoundExtent(begin, claimed, end - begin, frame, ((8, b"\xff" * 4),))


def _start(file: BinaryIO, count: int) -> bytes:
    return _read(file, 0, count)


def _read(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)


_READERS: dict[bytes, Callable[[BinaryIO, int], SoundExtent | None]] = {
    b"RIFF": _riff,
    b"RIFX": _riff,
    b"RF64": _riff,
    b"BW64": _riff,
    b"riff": _w64,
    b"FORM": _form,
    b"caff": _caf,
    b".snd": _au,
    b"dns.": _au,
}
