"""Operating points, their strong ids, and the seeds of their batches.

Everything that affects the statistics of a point goes into its id: plug-ins with all their options, weights, pictures,
Es/N0, CBR, root seed, batch composition. Labels, metrics and how long it runs do not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

# to be raised whenever the meaning of a stored number changes
SCHEMA = 1
# the set of pictures of a study that has but one and gives it no name; also of blocks of bits, which have none
UNNAMED = ""


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, floats in their shortest exact form."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(*parts: Any) -> str:
    """SHA-256 of the canonical JSON of the parts, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(parts).encode()).hexdigest()


def seed_from(*parts: Any) -> int:
    """63 bits of the SHA-256 of the parts, for a `torch.Generator`."""
    return int(digest(*parts)[:16], 16) >> 1


def panel(channel: str, image_set: str) -> str:
    """Channel and set of pictures in one label: what a panel of a figure shows. Sets without a name are left out."""
    return f"{channel}, {image_set}" if image_set else channel


@dataclass(frozen=True)
class Plan:
    """How the items of a point fall into batches: draws of the channel outside, pictures of one shape inside.

    Attributes
    ----------
    chunks : tuple of tuple of int
        Indices of the pictures of each batch of a pass; a pass is one draw for every picture. Blocks of bits: empty.
    items : int
        Most items per batch; for blocks of bits, exactly as many.
    """

    chunks: tuple[tuple[int, ...], ...]
    items: int

    @classmethod
    def for_images(cls, shapes: Sequence[tuple[int, ...]], items: int) -> Plan:
        """Group pictures of equal shape, shapes in order of first appearance, at most `items` per batch."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, shape in enumerate(shapes):
            groups.setdefault(tuple(shape), []).append(index)
        cut = [tuple(group[i : i + items]) for group in groups.values() for i in range(0, len(group), items)]
        return cls(tuple(cut), items)

    @property
    def batches_per_pass(self) -> int:
        """Batches after which every picture has had the same number of draws; 1 for blocks of bits."""
        return len(self.chunks) or 1

    @cached_property
    def images(self) -> int:
        """Number of pictures; 0 for blocks of bits."""
        return sum(len(chunk) for chunk in self.chunks)

    def pictures(self, batch: int) -> tuple[int, ...]:
        """Indices of the pictures of a batch; empty for blocks of bits."""
        return self.chunks[batch % len(self.chunks)] if self.chunks else ()


@dataclass(frozen=True)
class Point:
    """One scheme on one channel and one set of pictures at one SNR and one CBR.

    Attributes
    ----------
    scheme_label, channel_label : str
        As the study names them.
    scheme, channel, side, feedback : mapping
        Plug-in with all its options, defaults included: `{"name": ..., "options": {...}}`; feedback may be None.
    fingerprint : str or None
        Of the scheme's weights, where it has any.
    esno_db : float
    ebno_db : float or None
        For schemes with a fixed number of information bits per use.
    cbr : float or None
        The budget; None for blocks of bits.
    seed : int
        Root seed of the study.
    images : str or None
        Digest of the pictures' hashes, in order; None for blocks of bits.
    items : int
        Most items per batch.
    image_set : str
        Name of the set of pictures, a label like the others; empty where it has none.
    """

    scheme_label: str
    channel_label: str
    scheme: Mapping[str, Any]
    channel: Mapping[str, Any]
    side: Mapping[str, Any]
    feedback: Mapping[str, Any] | None
    fingerprint: str | None
    esno_db: float
    ebno_db: float | None
    cbr: float | None
    seed: int
    images: str | None
    items: int
    image_set: str = ""

    @cached_property
    def id(self) -> str:
        """64 hexadecimal digits: SHA-256 of everything that affects the statistics."""
        return digest(
            {
                "schema": SCHEMA,
                "scheme": self.scheme,
                "fingerprint": self.fingerprint,
                **self._link,
            }
        )

    @property
    def _link(self) -> dict[str, Any]:
        """What decides the channel, without the scheme: all schemes meet the same realisations."""
        return {
            "channel": self.channel,
            "side": self.side,
            "feedback": self.feedback,
            "esno_db": self.esno_db,
            "cbr": self.cbr,
            "seed": self.seed,
            "images": self.images,
            "items": self.items,
        }

    @cached_property
    def link_id(self) -> str:
        """64 hexadecimal digits: points that share them met the same channel realisations, batch by batch."""
        return digest(self._link)

    def link_seed(self, batch: int) -> int:
        """Seed of all the link's randomness in a batch; the same for every scheme."""
        return seed_from("link", self._link, batch)

    def payload_seed(self, block_bits: int, batch: int) -> int:
        """Seed of the information bits of a batch; the same for every scheme of that block length, at every SNR."""
        return seed_from("payload", self.seed, block_bits, self.items, batch)

    def scheme_seed(self, batch: int) -> int:
        """Seed of whatever global random state a scheme might consult."""
        return seed_from("scheme", self.id, batch)

    @property
    def title(self) -> str:
        """For messages: scheme, channel, Es/N0 and CBR."""
        budget = "" if self.cbr is None else f", CBR {self.cbr:.4g}"
        return f"{self.scheme_label} on {panel(self.channel_label, self.image_set)} at {self.esno_db:g} dB{budget}"
