"""What lies under a path: one file, one model's directory, or a repository of such."""

import os
import re
from pathlib import Path

import pytest

from fastserve.control.repository.model_repository import (
    TAKES,
    ModelRepository,
    discover,
    is_version,
)
from fastserve.errors import Error


@pytest.fixture
def tree(tmp_path):
    """Makes files (empty) and directories (names that end in a slash)."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            if name.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        return tmp_path

    return make


def found(*paths, name=""):
    """name -> versions, of everything that can be served."""
    sources = discover([str(path) for path in paths], name)
    return {source.name: sorted(source.versions) for source in sources if not source.problem}


def error_of(*paths, name=""):
    with pytest.raises(Error) as caught:
        discover([str(path) for path in paths], name)
    return caught.value


# One file.


def test_a_file_is_a_model_with_version_1(tree):
    path = tree("digits.v2.onnx") / "digits.v2.onnx"
    (source,) = discover([str(path)])
    assert (source.name, source.versions, source.is_file) == ("digits.v2", {1: path}, True)
    assert source.config_path is None


def test_a_file_can_be_given_a_name(tree):
    assert found(tree("a.onnx") / "a.onnx", name="digits") == {"digits": [1]}


@pytest.mark.parametrize("name", ["model.pt", "onnx", ".onnx", "model.onnx.bak"])
def test_another_file_is_refused(tree, name):
    error = error_of(tree(name) / name)
    assert (error.code, error.message.endswith(f"{name}: not an .onnx file; {TAKES}")) == (
        "INVALID_ARGUMENT",
        True,
    )


# Opening it would wait for ever.
def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "not an .onnx file" in error_of(tmp_path / "pipe.onnx").message


# One model's directory.


def test_a_directory_with_versions_is_a_model(tree):
    path = tree("digits/1/model.onnx", "digits/12/model.onnx", "digits/notes.txt") / "digits"
    (source,) = discover([str(path)])
    assert source.name == "digits"
    assert source.versions == {1: path / "1", 12: path / "12"}
    assert (source.is_file, source.config_path, source.problem) == (False, None, "")


def test_a_model_s_config_is_found_and_shown_short(tree):
    path = tree("digits/1/model.onnx", "digits/config.pbtxt") / "digits"
    (source,) = discover([str(path)])
    assert source.config_path == path / "config.pbtxt"
    assert source.config_shown_as == "digits/config.pbtxt"


def test_a_config_alone_makes_a_model_that_says_what_it_lacks(tree):
    (source,) = discover([str(tree("digits/config.pbtxt") / "digits")])
    assert source.problem == ("digits: no version directory in it; expected digits/1/model.onnx")


def test_what_is_not_a_version_is_ignored(tree):
    path = tree("m/1/model.onnx", "m/01/", "m/0/", "m/v2/", "m/-3/", "m/4.5/", "m/٣/", "m/2") / "m"
    assert found(path) == {"m": [1]}


@pytest.mark.parametrize("name", ["1", "42", "9" * 18])
def test_an_integer_without_leading_zeros_is_a_version(name):
    assert is_version(name)


@pytest.mark.parametrize("name", ["", "0", "01", "-1", "+1", "1.0", "1a", "²", "٣", "9" * 19])
def test_anything_else_is_no_version(name):
    assert not is_version(name)


def test_a_path_without_a_name_is_called_after_its_directory(tree, monkeypatch):
    root = tree("digits/1/model.onnx")
    monkeypatch.chdir(root / "digits")
    assert found(".") == {"digits": [1]}
    monkeypatch.chdir(root / "digits" / "1")
    assert found("..") == {"digits": [1]}
    assert found("../../digits/") == {"digits": [1]}


# A repository.


def test_a_directory_of_models_is_a_repository(tree):
    root = tree("b/1/model.onnx", "a/1/model.onnx", "a/2/model.onnx", "README.md")
    assert list(found(root).items()) == [("a", [1, 2]), ("b", [1])]


def test_hidden_directories_are_no_models(tree):
    assert found(tree("a/1/model.onnx", ".git/1/x", ".cache/", "lost+found/")) == {"a": [1]}


def test_a_model_without_versions_does_not_hide_the_others(tree):
    sources = discover([str(tree("good/1/model.onnx", "empty/"))])
    assert [(source.name, bool(source.problem)) for source in sources] == [
        ("empty", True),
        ("good", False),
    ]


# A directory "7" with versions of its own, or with a config, is a model and not a version.
@pytest.mark.parametrize("inside", ["7/1/model.onnx", "7/config.pbtxt"])
def test_a_repository_may_hold_a_model_called_7(tree, inside):
    sources = discover([str(tree(inside, "digits/1/model.onnx"))])
    assert [source.name for source in sources] == ["7", "digits"]


def test_a_model_may_have_a_version_7(tree):
    assert found(tree("m/7/model.onnx", "m/7/assets/x") / "m") == {"m": [7]}


def test_an_empty_directory_is_refused(tree):
    root = tree("models/", "models/.hidden/")
    error = error_of(root / "models")
    assert (error.code, error.message) == (
        "NOT_FOUND",
        f"{root / 'models'}: no models in it; {TAKES}",
    )


def test_a_directory_of_loose_files_says_how_to_serve_one(tree):
    root = tree("b.onnx", "a.onnx")
    assert error_of(root).message.endswith(
        f"; to serve the file in it: fastserve run {root / 'a.onnx'}"
    )


# Several paths.


def test_several_paths_are_served_together_in_their_order(tree):
    root = tree("z.onnx", "repo/a/1/model.onnx", "m/1/model.onnx")
    assert list(found(root / "z.onnx", root / "repo", root / "m")) == ["z", "a", "m"]


def test_two_models_of_one_name_are_refused(tree):
    root = tree("m.onnx", "repo/m/1/model.onnx")
    error = error_of(root / "m.onnx", root / "repo")
    assert error.message == (
        f"two models are called 'm': {root / 'm.onnx'} and {root / 'repo/m'};"
        " rename one of them, or serve one file alone with --name"
    )


def test_nothing_to_serve_is_refused_with_an_example():
    assert error_of().message.endswith("; try: fastserve run model.onnx")


def test_a_name_fits_one_file_only(tree):
    root = tree("a.onnx", "b.onnx", "m/1/model.onnx")
    for paths in ([root / "a.onnx", root / "b.onnx"], [root / "m"]):
        assert error_of(*paths, name="x").message.startswith("--name x: works with one .onnx file")


# What the file system does.


def test_a_missing_path_is_named(tmp_path):
    error = error_of(tmp_path / "none")
    assert (error.code, error.message) == (
        "NOT_FOUND",
        f"{tmp_path / 'none'}: no such file or directory; {TAKES}",
    )


def test_links_are_followed(tree):
    root = tree("store/x/model.onnx", "m/2/model.onnx", "a.onnx")
    (root / "m" / "1").symlink_to(root / "store" / "x")
    (root / "repo").mkdir()
    (root / "repo" / "linked").symlink_to(root / "m")
    (root / "b.onnx").symlink_to(root / "a.onnx")
    assert found(root / "m") == {"m": [1, 2]}
    assert found(root / "repo") == {"linked": [1, 2]}
    assert found(root / "b.onnx") == {"b": [1]}


def test_links_that_lead_nowhere_are_no_models_and_no_versions(tree):
    root = tree("m/2/model.onnx")
    (root / "m" / "1").symlink_to(root / "gone")
    (root / "loop").symlink_to(root / "loop")
    (root / "dangling").symlink_to(root / "gone")
    assert found(root) == {"m": [2]}
    assert error_of(root / "loop").code == "NOT_FOUND"


# A kubernetes ConfigMap or a git-sync: the models behind a link whose target is hidden.
def test_a_repository_behind_a_link_keeps_the_link_s_name(tree):
    root = tree(".versions/3/m/1/model.onnx")
    (root / "current").symlink_to(root / ".versions" / "3")
    assert found(root / "current") == {"m": [1]}


@pytest.mark.parametrize("text", ["a\0b", "x" * 5000, "", "/dev/null"])
def test_an_odd_path_is_an_error_and_nothing_worse(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert error_of(text).message.isprintable()


def forbid(monkeypatch, path, *calls):
    """Let looking at `path` fail as for a user who may not; the tests may run as root."""

    def guarded(original):
        def call(self, *args, **kwargs):
            if Path(self) == path:
                raise PermissionError(13, "Permission denied", str(self))
            return original(self, *args, **kwargs)

        return call

    for name in calls:
        owner = os if name == "scandir" else Path
        monkeypatch.setattr(owner, name, guarded(getattr(owner, name)))


@pytest.mark.parametrize("call", ["exists", "is_dir", "scandir"])
def test_a_path_that_may_not_be_looked_at_is_named(tree, monkeypatch, call):
    root = tree("m/1/model.onnx")
    forbid(monkeypatch, root, call)
    error = error_of(root)
    assert (error.code, error.message) == ("PERMISSION_DENIED", f"{root}: Permission denied")


def test_a_model_that_may_not_be_looked_at_does_not_hide_the_others(tree, monkeypatch):
    root = tree("a/1/model.onnx", "b/1/model.onnx")
    forbid(monkeypatch, root / "a", "scandir")
    first, second = discover([str(root)])
    assert (first.name, first.problem) == ("a", f"{root / 'a'}: Permission denied")
    assert (second.name, second.problem) == ("b", "")


# Names go into URLs, JSON and logs.
def test_a_model_whose_name_cannot_be_shown_is_a_problem_with_a_name_that_can(tmp_path):
    (tmp_path / "good" / "1").mkdir(parents=True)
    (tmp_path / os.fsdecode(b"bad\xff\n") / "1").mkdir(parents=True)
    bad, good = discover([str(tmp_path)])
    assert (good.name, good.problem) == ("good", "")
    assert bad.name == r"bad\udcff\n"
    assert bad.problem == r"bad\udcff\n: expected a name of printable characters; rename it"


@pytest.mark.parametrize("name", ["a/b", "a\nb", "..", "."])
def test_a_name_that_no_url_can_hold_is_refused(tree, name):
    error = error_of(tree("a.onnx") / "a.onnx", name=name)
    assert error.message.startswith("--name ")
    assert error.code == "INVALID_ARGUMENT"


def test_one_model_is_found_whatever_is_wrong_with_the_others(tree):
    path = tree("r/a/1/model.onnx", "r/b/1/model.onnx", "s/b/1/model.onnx", "empty/")
    repository = ModelRepository(tuple(str(path / n) for n in ("empty", "gone", "r", "s")))
    assert repository.find("a").path == path / "r" / "a"
    twin = repository.find("b")
    assert re.search(r"two models are called 'b': .*/r/b and .*/s/b; rename one", twin.problem)
    assert twin.versions == {}
    with pytest.raises(Error, match=r"there is no model 'aa' in .*; did you mean 'a'"):
        repository.find("aa")


def test_one_file_is_found_under_the_name_that_it_was_given(tree):
    path = str(tree("v7.onnx") / "v7.onnx")
    repository = ModelRepository((path,), "digits")
    assert repository.find("digits").path == Path(path)
    with pytest.raises(Error, match="there is no model 'v7'"):
        repository.find("v7")


def test_each_path_is_looked_at_for_itself(tree):
    path = tree("r/a/1/model.onnx", "empty/")
    paths = tuple(str(path / name) for name in ("gone", "empty", "r"))
    gone, empty, full = ModelRepository(paths).look()
    assert (gone.path, gone.sources) == (paths[0], ())
    assert "no such file or directory" in str(gone.problem)
    assert (empty.sources, empty.problem) == ((), None)
    assert [source.name for source in full.sources] == ["a"]


def test_a_directory_that_is_almost_a_version_is_spoken_of(tree):
    path = tree("m/1/model.onnx", "m/01/", "m/v2/", "m/1.0/", "m/warmup/", "m/0", "n/007/", "n/-1/")
    m, n = discover([str(path)])
    assert [warning.split(" ")[0] for warning in m.warnings] == ["m/01", "m/1.0", "m/v2"]
    assert "expected an integer from 1 without zeros before it" in m.warnings[0]
    assert "n/007 is no version" in n.problem


def test_names_are_listed_again_only_when_something_may_have_come(tree):
    path = tree("r/a/1/model.onnx") / "r"
    repository = ModelRepository((str(path),))
    first = repository.look_for_names(None)
    # What was written just now may be written again in the same step of the clock.
    assert repository.look_for_names(first) is not first
    os.utime(path, (1, 1))
    old = repository.look_for_names(first)
    assert repository.look_for_names(old) is old
    (path / "b" / "1").mkdir(parents=True)
    new = repository.look_for_names(old)
    assert [source.name for source in new.roots[0].sources] == ["a", "b"]
    path.rename(path.with_name("gone"))
    assert repository.look_for_names(new).roots[0].problem is not None


def test_a_repository_may_be_empty_when_models_may_come_later(tree):
    assert discover([str(tree("r/") / "r")], may_be_empty=True) == []
