"""A server's models come and go; afterwards every call says why there is nobody to call."""

import copy
import os
import pickle
import threading

import pytest

import fastserve
from fastserve.errors import Error


def raises(code, says):
    """An Error of this code whose message matches."""
    return pytest.raises(Error, match=says, check=lambda error: error.code == code)


# -- Loading -----------------------------------------------------------------------------------


def test_a_file_becomes_a_model_of_its_name(server, digits):
    model = server.load(digits)
    assert (model.name, model.version, model.platform) == ("digits", 1, "onnxruntime_onnx")
    assert [(t.name, t.datatype, t.shape) for t in model.inputs] == [("image", "FP32", (-1, 8, 8))]
    assert [t.name for t in model.outputs] == ["probabilities", "label"]
    assert model.max_batch == 32
    assert model.batching == "up to 32 rows, its rows are independent"
    assert model.is_loaded
    assert server.models == {"digits": model}


def test_a_file_may_have_another_name_and_version(server, digits):
    model = server.load(str(digits), name="seven", version=7, max_batch=4)
    assert (model.name, model.version, model.max_batch) == ("seven", 7, 4)


def test_a_directory_serves_the_version_that_its_policy_chooses(server, repository):
    assert server.load(repository(versions=(1, 2, 10))).version == 10


# The policy is for those who do not say which they want.
def test_a_version_that_is_asked_for_is_loaded_whatever_the_policy(server, repository):
    folder = repository(versions=(1, 2), more="version_policy { specific { versions: [ 2 ] } }")
    assert server.load(folder, version=1).version == 1


def test_a_version_that_is_not_there_is_named_with_those_that_are(server, repository):
    with raises("NOT_FOUND", "model 'echo' has no version 3; it has 1, 2"):
        server.load(repository(versions=(1, 2)), version=3)


@pytest.mark.parametrize("version", [0, -1, True])
def test_a_version_is_a_positive_integer(server, digits, version):
    with raises("INVALID_ARGUMENT", "version: expected an integer of at least 1"):
        server.load(digits, version=version)


def test_a_path_with_several_models_says_what_to_do(server, repository):
    folder = repository("a").parent
    repository("b")
    with raises("INVALID_ARGUMENT", r"2 models in it: a, b; load_all\(\) loads all of them"):
        server.load(folder)
    assert server.models == {}


def test_load_all_loads_every_model_of_a_repository(server, repository):
    folder = repository("a").parent
    repository("b")
    models = server.load_all(folder)
    assert list(models) == ["a", "b"]
    assert server.models == models


def test_load_all_loads_all_or_nothing(server, repository):
    folder = repository("a").parent
    repository("b", more="nonsense: 1")
    with raises("INVALID_ARGUMENT", "unknown field 'nonsense'"):
        server.load_all(folder)
    assert server.models == {}


@pytest.mark.parametrize(
    ("path", "code", "says"),
    [
        ("nowhere.onnx", "NOT_FOUND", "no such file or directory"),
        ("float8_output.onnx", "INVALID_ARGUMENT", "the protocol cannot carry"),
        ("make_models.py", "INVALID_ARGUMENT", "not an .onnx file"),
    ],
)
def test_what_cannot_be_served_says_why_and_leaves_nothing(server, add_mul, path, code, says):
    with raises(code, says):
        server.load(add_mul.with_name(path))
    assert server.models == {}
    server.load(add_mul)


def test_an_empty_name_is_refused(server, digits):
    with raises("INVALID_ARGUMENT", "^name: expected printable characters"):
        server.load(digits, name="")


def test_a_directory_keeps_its_name(server, repository):
    with raises("INVALID_ARGUMENT", "^name other: works with one .onnx file"):
        server.load(repository(), name="other")


def test_a_name_is_taken_until_it_is_unloaded(server, digits, add_mul):
    server.load(digits)
    with raises("ALREADY_EXISTS", "there is a model 'digits' already"):
        server.load(add_mul, name="digits")
    server.unload("digits")
    assert server.load(add_mul, name="digits").inputs[0].name != "image"


def test_what_a_config_asks_for_in_vain_is_told(server, repository, caplog):
    model = server.load(repository(more="metric_tags { key: 'a' value: 'b' }"))
    assert len(model.warnings) == 1
    assert "metric_tags" in model.warnings[0]
    assert [record.getMessage() for record in caplog.records] == list(model.warnings)


def test_a_model_is_loaded_from_a_coroutine(digits, run_async):
    async def main():
        async with fastserve.Server() as server:
            return (await server.aload(digits, max_batch=2)).max_batch

    assert run_async(main()) == 2


def test_models_are_loaded_by_many_threads_at_once(server, add_mul):
    threads = [
        threading.Thread(target=server.load, args=(add_mul,), kwargs={"name": f"m{i}"})
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(server.models) == [f"m{i}" for i in range(8)]


def test_of_threads_that_load_one_name_one_succeeds(server, add_mul):
    codes: list[str] = []

    def load():
        try:
            server.load(add_mul)
            codes.append("OK")
        except Error as error:
            codes.append(error.code)

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == ["ALREADY_EXISTS"] * 7 + ["OK"]


# -- Unloading -----------------------------------------------------------------------------------


def test_an_unloaded_model_says_so(server, digits):
    model = server.load(digits)
    model.unload()
    assert not model.is_loaded
    assert server.models == {}
    assert model.inputs[0].name == "image"
    with raises("NOT_FOUND", "model 'digits' was unloaded"):
        model.infer({})
    with raises("NOT_FOUND", "model 'digits' was unloaded"):
        model.submit({})
    with raises("NOT_FOUND", "model 'digits' was unloaded"):
        model.stats()
    with raises("NOT_FOUND", "model 'digits' was unloaded"):
        model.unload()


# A handle is to what was loaded, never to what later has its name.
def test_an_unloaded_model_does_not_come_back_under_its_name(server, digits, add_mul):
    old = server.load(digits)
    server.unload("digits")
    new = server.load(add_mul, name="digits")
    assert old != new
    assert not old.is_loaded
    with raises("NOT_FOUND", "was unloaded"):
        old.unload()
    assert server.models == {"digits": new}


def test_unloading_what_is_not_there_guesses(server, digits):
    server.load(digits)
    with raises("NOT_FOUND", "there is no model 'digit'; did you mean 'digits'"):
        server.unload("digit")


# -- The end -------------------------------------------------------------------------------------


def test_a_closed_server_says_so(digits):
    server = fastserve.Server()
    model = server.load(digits)
    server.close()
    server.close()
    assert server.is_closed
    assert not model.is_loaded
    assert server.models == {}
    for use in (
        lambda: server.load(digits),
        lambda: server.load_all(digits),
        lambda: server.unload("digits"),
        lambda: server.listen(port=0),
        lambda: model.infer({}),
        lambda: model.ainfer({}),
        lambda: model.stats(),
        lambda: model.unload(),
    ):
        with raises("FAILED_PRECONDITION", "^the server is closed$"):
            use()


def test_a_server_is_closed_from_a_coroutine(digits, run_async):
    async def main():
        async with fastserve.Server() as server:
            model = server.load(digits)
        await server.aclose()
        return server.is_closed, model.is_loaded

    assert run_async(main()) == (True, False)


def test_a_server_made_in_one_thread_is_used_and_closed_in_others(digits):
    made: list[fastserve.Server] = []
    for step in (
        lambda: made.append(fastserve.Server()),
        lambda: made[0].load(digits),
        lambda: made[0].close(),
    ):
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
    assert made[0].is_closed


def test_a_model_keeps_its_server(digits):
    model = fastserve.Server().load(digits)
    assert model.is_loaded
    model._server.close()


def test_two_servers_know_nothing_of_each_other(server, digits):
    server.load(digits)
    with fastserve.Server() as other:
        assert other.models == {}
        other.load(digits)
    assert list(server.models) == ["digits"]


# -- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["server", "model", "listener"])
@pytest.mark.parametrize("how", [pickle.dumps, copy.copy, copy.deepcopy])
def test_nothing_is_pickled_or_copied(server, digits, what, how):
    made = {
        "server": lambda: server,
        "model": lambda: server.load(digits),
        "listener": lambda: server.listen(port=0),
    }[what]()
    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        how(made)


# In the child, the threads are gone: nothing may be waited for.
def test_a_child_of_a_fork_is_refused_and_may_end(server, digits):
    server.load(digits)
    listener = server.listen(port=0)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        said = ""
        try:
            server.load(digits, name="other")
        except Error as error:
            said = f"{error.code} {error.message}"
        listener.close()
        server.close()
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    assert said.startswith("FAILED_PRECONDITION this server was made before a fork")
    assert server.load(digits, name="other").is_loaded


# -- How it looks --------------------------------------------------------------------------------


def test_a_model_shows_its_signature(server, digits):
    model = server.load(digits)
    assert repr(model) == (
        "<fastserve.Model digits, version 1: image FP32[-1, 8, 8]"
        " -> probabilities FP32[-1, 10], label INT64[-1]>"
    )
    assert "<td>image</td>" in model._repr_html_()
    model.unload()
    assert repr(model).endswith(", not loaded any more>")


def test_a_server_shows_its_models(server, digits):
    assert repr(server) == "<fastserve.Server no models>"
    server.load(digits)
    with server.listen(port=0) as listener:
        assert repr(server) == f"<fastserve.Server digits at {listener.url}>"
        assert "<td>digits</td>" in server._repr_html_()
    server.close()
    assert repr(server) == "<fastserve.Server closed>"
