"""One server with every model that the clients ask, and the stock clients."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import tritonclient.http

from tests.conformance import made
from tests.served import Repository, Server

ODD_NAME = "50% of ümlaut?#+&;=[] ok"


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = Repository(tmp_path_factory.mktemp("conformance") / "models")
    for name in made.COMMITTED:
        models.add(name)
    models.add("add_mul", ODD_NAME)
    models.add("add_mul", "small_batch", config="max_batch_size: 8 dynamic_batching { }")
    for version in (1, 3):
        config = "version_policy { all { } }"
        models.add_made("scaled", made.scaled(version), config=config, version=version)
        models.add_made("latest", made.scaled(version), version=version)
    models.add_identity("one_string", datatype="STRING", dims="1", more="max_batch_size: 8")
    models.add_identity("raw_row", dims="2, -1", more="max_batch_size: 8")
    models.add_identity("raw_open", dims="-1, -1")
    return models.path


@pytest.fixture(scope="session")
def server(repository: Path) -> Iterator[Server]:
    with Server(repository) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[tritonclient.http.InferenceServerClient]:
    with tritonclient.http.InferenceServerClient(server.address, connection_timeout=20) as made_one:
        yield made_one


@pytest.fixture(scope="module", autouse=True)
def healthy_afterwards() -> Iterator[None]:
    """Each module leaves its servers as it found them."""
    yield
    for running in Server.running:
        running.check_healthy()
