"""fastserve doctor, asking servers that run."""

from __future__ import annotations

from tests.python.server.conftest import PAIR, Running, add_identity


def test_a_healthy_server_is_said_to_be_so(start, repository, fastserve):
    add_identity(repository, "plain")
    server: Running = start(repository).await_ready()
    assert server.infer("plain", PAIR).status == 200
    done = fastserve("doctor", f"http://127.0.0.1:{server.port}")
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["ok"] * 4, done.stdout
    assert "plain: version 1" in lines[2]
    assert "nothing in them points at trouble" in lines[3]


def test_a_model_that_is_not_served_fails_with_its_reason(start, repository, fastserve):
    add_identity(repository, "plain")
    (repository / "broken" / "1").mkdir(parents=True)
    (repository / "broken" / "1" / "model.onnx").write_bytes(b"this is no model")
    server: Running = start(repository, "--strict-readiness")
    server.await_log("is serving at")
    done = fastserve("doctor", f"http://127.0.0.1:{server.port}")
    assert done.returncode == 1
    assert "fail  readiness" in done.stdout
    assert "--strict-readiness asks for it" in done.stdout
    assert "fail  model              broken is not served: " in done.stdout
    assert "ok    model              plain: version 1" in done.stdout
