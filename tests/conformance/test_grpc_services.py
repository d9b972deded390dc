"""Health and reflection, through the clients of grpcio."""

import re
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.served import Repository, Server


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as made:
        yield made


def test_health(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "inference.GRPCInferenceService", "add_mul"):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="nothing"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == "there is no service or model 'nothing'"


def test_health_is_watched(tmp_path):
    """What is said of a model and of the server, as they come and go."""
    status = health_pb2.HealthCheckResponse
    models = Repository(tmp_path / "models")
    for name in ("add_mul", "scalar"):
        models.add(name)
    flags = ("--model-control", "explicit", "--load-model", "scalar")
    with (
        Server(models.path, *flags, models=["scalar"]) as running,
        grpc.insecure_channel(running.address) as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="add_mul"), timeout=60)
        assert next(watch).status != status.SERVING
        for word, is_serving in (("load", True), ("unload", False)):
            answer = running.request("POST", f"/v2/repository/models/add_mul/{word}")
            assert answer.status == 200
            assert any((said.status == status.SERVING) == is_serving for said in watch)
        watch.cancel()
        unknown = stub.Watch(health_pb2.HealthCheckRequest(service="nothing"), timeout=60)
        assert next(unknown).status == status.SERVICE_UNKNOWN
        server = stub.Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(server).status == status.SERVING
        running.end()
        assert next(server).status == status.NOT_SERVING
        with pytest.raises(grpc.RpcError) as caught:
            next(server)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_reflection_lists_the_services(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    assert sorted(database.get_services()) == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
    ]


def test_reflection_describes_what_tritons_clients_know(channel):
    """Each message that Triton's own client has, field by field; what is newer there may lack."""
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    service = pool.FindServiceByName("inference.GRPCInferenceService")
    theirs = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert {method.name for method in service.methods} == {m.name for m in theirs.methods}
    for method in theirs.methods:
        ours = service.methods_by_name[method.name]
        for mine, other in (
            (ours.input_type, method.input_type),
            (ours.output_type, method.output_type),
        ):
            assert mine.full_name == other.full_name
            compare(mine, other, set())


def compare(ours, theirs, seen: set[str]) -> None:
    if theirs.full_name in seen:
        return
    seen.add(theirs.full_name)
    fields = {field.name: field for field in theirs.fields}
    for field in ours.fields:
        other = fields[field.name]
        where = f"{ours.full_name}.{field.name}"
        assert (field.number, field.type) == (other.number, other.type), where
        assert field.label == other.label, where
        if field.message_type is not None and ours.full_name != "inference.ModelConfigResponse":
            compare(field.message_type, other.message_type, seen)


def test_what_does_not_exist_is_unimplemented(channel):
    for path in ("/nobody.Service/Method", "/inference.GRPCInferenceService/ModelInferr"):
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(path)(b"", timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert "there is no such RPC" in caught.value.details()


def test_a_message_that_is_none_is_refused(channel):
    for rpc in ("ServerMetadata", "ModelMetadata", "ModelInfer"):
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(f"/inference.GRPCInferenceService/{rpc}")(b"\x0a\xff", timeout=5)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "the message is no protobuf of " in caught.value.details()


def test_every_rpc_is_in_the_access_log(tmp_path):
    models = Repository(tmp_path / "models")
    models.add_identity("id", dims="2")
    with (
        Server(models.path, "--access-log") as running,
        grpc.insecure_channel(running.address) as channel,
    ):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert stub.ServerLive(service_pb2.ServerLiveRequest()).live
        with pytest.raises(grpc.RpcError):
            stub.ModelMetadata(service_pb2.ModelMetadataRequest(name="nope"))
        request = service_pb2.ModelInferRequest(model_name="id", raw_input_contents=[bytes(8)])
        request.inputs.add(name="x", datatype="FP32", shape=[2])
        stub.ModelInfer(request)
        with pytest.raises(grpc.RpcError):
            stub.ModelInfer(service_pb2.ModelInferRequest(model_name="nope"))
        list(stub.ModelStreamInfer(iter([request])))

        def logged() -> list[tuple[str, str]]:
            return re.findall(
                r"POST /inference\.GRPCInferenceService/(\w+) 200 (\w+) ", running.log_text()
            )

        running.wait_for(lambda: len(logged()) == 5, lambda: str(logged()), 10)
        assert logged() == [
            ("ServerLive", "OK"),
            ("ModelMetadata", "NOT_FOUND"),
            ("ModelInfer", "OK"),
            ("ModelInfer", "NOT_FOUND"),
            ("ModelStreamInfer", "OK"),
        ]
