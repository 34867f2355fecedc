"""Containers, Kubernetes, Prometheus and the board: no engine is at hand, so the files are held to their schemas and to our code."""

import json
import re
from typing import Any

import pytest
import yaml

from timbre import __version__
from timbre.settings import PROJECT_ROOT

INFRA = PROJECT_ROOT / "infra"
KUBERNETES = INFRA / "kubernetes"
NAMES_OF_SECRETS = re.compile(r"PASSWORD|SECRET|AUTH_STRING|ACCESS_KEY|TOKEN(?!IZERS)|WEBHOOK")
VERSIONS = ("1.30", "1.33")


@pytest.fixture(scope="module")
def manifests() -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all((KUBERNETES / "base.yaml").read_text()) if one]


@pytest.fixture(scope="module")
def gpu_job() -> dict[str, Any]:
    """The job that Prefect's Kubernetes worker makes of the pool's template for a run."""
    from prefect.client.schemas.objects import FlowRun
    from prefect.utilities.templating import apply_values
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    template = json.loads((KUBERNETES / "gpu-pool.json").read_text())
    values = {name: field["default"] for name, field in template["variables"]["properties"].items() if "default" in field}
    filled = apply_values(template["job_configuration"], {**values, "name": "release", "command": None})
    configuration = KubernetesWorkerJobConfiguration(**filled)
    configuration.prepare_for_flow_run(FlowRun(name="release-literary-gpu", flow_id="00000000-0000-0000-0000-000000000001"))
    job: dict[str, Any] = configuration.job_manifest
    for name in ("parallelism", "completions"):  # Prefect insists on them in the pod, where Kubernetes passes over them
        assert job["spec"]["template"]["spec"].pop(name) == job["spec"][name] == 1
    return job


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_and_the_job_of_the_gpu_pool_are_what_kubernetes_expects(
    manifests: list[dict[str, Any]], gpu_job: dict[str, Any], version: str
) -> None:
    import kubernetes_validate

    for one in (*manifests, gpu_job):
        kubernetes_validate.validate(one, version, strict=True)


def test_a_gpu_job_asks_for_a_device_and_is_never_tried_again_by_kubernetes(gpu_job: dict[str, Any]) -> None:
    spec = gpu_job["spec"]
    assert (spec["backoffLimit"], spec["template"]["spec"]["restartPolicy"]) == (0, "Never")
    (container,) = spec["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == container["resources"]["requests"]["nvidia.com/gpu"] == 1
    assert "prefect" in " ".join(container["args"])
    assert spec["activeDeadlineSeconds"] > 0


def test_pods_run_as_a_plain_user_and_take_secrets_by_reference_only(manifests: list[dict[str, Any]], gpu_job: dict[str, Any]) -> None:
    assert not [one for one in manifests if one["kind"] == "Secret"]
    pods = [one["spec"]["template"]["spec"] for one in (*manifests, gpu_job) if one["kind"] in ("Deployment", "Job")]
    assert len(pods) == 3
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] != 0
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert {"secretRef": {"name": "timbre"}} in container["envFrom"]
        assert container["image"].removesuffix("-cuda") == f"timbre:{__version__}"
    written = {name for one in manifests if one["kind"] == "ConfigMap" for name in one["data"]}
    written |= {entry["name"] for pod in pods for entry in pod["containers"][0].get("env", [])}
    assert not [name for name in written if NAMES_OF_SECRETS.search(name)]


def test_compose_and_kubernetes_give_a_worker_the_same_variables(manifests: list[dict[str, Any]]) -> None:
    compose = yaml.safe_load((INFRA / "compose.yaml").read_text())
    client = {name.removesuffix("_FILE") for name in compose["x-client"]}
    (plain,) = [one["data"] for one in manifests if one["kind"] == "ConfigMap"]
    secret = set(re.findall(r"\b[A-Z]+_[A-Z_]+\b|PGPASSWORD", (KUBERNETES / "base.yaml").read_text().split("apiVersion", 1)[0]))
    assert client - {"TIMBRE_MLFLOW_PAGE"} == set(plain) | secret
    for name in set(plain) & set(compose["x-client"]) - {"TIMBRE_DATA_REGISTRY"}:
        assert plain[name] == compose["x-client"][name], name


def test_every_container_is_pinned_closed_and_runs_the_servers_of_the_topology() -> None:
    compose = yaml.safe_load((INFRA / "compose.yaml").read_text())
    assert {"database", "storage", "prefect", "mlflow", "worker", "serve", "prometheus", "grafana"} <= set(compose["services"])
    for name, service in compose["services"].items():
        image = service["image"]
        assert image == "${TIMBRE_IMAGE:-timbre}" or re.fullmatch(r"[a-z/]+:v?\d+\.\d+(\.\d+)?", image), f"{name}: {image}"
        if name != "database":  # PostgreSQL's image changes users itself
            assert service["cap_drop"] == ["ALL"] and service["read_only"] is True, name
    docker = (INFRA / "Dockerfile").read_text()
    assert re.search(r"^USER 1000:1000$", docker, re.MULTILINE) and "infra/install.sh" in docker
    assert "--require-hashes" in (INFRA / "install.sh").read_text()
    assert re.fullmatch(r"\d+\.\d+\.\d+", re.search(r"^ARG PYTHON_VERSION=(.*)$", docker, re.MULTILINE)[1])  # type: ignore[index]


def test_board_and_alarms_ask_only_for_figures_that_our_server_has() -> None:
    from timbre.serving.metrics import Metrics

    class Nothing:
        all, current, troubles = (), (), ()

    page = Metrics(Nothing()).page().decode()  # type: ignore[arg-type]
    known = set(re.findall(r"^# TYPE (timbre_\w+) ", page, re.MULTILINE))
    board = json.loads((INFRA / "grafana" / "board.json").read_text())
    rules = yaml.safe_load((INFRA / "alerts.yml").read_text())["groups"][0]["rules"]
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]] + [rule["expr"] for rule in rules]
    for expression in asked:
        for name in re.findall(r"timbre_\w+", expression):
            assert name in known or re.sub(r"_(bucket|sum|count|total)$", "", name) in {one.removesuffix("_total") for one in known}, name
        assert expression.count("(") == expression.count(")")
    assert "not rendered" in board["description"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in board["panels"]})
    jobs = {job["job_name"] for job in yaml.safe_load((INFRA / "prometheus.yml").read_text())["scrape_configs"]}
    assert set(re.findall(r'job="(\w+)"', " ".join(asked))) <= jobs


def test_every_alarm_has_a_section_in_the_runbook() -> None:
    runbook = (PROJECT_ROOT / "docs" / "how-to" / "runbook.md").read_text()
    rules = yaml.safe_load((INFRA / "alerts.yml").read_text())["groups"][0]["rules"]
    assert [rule["alert"] for rule in rules if f"`{rule['alert']}`" not in runbook] == []
