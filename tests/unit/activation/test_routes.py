"""Route files: what is wrong is refused with the file and the key."""

from __future__ import annotations

from datetime import timedelta

import pytest
from activation_world import World

from dagster_project.activation.routes import load_routes
from dagster_project.errors import UsageError
from dagster_project.settings import PROJECT_ROOT

GOOD = "route: good\nfrom: disputes_opened\nsteps:\n  - {to: slack, template: text.j2}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "colour: red\n", "route.yaml, route good: unknown key colour"),
        (GOOD.replace("text.j2", "none.j2"), "none.j2 does not exist"),
        (GOOD.replace("text.j2", "broken.j2"), "broken.j2: unexpected"),
        (GOOD.replace("slack", "fax"), "route good, step 1, to: unknown destination 'fax'"),
        (GOOD.replace("template: text.j2", "map: {a: key}"), "slack needs a template"),
        (GOOD.replace("template: text.j2", "template: text.j2, aftr: 3d"), "step 1: unknown key aftr"),
        (GOOD.replace("template: text.j2", "template: text.j2, after: soon"), "after: 'soon' is no time"),
        (GOOD + "mode: sometimes\n", "mode: 'sometimes' is none of"),
        (GOOD + "on: [charge.failed]\n", "either `from`"),
        (GOOD + "limits: {per_run: many}\n", "limits, per_run: 'many' is no number"),
        (GOOD + "limits: {perrun: 1}\n", "limits: unknown key perrun"),
        (GOOD + "when: {status: 1.5}\n", "when, status: a text"),
        (GOOD + "at: 5\n", "at: 5 is no text"),
        (GOOD + "backfill: sure\n", "backfill: 'sure' is neither"),
        (GOOD.replace("route: good", "route: Good One"), "route: a name of small letters"),
        ("- a list\n", "is no mapping"),
        ("route: [\n", "route.yaml cannot be read"),
        (GOOD + "---\n" + GOOD, "route good is in route.yaml as well"),
    ],
)
def test_a_wrong_route_is_refused_with_its_file_and_key(world: World, text: str, message: str) -> None:
    world.template("text.j2", "{{ key }}")
    world.template("broken.j2", "{{ key ")
    with pytest.raises(UsageError) as raised:
        world.write(text)
    assert message in str(raised.value)


def test_the_routes_that_are_shipped_load_and_say_that_they_start_with_the_past() -> None:
    routes = load_routes(PROJECT_ROOT / "dagster_project" / "routes")
    assert {route.name: (route.destination, route.backfill) for route in routes} == {
        "dispute_alert": ("slack", True),
        "paid_invoices": ("erp", True),
    }


def test_on_is_read_as_a_key_though_yaml_takes_it_for_true(world: World) -> None:
    [route] = world.write("route: r\non: [charge.failed]\nsteps: [{to: outbox, map: {a: key}, after: 2h}]\n")
    assert route.on == ("charge.failed",)
    assert route.steps[0].after == timedelta(hours=2)


def test_a_template_can_reach_nothing_but_its_values(world: World) -> None:
    from dagster_project.activation.render import message

    world.template("evil.j2", "{{ key.__class__.__mro__ }}")
    world.template("unknown.j2", "{{ nothing }}")
    for name in ("evil.j2", "unknown.j2"):
        with pytest.raises(UsageError, match="cannot be filled"):
            message(world.routes / "templates", name, {"key": "x"})
