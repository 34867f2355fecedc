"""Under load with a promotion, a rollback and a killed worker nothing fails or is mixed; hostile requests are refused in OpenAI's form."""

from pathlib import Path

import pytest

from benchmarks.hostile import hostile_requests
from benchmarks.serving_load import home_of, hostile, load
from timbre.artifacts import Artifact, ArtifactStore
from timbre.export.quantised import QuantisedConfig, resolve_quantised
from timbre.serving.engines import find_served
from timbre.serving.workers import without_workers


@pytest.mark.slow
def test_a_promotion_a_rollback_and_a_killed_worker_cost_no_request(
    tiny_bundle: Artifact, tiny_parts: dict[str, Artifact], tiny_store: ArtifactStore, tmp_path: Path
) -> None:
    form = resolve_quantised(QuantisedConfig(tokens=64, window=32), tiny_bundle, tiny_parts["corpus"], tiny_store)
    home = home_of(tiny_bundle, tmp_path, form, tiny_parts["corpus"])
    figures = load(home, requests=120, at_once=8, tokens=16)
    assert figures["requests"] == 120 and not figures["errors"], figures
    assert not figures["mixed"] and set(figures["versions"]) == {"1", "2"}, figures


def test_hostile_requests_are_refused_and_the_next_one_is_fine(tiny_bundle: Artifact, tmp_path: Path) -> None:
    figures = hostile(home_of(tiny_bundle, tmp_path), 200)
    assert not figures["hostile_5xx"] and not figures["hostile_formless"] and figures["next_is_fine"], figures
    assert {"200", "400"} <= set(figures["hostile_statuses"]), figures


def test_both_versions_of_a_load_are_served_in_the_form_that_is_the_default(
    tiny_bundle: Artifact, tiny_parts: dict[str, Artifact], tiny_store: ArtifactStore, tmp_path: Path
) -> None:
    form = resolve_quantised(QuantisedConfig(tokens=64, window=32), tiny_bundle, tiny_parts["corpus"], tiny_store)
    home_of(tiny_bundle, tmp_path, form, tiny_parts["corpus"])
    store = ArtifactStore(tmp_path)
    bundles = [path.name for path in store.all() if path.parent.name == "bundle"]
    served = [find_served(digest, store) for digest in bundles]
    assert len(bundles) == 2 and all(found is not None and found.manifest.config == {"default": "int8"} for found in served)
    assert len({found.manifest.inputs["int8"] for found in served if found is not None}) == 2, "each has weights of its own"


def test_hostile_requests_are_the_same_for_a_seed() -> None:
    named = {"schema": {"$ref": "#/components/schemas/Body"}}
    schema = {
        "paths": {"/v1/completions": {"post": {"requestBody": {"content": {"application/json": named}}}}},
        "components": {"schemas": {"Body": {"type": "object", "properties": {"seed": {"type": "integer"}, "stop": {"type": "string"}}}}},
    }
    assert list(hostile_requests(schema, 50)) == list(hostile_requests(schema, 50)) != list(hostile_requests(schema, 50, seed=1))


def test_a_worker_is_started_with_the_options_of_its_server() -> None:
    given = ["serve", "--workers", "2", "--port", "0", "--workers=3", "--policy", "share=0.2"]
    assert without_workers(given) == ["serve", "--port", "0", "--policy", "share=0.2"]
