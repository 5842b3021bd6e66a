"""``fastsock-chat`` with a demonstration that runs each server once, however short it is."""

from fastsock import _scripts
from fastsock.chat import demo

demo.SHORT_RUNS = 1
_scripts.chat()
