"""python -m bench.peers [RECORD]: the project's kernels beside the libraries that people would use instead.

Everything is measured in one run, sample by sample in turn, each library in a process of its own: plain
products against plain ones, weights packed ahead against weights packed ahead, attention's heads in one call. With
--types, weights that are only stored: everybody multiplies the same quantised numbers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.cli import Parser, run, shown
from bench.errors import BadInput
from bench.options import add_dtype, add_seconds, add_stored, add_threads
from bench.record.metrics import Metrics
from bench.record.store import derived_from, load
from bench.report import libraries as native
from bench.report import stored
from kernels.backends import libraries

MOST = 4096
"""Rows of activations: of the largest matrices they take as much memory as the cold weights."""


def _shown(options: Any, metrics: Metrics, saved: Path | None = None, failed: bool = False) -> int:
    complete, page = metrics.record["complete"], stored if stored.took_part(metrics) else native
    document = native.as_dict(metrics) | stored.as_dict(metrics)
    return shown(options, complete, document, lambda out: out.print(page.summary(metrics)), saved, failed=failed)


def _lengths(text: str) -> list[int]:
    """Ascending; raises BadInput for what is no list of sizes."""
    try:
        found = sorted({int(one) for one in text.split(",")})
    except ValueError:
        found = [0]
    if not 1 <= found[0] <= found[-1] <= MOST:
        raise BadInput(f"--lengths {text}: from 1 to {MOST}, as in 1,8,512")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("peers", "Measure the kernels beside PyTorch, ONNX Runtime, OpenVINO, BLIS, OpenBLAS and ggml.")
    parser.add_record()
    add_threads(parser)
    add_dtype(parser)
    add_stored(parser, "of weights that are only stored, in tables of their own")
    parser.add_argument("--full", action="store_true", help="every weight matrix of BERT and GPT-2, not just three")
    parser.add_argument("--lengths", type=_lengths, help="m of the weights' products, as in 1,8; by default a few")
    add_seconds(parser, 0.05, "measuring time per kernel and shape")
    parser.add_results("records")
    options = parser.parse_args(arguments)
    if options.types and options.dtype != "f32":
        raise BadInput(f"--dtype {options.dtype}: products of --types are summed in f32")
    if options.record:
        metrics = load(options.record)
        if not any(row["backend"] in libraries.BACKENDS for row in metrics.rows):
            raise BadInput(f"{options.record}: no other library took part in it")
        with derived_from(options.record):
            return _shown(options, metrics)
    from bench.peers.measuring import measured  # records are shown where nothing was compiled

    done, wrong = measured(options)
    return _shown(options, done.metrics, done.saved, done.failed or wrong)


if __name__ == "__main__":
    run(main)
