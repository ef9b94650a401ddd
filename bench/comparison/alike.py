"""Which roof the sessions of a page have in common, row by row: shares of unlike roofs are never compared."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bench.comparison.families import Key
from bench.comparison.session import Roof, Session, Value
from bench.quantities import plural

Held = Sequence[tuple[str, Sequence[Roof]]]
"""Of each session its side's letter, and the roofs that a row can be held against there."""


class Unlike(NamedTuple):
    """What one side lacks of the roofs of some rows, in words, and how many rows these are."""

    text: str
    rows: int


@dataclass(frozen=True)
class Agreed:
    """What rows are held against on every side, where that isn't each session's own choice; None: nothing in common."""

    one_machine: bool
    roofs: Mapping[Key, Any] = field(default_factory=dict)
    unlike: Sequence[Unlike] = ()

    def value(self, session: Session, key: Key) -> Value:
        """What the session found of a row, as a share of the roof agreed upon; nan where it doesn't know that."""
        value, roofs = session.values[key], session.held.get(key, ())
        seen = [_seen(roof, self.one_machine) for roof in roofs]
        place = seen.index(self.roofs[key]) if self.roofs.get(key) in seen else None
        if key not in self.roofs or place == 0:
            return value
        share, error = session.under(key, roofs[place]) if place and session.under else (math.nan, math.nan)
        return value._replace(share=share, share_error=error)


def _seen(roof: Roof, one_machine: bool) -> Any:
    """What has to be equal. On one machine peak, level and threads, for its state alone is divided out; between
    machines these are what they differ in, and the type has to be one.
    """
    return roof._replace(own=True) if one_machine else (roof.type, roof.own)


def agreed(keys: Sequence[Key], sides: Mapping[str, Sequence[Session]], one_machine: bool) -> Agreed:
    """Of each row the best roof that all sessions know which have the row; sides: by letter."""
    chosen, said = dict[Key, Any](), Counter[str]()
    for key in keys:
        held = [(letter, one.held[key]) for letter, of in sides.items() for one in of if key in one.held]
        seen = [[_seen(roof, one_machine) for roof in roofs] for _, roofs in held]
        if len({tuple(one[:1]) for one in seen}) < 2:
            continue
        places = (i for i, roof in enumerate(seen[0]) if all(roof in one for one in seen))
        place = next(places, None)
        chosen[key] = None if place is None else seen[0][place]
        said[_reason(held, None if place is None else held[0][1][place])] += 1
    return Agreed(one_machine, chosen, [Unlike(*item) for item in said.items()])


def _reason(held: Held, common: Roof | None) -> str:
    """ "peak of i8 (avx2) not measured in B: both sides are held against f32's (avx2)"."""
    firsts = {letter: roofs[0] for letter, roofs in held if roofs}
    instead = f"both sides are held against {common.type}'s ({common.isa})" if common else "times are compared"
    if empty := dict.fromkeys(letter for letter, roofs in held if not roofs):
        return f"roof not measured in {', '.join(empty)}: {instead}"
    for best in firsts.values():
        if lacking := dict.fromkeys(x for x, roofs in held if best[:2] not in [roof[:2] for roof in roofs]):
            return f"peak of {best.type} ({best.isa}) not measured in {', '.join(lacking)}: {instead}"
    places = (f"{roof.level} on {plural(roof.threads, 'thread')} in {x}" for x, roof in firsts.items())
    return f"data in {', '.join(places)}: {instead}"
