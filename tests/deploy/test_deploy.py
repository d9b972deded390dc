"""The files in deploy/ name real options and real paths, and their times fit each other.

Nothing here builds an image or starts a unit; deploy/README.md says so.
"""

import configparser
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from typing import Any

import pytest
import yaml

from fastserve.cli import arguments, run
from fastserve.config.options import Options, build
from fastserve.config.settings import BY_KEY
from tests.served import Repository, Server
from tests.tidy.tree import ROOT

DEPLOY = ROOT / "deploy"
# For retiring the models when all that could be waited for was.
MARGIN_S = 5
MODELS_BYTES = 768 << 20


def options_of(words, environment) -> Options:
    """What `fastserve run` would be told; a variable that is no option fails."""
    given = arguments.read(words, run.all_flags())
    chosen = {BY_KEY[key.replace("-", "_")].field: value for key, value in given.values.items()}
    if given.operands:
        chosen["paths"] = tuple(given.operands)
    options, warnings = build(chosen, environment)
    assert warnings == []
    return options


def settings(words) -> dict[str, str]:
    return dict(word.split("=", 1) for word in words)


# -- The image -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image() -> dict[str, str]:
    """Instruction -> its text; each occurs once."""
    lines = (DEPLOY / "Containerfile").read_text().splitlines()
    pairs = [line.split(" ", 1) for line in lines if line and not line.startswith("#")]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def image_environment(image) -> dict[str, str]:
    return settings(shlex.split(image["ENV"]))


def test_the_image_has_no_instruction_that_was_not_looked_at(image):
    assert list(image) == ["ARG", "FROM", "RUN", "ENV", "EXPOSE", "USER", "ENTRYPOINT"]


def test_the_image_is_a_slim_python_that_fastserve_runs_on(image):
    name, version = image["ARG"].split("=")
    assert image["FROM"] == f"python:${{{name}}}-slim"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"Programming Language :: Python :: {version}" in project["classifiers"]


def test_the_image_installs_the_wheel_of_the_context_and_nothing_from_elsewhere(image):
    mount, *words = image["RUN"].split(" ")
    assert mount == "--mount=type=bind,target=/wheels"
    assert words == ["pip", "install", "--no-cache-dir", "/wheels/fastserve-*.whl"]


# Kubernetes' runAsNonRoot can only judge a number.
def test_the_image_runs_as_a_user_that_is_not_root(image):
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", image["USER"])


def test_the_image_serves_models_on_all_addresses_at_the_exposed_port(image):
    program, command, *words = json.loads(image["ENTRYPOINT"])
    assert (program, command) == ("fastserve", "run")
    options = options_of(words, image_environment(image))
    assert (options.host, options.paths) == ("0.0.0.0", ("/models",))
    assert options.port == int(image["EXPOSE"])


def test_arguments_behind_the_image_are_options_or_other_paths(image):
    environment = image_environment(image)
    assert options_of(["--max-batch", "64"], environment).paths == ("/models",)
    assert options_of(["/other"], environment).paths == ("/other",)


# -- systemd ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service() -> configparser.SectionProxy:
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(DEPLOY / "fastserve.service")
    return unit["Service"]


def test_the_unit_runs_a_command_that_parses(service):
    program, command, *words = shlex.split(service["ExecStart"])
    assert (program.rpartition("/")[2], command) == ("fastserve", "run")
    (path,) = options_of(words, settings(service["Environment"].split())).paths
    assert path.startswith("/")  # Units have no working directory to speak of.


def test_systemd_waits_longer_than_the_drain(service):
    drain_ns = options_of([], settings(service["Environment"].split())).drain_timeout_ns
    assert int(service["TimeoutStopSec"]) * 10**9 >= drain_ns + MARGIN_S * 10**9
    assert "KillSignal" not in service  # SIGTERM, the default, drains.


def test_a_wrong_option_is_not_tried_again_for_ever(service):
    assert (service["Restart"], service["RestartPreventExitStatus"]) == ("on-failure", "2")


def test_systemd_finds_nothing_wrong(service, tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here")
    text = (DEPLOY / "fastserve.service").read_text()
    program = service["ExecStart"].split()[0]
    copy = tmp_path / "fastserve.service"
    copy.write_text(text.replace(program, "/bin/true"))  # It must exist to be verified.
    done = subprocess.run(
        [analyze, "verify", "--man=no", copy], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# -- Kubernetes ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def manifests() -> dict[str, Any]:
    found = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    return {manifest["kind"]: manifest for manifest in found}


@pytest.fixture(scope="module")
def pod(manifests) -> dict[str, Any]:
    return manifests["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def container(pod) -> dict[str, Any]:
    (container,) = pod["containers"]
    return container


def test_the_grace_period_covers_the_pause_and_the_drain(pod, container, image):
    program, pause_s = container["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "sleep"
    drain_ns = options_of(container["args"], image_environment(image)).drain_timeout_ns
    needed_s = int(pause_s) + drain_ns / 10**9 + MARGIN_S
    assert pod["terminationGracePeriodSeconds"] >= needed_s


def test_the_memory_suffices_for_the_requests_held_at_once(container, image):
    options = options_of(container["args"], image_environment(image))
    limit_bytes = int(container["resources"]["limits"]["memory"].removesuffix("Gi")) << 30
    # What PoolOptions in csrc/gateway/gateway.cc allows, and what SlabPool keeps.
    assert limit_bytes >= 4 * options.in_flight_bytes_max + (256 << 20) + MODELS_BYTES


def test_the_service_leads_to_the_port_of_the_container(manifests, container):
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": Options().port}
    assert [port["targetPort"] for port in manifests["Service"]["spec"]["ports"]] == ["http"]
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert manifests["Service"]["spec"]["selector"] == labels


def test_the_models_are_where_the_image_looks(container, image):
    (mount,) = container["volumeMounts"]
    options = options_of(container["args"], image_environment(image))
    assert (mount["mountPath"], mount["readOnly"]) == (options.paths[0], True)


def test_liveness_and_readiness_are_asked_at_different_paths(container):
    paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in PROBES}
    assert paths == PROBES


PROBES = {
    "startup": "/v2/health/live",
    "liveness": "/v2/health/live",
    "readiness": "/v2/health/ready",
}


# The probes' paths, asked of a server that was started with the arguments of the manifest.
def test_a_ready_server_answers_every_probe_with_200(container, tmp_path):
    repository = Repository(tmp_path / "models")
    repository.add_identity("identity")
    with Server(repository.path, *container["args"], "--log-format", "text") as server:
        for kind in PROBES:
            probe = container[f"{kind}Probe"]["httpGet"]
            assert probe["port"] == "http"
            assert server.request("GET", probe["path"]).status == 200
