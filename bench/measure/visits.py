"""Probes without kernels, as bench.stream and bench.peak have them: they are measured in visits, as kernels are."""

import random
from collections.abc import Mapping, Sequence

from bench.host.placement import pinned
from bench.measure.groups import VISITS
from bench.measure.probes import Probe
from bench.measure.session import Session


def measure_probes(
    session: Session, groups: Mapping[int, Sequence[Probe]], seconds: float, what: str, least: int = 5
) -> None:
    """Passes over the probes of each thread count VISITS times, and adds the rows of those that were reached.

    In each visit thread counts and probes come in another order. seconds: per probe, of all visits together; least:
    samples of a probe in a visit; what: the word for them in the progress.
    """
    session.rows += [probe.row for probes in groups.values() for probe in probes]
    done, todo = 0, VISITS * sum(map(len, groups.values()))
    for session.visit in range(VISITS):
        order = random.Random(session.visit)
        for threads in order.sample(list(groups), len(groups)):
            probes = order.sample(groups[threads], len(groups[threads]))
            session.progress(f"{what}, {threads} thread{'s' * (threads > 1)}", done / todo)
            with pinned(threads), session.watched():
                session.sample(probes, seconds / VISITS, least)
            done += len(probes)
