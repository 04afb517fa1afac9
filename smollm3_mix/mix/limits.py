"""Where a lane ends."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Where a lane ends: after the record that reaches one of the numbers, which it may exceed. None: no limit.

    Attributes:
        samples: records given by the lane.
        tokens: tokens given by the lane.
        bytes: UTF-8 bytes of text given by the lane.
    """

    samples: int | None = None
    tokens: int | None = None
    bytes: int | None = None

    @property
    def none(self) -> bool:
        """Whether there is no limit at all."""
        return self.samples is None and self.tokens is None and self.bytes is None

    def reached(self, samples: int, tokens: int, size: int) -> bool:
        """Whether so much reaches one of the numbers."""
        pairs = zip((self.samples, self.tokens, self.bytes), (samples, tokens, size), strict=True)
        return any(limit is not None and given >= limit for limit, given in pairs)

    def after(self, samples: int, tokens: int, size: int) -> "Limits":
        """What is left of the limits once so much was given; below 1 where one was reached."""
        pairs = zip((self.samples, self.tokens, self.bytes), (samples, tokens, size), strict=True)
        return Limits(*(None if limit is None else limit - given for limit, given in pairs))


def lane_limit(limit: int | None, lane: int, lanes: int) -> int | None:
    """A lane's part of a limit of the whole mix: dealt evenly, the remainder to the first lanes."""
    return None if limit is None else limit // lanes + (lane < limit % lanes)
