"""What fewer bytes per weight give a whole model that generates tokens: all of its products, its LM head too."""

from dataclasses import dataclass
from typing import Any

from bench.escape.layers.figures import hot_limit
from bench.escape.layers.limits import Limit, limited_by
from bench.escape.names import activations, claim
from bench.quantities import plural
from bench.record.intervals import Interval, median_interval
from bench.record.metrics import Metrics
from bench.record.runs.run import Run, RunFigures, good


@dataclass(frozen=True)
class Decoding:
    """A decoder with weights in a type that is only stored.

    layer       the model and how many tokens it generated, one by one
    tokens      a second; native: of the same backend with weights in f32
    error       RMS error of the logits over their RMS; same_top: share of tokens with the same likeliest next one; None
                where they weren't compared
    The others are as of bench.escape.layers.figures.Way, the bytes those of weights and KV cache.
    """

    type: str
    activations: str
    backend: str
    threads: int
    layer: str
    byte_ratio: float
    speedup: Interval
    tokens: float
    native: float
    percent_of_read_roof: Interval | None
    limited_by: Limit | None
    error: float | None
    same_top: float | None
    claim: str

    @property
    def achieved(self) -> float:
        """The share of the byte ratio that became speed."""
        return self.speedup.value / self.byte_ratio

    def as_dict(self) -> dict[str, Any]:
        roof = self.percent_of_read_roof
        return {
            **vars(self),
            "speedup": self.speedup.as_dict(),
            "percent_of_read_roof": roof and roof.as_dict(),
            "achieved": self.achieved,
        }


def entries(metrics: Metrics) -> list[Decoding]:
    """Those of a record that ran beside the native model."""
    return [
        _decoding(metrics, run, figures)
        for run, figures in metrics.run_pairs
        if run["phase"] == "decode" and "speedup" in figures and "linear" in run
    ]


def _decoding(metrics: Metrics, run: Run, figures: RunFigures) -> Decoding:
    element, speedup = run["types"]["weights"], Interval(**figures["speedup"])
    roofs, which = metrics.roofs.get(run["threads"]), good(run)
    read = roofs.read_series.get("DRAM") if roofs else None
    rate, size = figures["gbps"]["value"] * 1e9, figures["gbps"]["value"] * 1e9 * figures["seconds"]["value"]
    percent = limit = None
    if read:
        near = [(i, read.at(run["rounds"][i])) for i in which]
        shares = [(100 * size / run["seconds"][i] / roof, run["visits"][i]) for i, roof in near if roof]
        percent = median_interval(*zip(*shares, strict=True)) if shares else None
        hot, of_peak = hot_limit(metrics, run["linear"], element, run["backend"])
        if hot:
            limit = limited_by(rate, read.interval.value, hot * run["threads"], of_peak)
    tokens, accuracy = figures["tokens_per_second"]["value"], run.get("accuracy")
    return Decoding(
        element,
        activations(run["linear"]),
        run["backend"],
        run["threads"],
        f"{run['model']['name']} decode, {plural(run['length'], 'token')}",
        byte_ratio=figures["byte_ratio"],
        speedup=speedup,
        tokens=tokens,
        native=tokens / speedup.value,
        percent_of_read_roof=percent,
        limited_by=limit,
        error=accuracy["rms_error"] / accuracy["rms"] if accuracy and accuracy["rms"] else None,
        same_top=accuracy["same_top"] if accuracy else None,
        claim=claim(element),
    )
