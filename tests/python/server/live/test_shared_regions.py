import asyncio
import os
import uuid
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import pytest

from fastserve.config.options import Options
from fastserve.errors import Error
from fastserve.server.live.shared_regions import Client, SharedRegions

HERE = Client(may_share=True, peer="unix", uid=os.getuid())
ELSEWHERE = Client(may_share=False, peer="192.0.2.1:5")


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    made = SharedMemory(f"fastserve-regions-{uuid.uuid4().hex}", create=True, size=4096)
    yield made
    made.close()
    made.unlink()


@pytest.fixture
def regions() -> SharedRegions:
    made = SharedRegions.of(Options(shared_regions_max=2))
    assert made is not None
    return made


def register(regions: SharedRegions, *region: Any) -> None:
    asyncio.run(regions.register(*region))


def test_where_it_is_off_there_are_none():
    assert SharedRegions.of(Options(shared_memory="off")) is None


def test_what_is_registered_is_listed_by_name(regions, memory):
    register(regions, HERE, "b", memory.name, 0, 4096)
    register(regions, HERE, "a", memory.name, 100, 7)
    assert regions.regions() == [("a", memory.name, 100, 7), ("b", memory.name, 0, 4096)]
    regions.unregister(HERE, "b")
    assert [region[0] for region in regions.regions()] == ["a"]
    regions.unregister(HERE, "")
    assert regions.regions() == []


@pytest.mark.parametrize(
    ("region", "code"),
    [
        (("a", "/nobody", 0, 1), "NOT_FOUND"),
        (("a", "../a", 0, 1), "INVALID_ARGUMENT"),
        (("", "KEY", 0, 1), "INVALID_ARGUMENT"),
        (("a", "KEY", 0, 4097), "INVALID_ARGUMENT"),
        (("taken", "KEY", 0, 1), "ALREADY_EXISTS"),
    ],
)
def test_what_cannot_be_is_refused(regions, memory, region, code):
    register(regions, HERE, "taken", memory.name, 0, 1)
    name, key, offset, size = region
    with pytest.raises(Error) as refused:
        register(regions, HERE, name, memory.name if key == "KEY" else key, offset, size)
    assert refused.value.code == code


def test_there_are_as_many_as_the_options_say(regions, memory):
    for name in ("a", "b"):
        register(regions, HERE, name, memory.name, 0, 1)
    with pytest.raises(Error, match="2") as refused:
        register(regions, HERE, "c", memory.name, 0, 1)
    assert refused.value.code == "RESOURCE_EXHAUSTED"


def test_a_client_of_elsewhere_changes_nothing(regions, memory):
    register(regions, HERE, "a", memory.name, 0, 1)
    with pytest.raises(Error) as refused:
        register(regions, ELSEWHERE, "b", memory.name, 0, 1)
    assert refused.value.code == "PERMISSION_DENIED"
    with pytest.raises(Error):
        regions.unregister(ELSEWHERE, "a")
    assert [region[0] for region in regions.regions()] == ["a"]


def test_an_object_of_another_user_is_not_opened_for_a_client(regions, memory):
    stranger = Client(may_share=True, peer="unix", uid=os.getuid() + 1)
    with pytest.raises(Error, match=memory.name) as refused:
        register(regions, stranger, "a", memory.name, 0, 1)
    assert refused.value.code == "PERMISSION_DENIED"
    os.chmod(f"/dev/shm/{memory.name}", 0o666)
    register(regions, stranger, "a", memory.name, 0, 1)


def test_what_happened_in_another_process_is_counted(regions, memory):
    register(regions, HERE, "a", memory.name, 0, 10)
    own = regions.registry.stats()
    assert (own["regions"], own["bytes"]) == (1, 10)
    of_loop = {key: count + 3 for key, count in regions.used().items()}
    assert sorted(of_loop) == ["regions_poisoned", "regions_retired"]
    counted = regions.counted({**of_loop, "requests": 7})
    assert counted["regions"] == 1
    assert counted["poisoned"] == own["poisoned"] * 2 + 3
    assert counted["retired"] == own["retired"] * 2 + 3


@pytest.mark.parametrize("peer", ["", "unix", "127.0.0.1:1"])
def test_a_client_that_nobody_knows_registers_nothing(regions, memory, peer):
    """Who closes its connection at once must not be taken for this process's own user."""
    with pytest.raises(Error, match="user is not known") as refused:
        register(regions, Client(may_share=True, peer=peer), "a", memory.name, 0, 1)
    assert refused.value.code == "PERMISSION_DENIED"
    assert regions.regions() == []


def test_names_stay_on_one_line_of_the_log(regions, memory, caplog):
    caplog.set_level("INFO", "fastserve")
    register(regions, HERE, "a\nb", memory.name, 0, 1)
    regions.unregister(HERE, "a\nb")
    assert [record.getMessage().count("\\n") for record in caplog.records] == [1, 1]
    assert not any("\n" in record.getMessage() for record in caplog.records)


def test_another_process_follows(regions, memory, capsys):
    child = SharedRegions.of(Options())
    assert child is not None
    register(regions, HERE, "a", memory.name, 0, 10)
    register(regions, HERE, "b", memory.name, 0, 20)
    child.follow(regions.regions())
    assert child.regions() == regions.regions()
    regions.unregister(HERE, "a")
    regions.unregister(HERE, "b")
    register(regions, HERE, "b", memory.name, 5, 20)
    child.follow([*regions.regions(), ("gone", "/nobody", 0, 1)])
    assert child.regions() == [("b", memory.name, 5, 20)]
