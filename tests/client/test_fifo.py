"""fastsock.fifo: lines and records, through real FIFOs and real writers that come and go."""

import os
import select
import subprocess
import threading
from contextlib import ExitStack, contextmanager

import pytest
from conftest import WAIT, wait_until

from fastsock import MessageTooBig
from fastsock.fifo import RECORD_BYTES, FifoReader, FifoWriter, Splitter, record

STALE = b"what the buffer held before\n and more of it \0 and more".ljust(RECORD_BYTES, b"?")


def lecture_record(text):
    """As the lecture's program writes it: stale bytes behind the NUL."""
    return text + b"\0" + STALE[len(text) + 1 :]


# ---- Cutting bytes into texts ----

MIXED = [
    pytest.param([b"one\n", b"two\n"], [b"one", b"two"], id="lines"),
    pytest.param([b"\n", b"\r\n"], [b"", b"\r"], id="empty lines"),
    pytest.param([record(b"one"), record(b"")], [b"one", b""], id="zeroed records"),
    pytest.param([lecture_record(b"one\n"), lecture_record(b"2\n")], [b"one", b"2"], id="stale"),
    pytest.param([lecture_record(b"x" * 1023)], [b"x" * 1023], id="record without a newline"),
    pytest.param([record(b"x" * 1022)], [b"x" * 1022], id="full record"),
    pytest.param(
        [b"one\n", lecture_record(b"two\n"), b"three\n", record(b"four"), b"five\n"],
        [b"one", b"two", b"three", b"four", b"five"],
        id="mixed",
    ),
    pytest.param([b"x" * 2000 + b"\0tail\n"], [b"x" * 2000, b"tail"], id="NUL behind a record"),
]


@pytest.mark.parametrize(("pieces", "texts"), MIXED)
def test_lines_and_records_in_one_piece(pieces, texts):
    splitter = Splitter(records=True)
    assert splitter.feed(b"".join(pieces)) + splitter.settle() == texts
    assert splitter.finish() == []


@pytest.mark.parametrize(("pieces", "texts"), MIXED)
def test_lines_and_records_one_byte_at_a_time(pieces, texts):
    splitter = Splitter(records=True)
    found = []
    for byte in b"".join(pieces):
        found += splitter.feed(bytes([byte]))
    assert found + splitter.settle() == texts


@pytest.mark.parametrize(("pieces", "texts"), MIXED)
def test_lines_and_records_settled_after_each_write(pieces, texts):
    splitter = Splitter(records=True)
    found = []
    for piece in pieces:
        found += splitter.feed(piece) + splitter.settle()
    assert found == texts


NULS = [
    pytest.param([b"one\0two\nthree\nfour\n"], [b"one", b"two", b"three", b"four"], id="line"),
    pytest.param([b"a\0b\0c\0", b"later\n"], [b"a", b"b", b"c", b"later"], id="print0"),
    pytest.param([b"".join(b"./%d\0" % n for n in range(999))], [b"./%d" % n for n in range(999)],
                 id="much of print0"),
    pytest.param([b"h\0i\0\n\0", b"later\n"], [b"h", b"i", b"", b"later"], id="UTF-16"),
    pytest.param([b"one\n\0", b"two\n" * 999], [b"one", *[b"two"] * 999], id="behind a newline"),
    pytest.param([b"four".ljust(RECORD_BYTES, b"\0"), b"x\n"], [b"four", b"x"], id="zeroed record"),
]  # fmt: skip


@pytest.mark.parametrize(("pieces", "texts"), NULS)
def test_a_nul_that_begins_no_record_swallows_nothing(pieces, texts):
    splitter = Splitter(records=True)
    found = []
    for piece in pieces:
        found += splitter.feed(piece) + splitter.settle()
    assert found + splitter.finish() == texts


def test_a_nul_that_begins_no_record_swallows_nothing_of_other_writers(reading):
    texts = reading.texts
    with open(reading.path, "wb", buffering=0) as stays:
        stays.write(b"a\0b\0c\0")
        wait_until(lambda: texts == [b"a", b"b", b"c"], "all are read")
        for word in (b"one", b"two"):
            stays.write(word + b"\n")
            wait_until(lambda word=word: texts[-1] == word, "the line is read")
    assert texts == [b"a", b"b", b"c", b"one", b"two"]


def test_without_records_a_nul_is_text():
    splitter = Splitter()
    assert splitter.feed(b"a\0b\n\0c\nd") == [b"a\0b", b"\0c"]
    assert splitter.finish() == [b"d"]


def test_a_writer_that_leaves_ends_its_text_and_its_record():
    splitter = Splitter(records=True)
    assert splitter.feed(b"cut off") == []
    assert splitter.finish() == [b"cut off"]
    assert splitter.feed(b"half a record\0") == []
    assert splitter.finish() == [b"half a record"]
    assert splitter.feed(b"anew\n") + splitter.settle() == [b"anew"]


@pytest.mark.parametrize("records", [False, True])
@pytest.mark.parametrize("step", [1, 7, 100])
def test_a_text_that_is_too_long_is_cut_to_one_byte_more(records, step):
    splitter = Splitter(10, records=records)
    data = b"x" * 10 + b"\n" + b"y" * 11 + b"\n" + b"z" * 50 + b"\nshort\n"
    found = []
    for at in range(0, len(data), step):
        found += splitter.feed(data[at : at + step])
    assert found + splitter.settle() == [b"x" * 10, b"y" * 11, b"z" * 11, b"short"]


def test_a_record_is_zeroed_and_whole():
    assert record(b"hi") == b"hi\n" + bytes(1021)
    assert len(record(b"x" * 1022)) == RECORD_BYTES
    with pytest.raises(MessageTooBig, match="a text of 1023 bytes does not fit a record, which"):
        record(b"x" * 1023)
    for text in (b"a\nb", b"a\0b"):
        with pytest.raises(ValueError, match="has no newline and no NUL inside"):
            record(text)


# ---- Reading ----


@contextmanager
def collecting(path):
    """A reader whose texts a thread collects in `texts`."""
    with FifoReader(path) as reader:
        reader.texts = []

        def collect():
            for text in reader:
                reader.texts.append(text)

        thread = threading.Thread(target=collect)
        thread.start()
        try:
            yield reader
        finally:
            reader.stop()
            thread.join(WAIT)


@pytest.fixture
def reading(tmp_path):
    """A reader that has made its FIFO."""
    with collecting(tmp_path / "fifo") as reader:
        yield reader
    assert not reader.path.exists(), "what the reader made is removed"


def shell(script, path):
    subprocess.run(["sh", "-c", script, "sh", str(path)], check=True, timeout=WAIT)


def test_writers_come_and_go(reading):
    wanted = [b"%b %d" % (w, n) for n in range(20) for w in (b"line", b"unfinished")]
    for count, text in enumerate(wanted, 1):
        shell(f"printf '{text.decode()}{'' if b'un' in text else chr(92) + 'n'}' >$1", reading.path)
        # Else the next writer may come before the reader has seen that this one has left.
        wait_until(lambda count=count: len(reading.texts) == count, "the text comes")
    assert reading.texts == wanted


def test_a_line_comes_at_once_while_its_writer_stays(reading):
    with open(reading.path, "wb", buffering=0) as writer:
        pieces = b"first\n", lecture_record(b"second\n"), b"third\n"
        for count, piece in enumerate(pieces, 1):
            writer.write(piece)
            wait_until(lambda count=count: len(reading.texts) == count, "the text comes")
    assert reading.texts == [b"first", b"second", b"third"]


def test_more_than_a_pipe_holds(reading):
    shell("seq 1 50000 >$1", reading.path)
    wait_until(lambda: reading.texts[-1:] == [b"50000"], "the last line comes")
    assert reading.texts == [b"%d" % number for number in range(1, 50_001)]


def test_a_reader_uses_a_fifo_that_is_there_and_leaves_it(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with FifoReader(str(path)) as reader:
        assert not reader.created
    assert path.is_fifo()


def test_what_has_taken_its_place_is_not_removed(tmp_path):
    path = tmp_path / "fifo"
    with FifoReader(path) as reader:
        assert reader.created
        path.unlink()
        path.write_text("mine")
    assert path.read_text() == "mine"


def test_a_reader_is_idle_again_when_a_writer_has_left(reading):
    shell("echo hello >$1", reading.path)
    wait_until(lambda: reading.texts == [b"hello"], "the text comes")

    def idle():
        return select.select([reading._fd], [], [], 0)[0] == []

    wait_until(idle, "the end of the writer is not reported for ever")


@pytest.mark.parametrize(
    ("path", "error", "told"),
    [
        ("/dev/null", OSError, "/dev/null exists and is no FIFO"),
        ("/sys/fifo", PermissionError, "cannot make the FIFO /sys/fifo: "),
        ("/no/such/dir/fifo", FileNotFoundError, "cannot make the FIFO /no/such/dir/fifo: No such"),
    ],
)
@pytest.mark.parametrize("kind", [FifoReader, FifoWriter])
def test_a_path_that_cannot_be_a_fifo(kind, path, error, told):
    with pytest.raises(error, match=told):
        kind(path).write(b"text")


# ---- Writing ----


def test_records_reach_readers_that_come_and_go(tmp_path):
    path = tmp_path / "fifo"
    waits = []
    with FifoWriter(path, on_wait=lambda: waits.append("wait")) as writer:
        for number in range(3):
            thread = threading.Thread(target=writer.write, args=(b"text %d" % number,))
            thread.start()
            wait_until(lambda number=number: len(waits) == number + 1, "the writer waits")
            with open(path, "rb") as lecture_reader:
                assert lecture_reader.read(RECORD_BYTES) == record(b"text %d" % number)
            thread.join(WAIT)
    assert not path.exists(), "what the writer made is removed"


def test_a_reader_makes_the_fifo_anew_when_its_maker_leaves(tmp_path):
    path = tmp_path / "fifo"
    with ExitStack() as stack:
        with FifoWriter(path) as writer:
            first = threading.Thread(target=writer.write, args=(b"early",))
            first.start()
            reader = stack.enter_context(collecting(path))
            wait_until(lambda: reader.texts == [b"early"], "the text comes")
            first.join(WAIT)
            assert not reader.created
        wait_until(path.exists, "the FIFO is there again")
        with FifoWriter(path) as writer:
            writer.write(b"late")
        wait_until(lambda: reader.texts == [b"early", b"late"], "the text comes")
        assert reader.created
    assert not path.exists()


def test_a_loop_that_is_left_and_begun_again_loses_nothing(tmp_path):
    with FifoReader(tmp_path / "fifo") as reader:
        with open(reader.path, "wb") as writer:
            writer.write(b"one\ntwo\nthree\n")
        assert [next(iter(reader)) for _ in range(2)] == [b"one", b"two"]
        reader.stop()
        assert list(reader) == [b"three"]
