"""Another config for an engine that is open already, and engines opened at low priority."""

import os
import shutil
from pathlib import Path

import pytest

from fastserve import _core
from fastserve.config.completion import ModelDefaults
from fastserve.control.loading import loader as room
from fastserve.control.loading.loader import Loader
from fastserve.control.repository.model_repository import discover

MODELS = Path(__file__).parents[3] / "models"


def parameter(key, text):
    return f'parameters {{ key: "{key}" value {{ string_value: "{text}" }} }}'


def of_repository(tmp_path, config=""):
    folder = tmp_path / "m" / "1"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(MODELS / "identity_fp32.onnx", folder / "model.onnx")
    (tmp_path / "m" / "config.pbtxt").write_text(config)
    (source,) = discover([str(tmp_path / "m")])
    return source


def load_again(tmp_path, monkeypatch, before, config):
    """The version with another config, and how often its engine was opened for it."""
    loader = Loader(ModelDefaults())
    (tmp_path / "m" / "config.pbtxt").write_text(config)
    (source,) = discover([str(tmp_path / "m")])
    opened = []
    original = loader._open_onnxruntime

    def counted(*arguments, **options):
        opened.append(1)
        return original(*arguments, **options)

    monkeypatch.setattr(loader, "_open_onnxruntime", counted)
    return loader.load(source, 1, loader.read_config(source), before), len(opened)


def test_another_config_for_the_same_engine_does_not_open_it_again(tmp_path, monkeypatch):
    loader = Loader(ModelDefaults())
    source = of_repository(tmp_path)
    before = loader.load(source, 1, loader.read_config(source))
    for config in ("max_batch_size: 3", "instance_group { count: 2 }"):
        after, opened = load_again(tmp_path, monkeypatch, before, config)
        assert opened == 0
        assert after.served != before.served
    _, opened = load_again(tmp_path, monkeypatch, before, "optimization { graph { level: -1 } }")
    assert opened == 1
    (tmp_path / "m" / "1" / "model.onnx").touch()
    _, opened = load_again(tmp_path, monkeypatch, before, "max_batch_size: 3")
    assert opened == 1


# Threads that an engine starts would keep the priority of who opens it for ever.
@pytest.mark.parametrize(
    ("defaults", "config", "is_gentle"),
    [
        (ModelDefaults(), "", True),
        (ModelDefaults(load_priority="normal"), "", False),
        (ModelDefaults(intra_op_threads=2), "", False),
        (ModelDefaults(intra_op_threads=0), "", False),
        (ModelDefaults(), parameter("intra_op_thread_count", "4"), False),
        (ModelDefaults(), parameter("inter_op_thread_count", "2"), False),
    ],
)
def test_only_an_engine_without_threads_is_opened_at_low_priority(
    tmp_path, monkeypatch, defaults, config, is_gentle
):
    monkeypatch.setattr(room, "_GENTLE_BYTES_MIN", 1)
    asked = []
    original = _core.open_onnxruntime

    def noted(*arguments, gently, **options):
        asked.append(gently)
        return original(*arguments, gently=gently, **options)

    monkeypatch.setattr(_core, "open_onnxruntime", noted)
    loader = Loader(defaults)
    source = of_repository(tmp_path, config)
    loaded = loader.load(source, 1, loader.read_config(source))
    assert asked == [is_gentle]
    # Field 41, in the words of proc(5); the threads' numbers may be of another PID namespace.
    tasks = Path("/proc/self/task").iterdir()
    stats = [(task / "stat").read_text().rpartition(")")[2].split() for task in tasks]
    assert {int(stat[38]) for stat in stats} == {os.sched_getscheduler(0)}
    assert loaded.served.batching
