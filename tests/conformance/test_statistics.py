"""Statistics, through tritonclient over HTTP and gRPC."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from tests.conformance import made
from tests.served import Repository, Server

Clients = tuple[Any, Any]


def ask(client: Any, rows: int = 1) -> None:
    module = tritonclient.grpc if "grpc" in type(client).__module__ else tritonclient.http
    tensor = module.InferInput("x", [rows, 2], "FP32")
    tensor.set_data_from_numpy(np.ones((rows, 2), np.float32))
    client.infer("m", [tensor])


@pytest.mark.parametrize("loops", ["1", "2"])
def test_what_was_counted(tmp_path: Path, loops: str):
    models = Repository(tmp_path / "models")
    models.add_made("m", made.scaled(2))
    models.add("add_mul")
    with (
        Server(models.path, "--loops", loops) as server,
        tritonclient.http.InferenceServerClient(server.address) as http,
        tritonclient.grpc.InferenceServerClient(server.address) as grpc,
    ):
        assert "statistics" in http.get_server_metadata()["extensions"]
        for count in range(1, 6):
            ask(http, rows=3)
            ask(grpc, rows=2)
            # A request is counted before its answer is sent.
            (found,) = http.get_inference_statistics("m")["model_stats"]
            assert found["inference_stats"]["success"]["count"] == 2 * count
            assert found["inference_count"] == 5 * count
        with pytest.raises(InferenceServerException):
            http.infer("m", [])
        (found,) = http.get_inference_statistics("m", "1")["model_stats"]
        assert (found["name"], found["version"]) == ("m", "1")
        assert found["execution_count"] == 10
        assert found["inference_stats"]["fail"]["count"] == 1
        for part in ("queue", "compute_input", "compute_infer", "compute_output"):
            assert found["inference_stats"][part]["count"] == 10, part
        assert found["inference_stats"]["compute_infer"]["ns"] > 0
        (over_grpc,) = grpc.get_inference_statistics("m").model_stats
        assert over_grpc.inference_count == 25
        assert over_grpc.inference_stats.success.count == 10
        names = [one["name"] for one in http.get_inference_statistics()["model_stats"]]
        assert sorted(names) == ["add_mul", "m"]
        assert len(grpc.get_inference_statistics().model_stats) == 2
        for client in (http, grpc):
            with pytest.raises(InferenceServerException, match="there is no model 'nothing'"):
                client.get_inference_statistics("nothing")
            with pytest.raises(InferenceServerException, match="has no version 7"):
                client.get_inference_statistics("m", "7")
        wrong = server.request("POST", "/v2/models/m/stats")
        assert wrong.status == 405
