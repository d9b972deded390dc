"""What every suite shares: C++ tests are items like any other."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests import cores, proc, served
from tests.cpp_items import CppTestFile


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cpp-preset",
        default="dev",
        choices=["dev", "asan", "tsan"],
        help="how the C++ tests are built (see CMakePresets.json)",
    )
    parser.addoption(
        "--core-preset",
        choices=cores.PRESETS,
        help="run every server under test with an extension module built so (see tests/cores.py)",
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """After it is known that there is anything to run: a module takes minutes to build."""
    if session.items and not session.config.getoption("collectonly"):
        cores.choose(session.config.getoption("--core-preset"))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> CppTestFile | None:
    if file_path.name.endswith("_test.cc"):
        return CppTestFile.from_parent(parent, path=file_path)
    return None


def pytest_report_header(config: pytest.Config) -> str | None:
    preset = config.getoption("--cpp-preset")
    if preset == "asan" and not proc.IS_OURS:
        return "C++ preset: asan, without leaks: this /proc is not of this process namespace"
    return f"C++ preset: {preset}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None]:
    yield from _checked()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    yield from _checked()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None]:
    yield from _checked()


def _checked() -> Generator[None]:
    """What a sanitizer said meanwhile counts more than what the test found wrong because of it."""
    try:
        yield
    finally:
        cores.check()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections.extend(served.log_sections())
    return report
