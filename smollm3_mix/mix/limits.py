"""Limits at which a mix or a lane ends."""

from dataclasses import asdict, dataclass

from smollm3_mix.sizes import ByteSize, Count, parse_bytes, parse_count


@dataclass(frozen=True)
class Limits:
    """Limits of a mix or a lane. It ends after the record that reaches one of them. None means no limit.

    Attributes:
        max_samples: Number of records.
        max_tokens: Number of tokens. The last record may exceed it.
        max_bytes: UTF-8 bytes of text. The last record may exceed it.
    """

    max_samples: int | None = None
    max_tokens: int | None = None
    max_bytes: int | None = None

    @classmethod
    def parse(cls, max_samples: Count | None, max_tokens: Count | None, max_bytes: ByteSize | None) -> "Limits":
        """Return the limits that a user typed, such as `"10M"` tokens or `"64MiB"`.

        Raises:
            TypeError: If a limit is neither an integer nor text.
            ValueError: If a limit is not a positive whole number.
        """
        return cls(
            None if max_samples is None else parse_count(max_samples, "max_samples"),
            None if max_tokens is None else parse_count(max_tokens, "max_tokens"),
            None if max_bytes is None else parse_bytes(max_bytes, "max_bytes"),
        )

    @property
    def unlimited(self) -> bool:
        """True if there is no limit."""
        return self.max_samples is None and self.max_tokens is None and self.max_bytes is None

    def reached(self, samples: int, tokens: int, size: int) -> bool:
        """Return True if these counts reach one of the limits."""
        pairs = zip((self.max_samples, self.max_tokens, self.max_bytes), (samples, tokens, size), strict=True)
        return any(limit is not None and emitted >= limit for limit, emitted in pairs)

    def remaining(self, samples: int, tokens: int, size: int) -> "Limits":
        """Return the limits minus these counts. A limit that was reached becomes 0 or negative."""
        pairs = zip((self.max_samples, self.max_tokens, self.max_bytes), (samples, tokens, size), strict=True)
        return Limits(*(None if limit is None else limit - emitted for limit, emitted in pairs))

    def for_lane(self, lane: int, lanes: int) -> "Limits":
        """Return one lane's part of these limits."""
        limits = (self.max_samples, self.max_tokens, self.max_bytes)
        return Limits(*(lane_limit(limit, lane, lanes) for limit in limits))

    def to_dict(self) -> dict[str, int | None]:
        """Return the limits by name."""
        return asdict(self)


def lane_limit(limit: int | None, lane: int, lanes: int) -> int | None:
    """Return a lane's part of a limit. Lanes have equal parts, and the first lanes take the remainder."""
    return None if limit is None else limit // lanes + (lane < limit % lanes)
