"""The recorded conversation of docs/conversation.txt, had again in tmux."""

from conversation import TERMINALS, play


def test_a_server_two_clients_and_a_fifo_converse(tmp_path):
    screens = play(tmp_path)
    assert tuple(screens) == TERMINALS
    assert "\nFIFO: @2 Bob, this is for you alone.\n" in screens["server"]
    assert "this is for you alone" not in screens["Ann"]
