"""The example full_stack: as far as it can be tried without Docker."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from avtomatika import Config, OrchestratorEngine
from avtomatika.client import AsyncClient
from avtomatika.observability.metrics import PrometheusMeter
from avtomatika.schedules import read_schedules
from avtomatika.security.clients import read_clients
from avtomatika.security.workers import read_workers
from avtomatika.worker import Worker
from avtomatika.worker.settings import _VARIABLES

FOLDER = Path(__file__).parents[2] / "examples" / "full_stack"
SETTINGS = FOLDER / "settings"


def read(name: str) -> Any:
    """Returns what a YAML file says."""
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


@pytest.fixture
def services() -> dict[str, Any]:
    """The services of docker-compose.yml."""
    services: dict[str, Any] = read("docker-compose.yml")["services"]
    return services


def test_every_part_is_there_and_pinned(services: dict[str, Any]) -> None:
    """What the issue of a whole installation needs; nothing changes by itself."""
    assert services.keys() >= {"engine", "worker", "redis", "postgres", "s3", "prometheus", "grafana", "jaeger"}
    images = [service["image"] for service in services.values() if "image" in service]
    assert all(re.search(r":[^:]*\d", image) for image in images)
    assert not any(image.endswith(":latest") for image in images)


def test_files_that_are_mounted_or_copied_exist(services: dict[str, Any]) -> None:
    """No path leads nowhere."""
    mounted = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    copied = re.findall(r"^COPY (.+) \S+$", (FOLDER / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)

    assert all((FOLDER / path).exists() for path in mounted if path.startswith("."))
    assert all((FOLDER.parents[1] / path).exists() for line in copied for path in line.split())


def test_settings_are_settings(services: dict[str, Any]) -> None:
    """No variable is misspelt, and the values are taken."""
    engine, worker = services["engine"]["environment"], services["worker"]["environment"]

    known = {variable for variables in _VARIABLES.values() for variable in variables}
    assert engine.keys() <= Config.model_fields.keys()
    assert worker.keys() <= known | {"LOG_FORMAT", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SERVICE_NAME"}
    config = Config(**{name: value for name, value in engine.items() if name in Config.model_fields})
    assert config.bind_host() == ("0.0.0.0", None)


def test_prometheus_asks_where_engines_answer() -> None:
    """The path is the engine's."""
    (scrape,) = read("prometheus.yml")["scrape_configs"]

    engine = OrchestratorEngine(config=Config(API_PORT=0))
    paths = {route.resource.canonical for route in engine.app.router.routes() if route.resource is not None}
    assert scrape["metrics_path"] in paths
    assert scrape["dns_sd_configs"][0]["names"] == ["engine"]


def test_dashboard_shows_metrics_that_exist() -> None:
    """Every expression names metrics of the engine, with labels that they have."""
    dashboard = json.loads((FOLDER / "grafana/dashboards/avtomatika.json").read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    labels = PrometheusMeter().labels

    assert len(expressions) > 15
    for expression in expressions:
        for name in re.findall(r"orchestrator_\w+", expression):
            family = re.sub(r"_(total|bucket)$", "", name)
            assert family in labels, name
            used = {word.strip() for group in re.findall(r"by \((.*?)\)", expression) for word in group.split(",")}
            assert used <= {*labels[family], "le", "instance"}, expression
    assert [panel["id"] for panel in dashboard["panels"]] == list(range(1, len(dashboard["panels"]) + 1))


def test_provisioning_leads_to_the_dashboard(services: dict[str, Any]) -> None:
    """Grafana finds the folder, and the sources have the names that it uses."""
    (provider,) = read("grafana/provisioning/dashboards/avtomatika.yml")["providers"]
    sources = read("grafana/provisioning/datasources/prometheus.yml")["datasources"]

    mounts = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert {source["url"].split("//")[1].split(":")[0] for source in sources} <= services.keys()


async def test_parcels_of_the_example_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engine, worker, clients and schedules of the example work together, on storage in memory."""
    for name in Config.model_fields:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("API_HOST", "127.0.0.1")
    monkeypatch.setenv("API_PORT", "0")
    for name in ("clients", "workers", "schedules"):
        monkeypatch.setenv(f"{name.upper()}_CONFIG_PATH", str(SETTINGS / f"{name}.toml"))
    engine: OrchestratorEngine = runpy.run_path(str(FOLDER / "shop.py"))["engine"]
    worker: Worker = runpy.run_path(str(FOLDER / "packer.py"))["worker"]

    async with engine:
        worker.configure(url=engine.url, token="the-token-of-all-packers")
        async with worker, AsyncClient(engine.url, "the-token-of-the-shop") as client:
            light = await client.wait(await client.submit("/parcels", {"kg": 3}), timeout=30)
            heavy = await client.wait(await client.submit("/parcels", {"kg": 42}), timeout=30)

            label = await client.read_file(light["id"], "label.txt")

    assert light["result"] == {"box": "small", "weights": [], "label": "label.txt"}
    assert label.decode() == f"parcel {light['id']}, box small\n"
    assert (heavy["result"]["box"], sorted(heavy["result"]["weights"])) == ("large", [31, 32])


def test_bucket_that_is_made_is_the_one_that_engines_use(services: dict[str, Any]) -> None:
    """Before they start, and where they look for it."""
    made = services["bucket"]["command"][0]

    assert made.endswith(f"s3/{Config().S3_DEFAULT_BUCKET}")
    assert services["engine"]["environment"]["S3_ENDPOINT_URL"] in made
    assert services["engine"]["depends_on"]["bucket"]["condition"] == "service_completed_successfully"


def test_files_of_settings_are_good() -> None:
    """They are read by the very code that the engine uses."""
    assert [entry.name for entry in read_clients(SETTINGS / "clients.toml")] == ["shop"]
    assert [entry.covers("worker-0123456789ab") for entry in read_workers(SETTINGS / "workers.toml")] == [True]
    assert [one.blueprint for one in read_schedules(SETTINGS / "schedules.toml", Config().zone, None)] == ["parcels"]


def test_containerfile_copies_what_the_build_needs() -> None:
    """Both images install the package, so both need its build hook, and no path leads nowhere."""
    root = FOLDER.parents[1]
    for file in (root / "Containerfile", FOLDER / "Dockerfile"):
        lines = re.findall(r"^COPY (.+) \S+$", file.read_text(encoding="utf-8"), re.MULTILINE)
        copied = {path for line in lines for path in line.split()}

        assert {"pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "avtomatika", "widgets"} <= copied
        assert all((root / path).exists() for path in copied)
