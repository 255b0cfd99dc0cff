"""The dashboard and the alerts: whatever they name is there, and they are what Grafana and Prometheus load."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from readings import fleet, process

from toolcache.exporters.prometheus import render
from toolcache.metrics.counts import LayerCounts

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana-dashboard.json").read_text("utf-8"))
GROUPS: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "prometheus-rules.yml").read_text("utf-8"))["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
COLUMNS = 24


def told() -> dict[str, dict[str, set[str]]]:
    """Of each name that Prometheus scrapes: its labels, and the values that are always the same."""
    one = fleet(process(breakers={"redis": "closed", "file": "closed"}))
    one = one._replace(layers={**one.layers, "file": LayerCounts(hits=1)})
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(render(one, namespace="shop")):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


TOLD = told()
FIXED = ("result", "layer", "kind", "state")
"""Labels whose values are known beforehand."""
RECORDED = {rule["record"]: {"namespace", "domain"} for rule in RULES if "record" in rule}


def queries() -> Iterator[tuple[str, str]]:
    """Each expression, with the place where it stands."""
    for panel in PANELS:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]
    for note in DASHBOARD["annotations"]["list"]:
        yield note["name"], note["expr"]
    for rule in RULES:
        yield rule.get("alert", rule.get("record")), rule["expr"]


def labels_of(expression: str) -> set[str]:
    """Those of the metrics that it is about."""
    names = [TOLD[name].keys() for name in re.findall(r"\btoolcache_\w+", expression)]
    recorded = [RECORDED[name] for name in re.findall(r"\btoolcache:[\w:]+", expression)]
    return set().union(*names, *recorded)


@pytest.mark.parametrize(("where", "expression"), list(queries()))
def test_what_is_asked_for_is_told(where: str, expression: str) -> None:
    """D8: each name, each label and each value of a label in an expression is one that the text for Prometheus has."""
    names = set(re.findall(r"\btoolcache_\w+", expression))
    assert names or "toolcache:" in expression, where
    assert names <= TOLD.keys()
    for name, selectors in re.findall(r"\b(toolcache_\w+)\{([^}]*)\}", expression):
        for label, match, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', selectors):
            assert label in TOLD[name], f"{where}: {name} has no label {label}"
            if label in FIXED and value:
                known = TOLD[name][label]
                wanted = set(value.split("|")) if "~" in match else {value}
                assert wanted <= known | {"replayed"}, f"{where}: {label} of {name} is none of {wanted - known}"
    for listed in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
        assert {label.strip() for label in listed.split(",")} <= labels_of(expression), where
    assert expression.count("(") == expression.count(")")
    assert expression.count("{") == expression.count("}")


@pytest.mark.parametrize("panel", [panel for panel in PANELS if "targets" in panel], ids=lambda panel: panel["title"])
def test_a_legend_names_what_is_grouped_by(panel: dict[str, Any]) -> None:
    """D8: a label in a legend is one by which the expression is grouped."""
    for target in panel["targets"]:
        named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        grouped = {
            label.strip() for listed in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in listed.split(",")
        }
        assert named <= grouped
        if panel["type"] == "timeseries" and not named:
            assert target["legendFormat"] not in {"", "__auto"}


class TestDashboard:
    def test_it_can_be_loaded_anywhere(self) -> None:
        """D8: it has a name of its own, numbers of no other installation, and the source of data is chosen in it."""
        assert DASHBOARD["uid"]
        assert DASHBOARD["title"]
        assert DASHBOARD["schemaVersion"] >= 36
        assert [one["type"] for one in DASHBOARD["templating"]["list"]] == ["datasource", "query", "query"]

        def look(node: Any) -> None:
            if isinstance(node, dict):
                assert "id" not in node or "options" in node or "value" in node, node  # but of matchers and properties
                if "datasource" in node:
                    assert node["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
                for one in node.values():
                    look(one)
            elif isinstance(node, list):
                for one in node:
                    look(one)

        look(DASHBOARD)

    def test_panels_do_not_overlap(self) -> None:
        """D8: each stands on the grid, in a place of its own, and no column is left empty beside it."""
        taken: dict[tuple[int, int], str] = {}
        for panel in PANELS:
            at = panel["gridPos"]
            assert at["x"] + at["w"] <= COLUMNS
            for x in range(at["x"], at["x"] + at["w"]):
                for y in range(at["y"], at["y"] + at["h"]):
                    assert (x, y) not in taken, f"{panel['title']} lies upon {taken[x, y]}"
                    taken[x, y] = panel["title"]
        assert len(taken) == COLUMNS * (max(y for _, y in taken) + 1)

    def test_a_person_can_read_it(self) -> None:
        """D8: each panel has a title of its own and says what it shows; a number has a unit."""
        shown = [panel for panel in PANELS if panel["type"] != "row"]
        assert len({panel["title"] for panel in shown}) == len(shown) > 20
        for panel in shown:
            assert panel["description"].endswith("."), panel["title"]
            if panel["type"] != "alertlist":
                assert panel["fieldConfig"]["defaults"]["unit"]
                assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0


class TestAlerts:
    def test_each_says_what_is_the_matter(self) -> None:
        """D8: names are of one kind and each once, with how grave it is, what it means and what to look at."""
        alerts = [rule for rule in RULES if "alert" in rule]
        assert len({rule["alert"] for rule in alerts}) == len(alerts) > 8
        for rule in alerts:
            assert rule["alert"].startswith("Toolcache")
            assert rule["labels"]["severity"] in {"info", "warning", "critical"}
            assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
            assert rule["annotations"].keys() == {"summary", "description"}
            for named in re.findall(r"\$labels\.(\w+)", str(rule["annotations"])):
                by = re.search(r"by \(([^)]*)\)", rule["expr"])
                assert named in (by[1] if by else ""), rule["alert"]

    def test_the_dashboard_lists_them(self) -> None:
        """D8: the list of alerts on the dashboard is of these names."""
        (shown,) = [panel for panel in PANELS if panel["type"] == "alertlist"]
        assert all(shown["options"]["alertName"] in rule["alert"] for rule in RULES if "alert" in rule)


def test_the_readme_puts_files_in_place_that_are_there() -> None:
    """D8: its two commands name the files of the folder, all of them."""
    text = (DEPLOY / "README.md").read_text("utf-8")
    named = re.findall(r"^cp deploy/(\S+) /", text, re.MULTILINE)
    assert sorted(named) == sorted(path.name for path in DEPLOY.iterdir() if path.suffix != ".md")
