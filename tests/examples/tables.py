"""Tables of the documents that are made from the program: `make draw` writes them.

The options are those of the command line, the fields of a config those that support.py judges, the
metrics those that a running server shows.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from fastserve.cli import run
from fastserve.config import support
from tests import drawn
from tests.served import Repository, Server


def options() -> str:
    """Every option of `fastserve run`, in the order of --help."""
    rows: list[tuple[str, ...]] = []
    for flag in run.all_flags():
        if flag.name != "help":
            shown = f"`--{flag.name} {flag.metavar}`".replace(" `", "`")
            default = f"`{flag.default}`" if flag.default and " " not in flag.default else ""
            rows.append((shown, default or flag.default, flag.help))
    return drawn.table(("option", "default", "what it is"), rows)


def honoured_fields() -> str:
    """The fields without those inside which they stand, for brevity."""
    names = support.HONOURED
    leaves = sorted(n for n in names if not any(other.startswith(f"{n}.") for other in names))
    return "".join(f"- `{name}`\n" for name in leaves)


def warned_fields() -> str:
    return _fields("what happens instead", support.WARNED)


def refused_fields() -> str:
    return _fields("why the model is not served", support.REFUSED)


def _fields(about: str, reasons: Mapping[str, str]) -> str:
    return drawn.table(("field", about), [(f"`{name}`", why) for name, why in reasons.items()])


@functools.cache
def scraped() -> tuple[Metric, ...]:
    """What /metrics of a server with one model says after one request that was refused."""
    with tempfile.TemporaryDirectory() as folder:
        repository = Repository(Path(folder) / "models")
        repository.add_identity("identity")
        with Server(repository.path) as server:
            server.post("identity", {"inputs": []})
            text = server.request("GET", "/metrics").body.decode()
    return tuple(text_string_to_metric_families(text))


def metrics() -> str:
    """Each family by the name under which it is queried. `process_*` is Prometheus' own."""

    def rows() -> Iterator[tuple[str, ...]]:
        for family in scraped():
            if family.name.startswith("process_"):
                continue
            name = family.name + ("_total" if family.type == "counter" else "")
            known = {label for sample in family.samples for label in sample.labels} - {"le"}
            first = known & {"model", "version"}
            labels = sorted(first) + sorted(known - first)
            yield f"`{name}`", family.type, ", ".join(labels), family.documentation

    return drawn.table(("name", "type", "labels", "what it counts"), list(rows()))


TABLES: dict[tuple[str, str], Callable[[], str]] = {
    ("docs/operate.md", "options"): options,
    ("docs/operate.md", "metrics"): metrics,
    ("docs/migrate.md", "honoured"): honoured_fields,
    ("docs/migrate.md", "warned"): warned_fields,
    ("docs/migrate.md", "refused"): refused_fields,
}


def main() -> None:
    for (document, name), make in TABLES.items():
        if drawn.write(document, name, make()):
            print(f"{document}: {name} drawn anew")


if __name__ == "__main__":
    main()
