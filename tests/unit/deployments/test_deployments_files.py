"""What is scheduled and how the servers are set up: the files say what the code expects, and hold no secrets."""

import inspect
import json
import re
from importlib import import_module
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from timbre.config import check_profile, overrides_of, release_config
from timbre.settings import PROJECT_ROOT


@pytest.fixture(scope="module")
def deployments() -> dict[str, dict[str, Any]]:
    tree = yaml.safe_load((PROJECT_ROOT / "prefect.yaml").read_text())
    return {f"{deployment['entrypoint'].rpartition('.')[2]}/{deployment['name']}": deployment for deployment in tree["deployments"]}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load((PROJECT_ROOT / "infra" / "compose.yaml").read_text())
    return tree


def test_prefect_itself_reads_every_deployment(deployments: dict[str, dict[str, Any]]) -> None:
    from prefect.cli.deploy._models import DeploymentConfig, RawScheduleConfig

    for deployment in deployments.values():
        read = TypeAdapter(DeploymentConfig).validate_python(deployment)
        assert (read.name, read.entrypoint, read.parameters) == tuple(deployment[name] for name in ("name", "entrypoint", "parameters"))
        for schedule in deployment["schedules"]:
            assert TypeAdapter(RawScheduleConfig).validate_python(schedule).model_dump(include=set(schedule)) == schedule


def test_every_entry_point_takes_the_parameters_of_its_deployment(deployments: dict[str, dict[str, Any]]) -> None:
    for deployment in deployments.values():
        module, _, name = deployment["entrypoint"].rpartition(".")
        flow = getattr(import_module(module), name)
        bind = inspect.signature(flow.fn).bind if deployment["schedules"] else inspect.signature(flow.fn).bind_partial
        bound = bind(**deployment["parameters"])  # what no schedule starts may ask for more on its form
        assert bound.arguments == deployment["parameters"]


@pytest.mark.parametrize("style", ["literary", "oratory", "conversational", "technical"])
def test_a_weekly_release_a_style_is_paused_alone_and_the_same_as_the_command(deployments: dict[str, dict[str, Any]], style: str) -> None:
    weekly = deployments[f"release_flow/weekly-{style}"]
    (schedule,) = weekly["schedules"]
    assert (schedule["timezone"], schedule["active"], schedule["slug"]) == ("UTC", False, "weekly")
    assert weekly["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    assert release_config(**weekly["parameters"]) == release_config(style, "quick")


def test_serving_is_started_by_hand_and_looked_at_every_quarter_of_an_hour(deployments: dict[str, dict[str, Any]]) -> None:
    from timbre.flows.serving import check_serving

    kept_up, look = deployments["serve_champion/by-hand"], deployments["check_serving/quarter-hourly"]
    assert kept_up["schedules"] == [] and kept_up["concurrency_limit"]["limit"] == 1
    (schedule,) = look["schedules"]
    assert (schedule["cron"], schedule["active"]) == ("*/15 * * * *", False)
    assert look["parameters"]["address"] == f"http://127.0.0.1:{kept_up['parameters']['port']}"
    form = check_serving.parameters.model_dump()["properties"]
    assert list(form) == ["style", "address", "model"] and all(field["description"] for field in form.values())


def test_the_form_of_a_release_has_four_fields_and_styles_to_choose_from() -> None:
    from timbre.flows.release import release_flow

    form = release_flow.parameters.model_dump()["properties"]
    assert list(form) == ["style", "profile", "seed", "overrides"]
    assert {"literary", "oratory"} <= set(form["style"]["enum"]) and form["profile"]["enum"] == ["quick", "standard", "gpu"]
    assert all(field["description"] for field in form.values())


@pytest.mark.parametrize("profile", ["quick", "standard"])
def test_what_differs_from_a_profile_makes_the_same_release_again(profile: str) -> None:
    blend = [{"style": "a", "weight": 1.0, "sources": ["b"]}]
    given = {"target.alpha": 0.5, "model.name": "folder", "target.blend": blend, "baseline.objective": "gem"}
    config = release_config("oratory", profile, 3, given)
    overrides = overrides_of(config)
    assert set(overrides) == set(given)
    assert release_config("oratory", profile, 3, overrides) == config and overrides_of(release_config("oratory", profile)) == {}


def test_a_field_that_is_off_unless_asked_for_is_an_override_when_it_is_on() -> None:
    marked = release_config("literary", "quick", overrides={"evaluation.watermark": True})
    assert overrides_of(marked) == {"evaluation.watermark": True}
    assert release_config("literary", "quick", overrides=overrides_of(marked)) == marked


def test_deployments_share_the_pool_of_timbre_up_and_name_no_folder(deployments: dict[str, dict[str, Any]]) -> None:
    from timbre.tasks.deployments import POOL

    assert {deployment["work_pool"]["name"] for deployment in deployments.values()} == {POOL}
    tree = yaml.safe_load((PROJECT_ROOT / "prefect.yaml").read_text())
    (step,) = tree["pull"]
    assert step == {"prefect.deployments.steps.set_working_directory": {"directory": "{{ checkout.stdout }}"}}


def test_every_password_of_server_mode_comes_from_a_secret_file(compose: dict[str, Any]) -> None:
    files = {f"/run/secrets/{name}" for name in compose["secrets"]}
    for name, service in compose["services"].items():
        given = {f"/run/secrets/{secret}" for secret in service.get("secrets", [])}
        for variable, value in service.get("environment", {}).items():
            if variable.endswith("_FILE"):
                assert value in files & given, f"{name}: {variable} names a secret that it is not given"
            else:
                assert not any(word in variable for word in ("PASSWORD", "SECRET", "AUTH_STRING", "ACCESS_KEY")), f"{name}: {variable}"


def test_pages_of_server_mode_are_open_on_loopback_only(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)
    waiting = [need for service in compose["services"].values() for need in service.get("depends_on", {})]
    checked = {name for name, service in compose["services"].items() if "healthcheck" in service}
    assert set(waiting) <= checked | {"buckets"}


def test_examples_hold_names_and_no_values() -> None:
    lines = [line for line in (PROJECT_ROOT / "infra" / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    assert lines and all(line.endswith("=") for line in lines)
    assert "admin_password" not in (PROJECT_ROOT / "mlflow" / "basic_auth.ini").read_text()


def test_the_lock_holds_cpu_and_cuda_builds_for_every_python_and_no_place() -> None:
    text = (PROJECT_ROOT / "requirements.lock").read_text()
    block = re.search(r"^torch==(\S+)( .*)?\\\n((?: {4}--hash=.*\n?)+)", text, re.MULTILINE)
    assert block is not None
    hashes = set(re.findall(r"sha256:([0-9a-f]{64})", block[3]))
    cpu = dict(re.findall(r"^# (torch-\S+\.whl) sha256:([0-9a-f]{64})$", text, re.MULTILINE))
    for tag in ("cp311", "cp312", "cp313"):
        assert cpu[f"torch-{block[1]}+cpu-{tag}-{tag}-manylinux_2_28_x86_64.whl"] in hashes
    assert len(hashes - set(cpu.values())) >= 3, "the registry's builds, which need CUDA libraries"
    assert re.search(r"^nvidia-cudnn.* extra == 'cuda' \\$", text, re.MULTILINE)
    assert "://" not in text and not re.search(r"(^|[\s=@])[/~.]", text), "a registry or a folder"
    assert all(line.startswith(("#", " ")) or re.fullmatch(r"[\w.-]+==\S+( ; .*)? \\", line) for line in text.splitlines())


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"gate.policy": "quick"}, "gate.policy=quick is of the profile quick, and the profile standard has standard"),
        ({"gate": {"policy": "quick"}}, "gate.policy=quick is of the profile quick"),
        ({"target.train_tokens": 16_384}, "target.train_tokens=16384 is of the profile quick, and the profile standard has 65536"),
        ({"profile": "quick"}, "the overrides say profile=quick and the release profile=standard"),
        ({"style": "oratory"}, "style=oratory"),
        ({"training.epochs": True}, "training.epochs: true is no number"),
        ({"training": {"epochs": True}}, "training.epochs: true is no number"),
        ({"training.epochs": "2.5"}, "valid integer"),
        ({"target.alpha": "nan"}, "finite number"),
        ({"training.epochs": "many"}, "valid integer"),
        ({"training": 5}, "training"),
    ],
)
def test_a_form_with_what_another_profile_has_or_with_wrong_types_is_refused(overrides: dict[str, Any], said: str) -> None:
    kept = json.dumps(overrides)
    with pytest.raises(ValueError, match=re.escape(said)):
        check_profile(release_config("literary", "standard", 1, overrides))
    assert json.dumps(overrides) == kept


def test_a_policy_of_ones_own_and_a_smaller_budget_are_what_overrides_are_for() -> None:
    overrides = {"gate.policy": "ours", "target.train_tokens": 4_096, "training": {"epochs": 2}}
    config = check_profile(release_config("literary", "standard", 1, overrides))
    assert (config.gate.policy, config.target.train_tokens, config.training.epochs) == ("ours", 4_096, 2)


def test_a_number_in_quotes_is_the_number_and_the_release_the_same() -> None:
    quoted = release_config("literary", "quick", 1, {"target.alpha": "0.5", "training": {"epochs": "2"}})
    assert quoted == release_config("literary", "quick", 1, {"target.alpha": 0.5, "training.epochs": 2})
    assert overrides_of(quoted) == {"target.alpha": 0.5, "training.epochs": 2}


def test_changing_the_style_alone_makes_another_release_of_the_same_profile() -> None:
    """As the page does: the other three fields are sent again as they stand."""
    before = release_config("literary", "quick", 1, {})
    after = check_profile(release_config("oratory", "quick", 1, {}))
    assert (after.style, after.corpus.style) == ("oratory", "oratory")
    assert (after.profile, after.gate, after.training, overrides_of(after)) == (before.profile, before.gate, before.training, {})
