"""LoopSettings: what an event loop is told of the settings that change while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fastserve.server.logs import LogSettings


@dataclass(frozen=True)
class TraceRates:
    """One of so many inferences is traced; 0: none. See _core.Gateway.trace()."""

    of_all: int = 0
    of_models: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LoopSettings:
    log: LogSettings
    trace: TraceRates
    # Of shared memory: name, key, offset and size in bytes.
    regions: Sequence[tuple[str, str, int, int]] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "log": asdict(self.log),
            "trace": asdict(self.trace),
            "regions": [list(region) for region in self.regions],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LoopSettings:
        return cls(
            LogSettings(**value["log"]),
            TraceRates(**value["trace"]),
            [(name, key, offset, size) for name, key, offset, size in value["regions"]],
        )
