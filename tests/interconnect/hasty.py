"""bench.interconnect without roofs, and with small buffers: what is tested is how it ends."""

from unittest.mock import patch

from bench.cli import run
from bench.interconnect import measuring
from bench.interconnect.__main__ import main
from bench.measure.session import Session

if __name__ == "__main__":
    roofless = patch.multiple(Session, start=Session._place, probe_round=lambda session: None)
    with roofless, patch.object(measuring, "dram_bytes", lambda arrays: (1 << 24, True)):
        run(main)
