"""What every suite shares: C++ tests are items like any other."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests import proc, served
from tests.cpp_items import CppTestFile


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cpp-preset",
        default="dev",
        choices=["dev", "asan", "tsan"],
        help="how the C++ tests are built (see CMakePresets.json)",
    )


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
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections.extend(served.log_sections())
    return report
