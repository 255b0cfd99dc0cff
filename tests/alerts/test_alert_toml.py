"""Alerts in TOML: what can be declared, and what an error tells of what cannot."""

import re
from pathlib import Path
from typing import Any

import pytest
from alerting import FEW, MANY, Fleet, Watcher

from toolcache import SettingsError, ToolCache
from toolcache.alerts import Alerts, Command, Log, Webhook
from toolcache.metrics.counts import LayerCounts
from toolcache.testing import AlertTester, FakeClock

EXAMPLE = Path(__file__).parents[2] / "docs/how-to/alerts.toml"
ENVIRON = {"ALERTS_SECRET": "0123456789abcdef0123", "CHAT_WEBHOOK_URL": "https://chat.example.org/T0/B0/token"}


@pytest.fixture
def alerts() -> Alerts:
    """A cache's, of which no more is used than what it declares."""
    cache = ToolCache(files=False)
    return Alerts(cache._parts, cache._machine.homes, Fleet().read, lambda _: None, lambda: ("search", "catalog"))


def test_the_example_of_the_page_loads(alerts: Alerts) -> None:
    """D3: each option of the file is that of the rule."""
    rules = {rule.name: rule for rule in alerts.load(EXAMPLE, environ=ENVIRON)}
    assert [*rules] == ["Redis is down", "few hits in search", "computing costs too much", "slow answers"]
    assert [*rules.values()] == alerts.list()
    down, few, costs, slow = rules.values()
    assert (down.metric, down.layer, down.condition, down.threshold, down.cooldown) == (
        *("down_seconds", "redis", ">", 30.0),
        3600.0,
    )
    assert (few.domain, few.threshold, few.window, few.for_, few.minimum) == ("search", 0.5, 900.0, 300.0, 200)
    assert (costs.condition, costs.threshold, costs.window) == (">", 20.0, 3600.0)
    assert [repr(action) for action in down.actions] == [
        "Webhook('https://ops.example.org/…')",
        "Webhook('https://chat.example.org/…')",
    ]
    log, command = slow.actions
    assert isinstance(log, Log)
    assert log.level == "error"
    assert isinstance(command, Command)
    assert command.timeout == 10.0
    assert alerts.actions["ops"] is down.actions[0]
    assert alerts.actions["chat"] is few.actions[0]
    assert alerts.every == 15.0


def test_the_blocks_of_the_page_load(alerts: Alerts) -> None:
    """E5: what the page shows in TOML can be declared."""
    page = (EXAMPLE.parent / "alerts.md").read_text("utf-8")
    (shown,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (rule,) = alerts.from_toml(shown, environ=ENVIRON)
    assert rule.name == "few hits in search"


def test_every_option_of_actions(alerts: Alerts) -> None:
    """D3: and how often alerts are judged."""
    alerts.from_toml(
        """
        every = "1m"
        [[alert]]
        name = "a"
        metric = "hits"
        condition = { operator = "<", threshold = 1 }
        action = [
            { type = "webhook", url = "http://example.org/", timeout = "3s", retries = 1, insecure = true },
            { type = "log" },
        ]
        """
    )
    assert alerts.every == 60.0
    (rule,) = alerts.list()
    hook, log = rule.actions
    assert isinstance(hook, Webhook)
    assert (hook.timeout, hook.retries) == (3.0, 1)
    assert isinstance(log, Log)


RULE = "[[alert]]\nname = 'few'\nmetric = 'hit_rate'\ncondition = '<'\nthreshold = 0.5\n"
ACTION = "\n[[alert.action]]\ntype = 'webhook'\n"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[[alert]", "toml: Expected"),
        ("alerts = 1", r"toml: there is no 'alerts': write every, action, alert; did you mean 'alert'\?"),
        ("alert = 1", r"toml: write \[\[alert\]\], with two brackets"),
        ("[alert]\nname = 'x'", r"toml: write \[\[alert\]\], with two brackets"),
        ("[[alert]]\nmetric = 'hits'", "toml: alert 2: name is missing: write name = 'few hits'"),
        ("[[alert]]\nname = 7", "toml: alert 2: name is missing"),
        (RULE + RULE, "toml: alert 'few': there are two of that name"),
        (RULE + "windw = '5m'", r"toml: alert 'few': there is no 'windw': .*did you mean 'window'\?"),
        (RULE + "for_ = '5m'", r"toml: alert 'few': there is no 'for_': .*did you mean 'for'\?"),
        (RULE + "window = '5'", "toml: alert 'few': window is a minute at least"),
        (RULE + "domain = 'serach'", r"toml: alert 'few': domain: 'serach' is none of .*did you mean 'search'\?"),
        (RULE.replace("hit_rate", "hitrate"), r"toml: alert 'few': metric: 'hitrate' .*did you mean 'hit_rate'\?"),
        (
            RULE + "actions = ['slak']\n[action.slack]\ntype = 'log'",
            r"alert 'few': there is no action 'slak'.*mean 'slack'\?",
        ),
        (RULE + "actions = 'log'", "toml: alert 'few': actions is a list of names"),
        (RULE + "actions = [1]", "toml: alert 'few': actions is a list of names"),
        (RULE + "action = ['log']", r"toml: alert 'few': write \[\[alert.action\]\]"),
        (
            RULE + "[[alert.action]]\nurl = 'x'",
            "toml: alert 'few': type of an action is one of webhook, log, command, not None",
        ),
        (RULE + "[[alert.action]]\ntype = 'webhok'", r"type of an action .*did you mean 'webhook'\?"),
        (RULE + ACTION, "toml: alert 'few': webhook: url, or url_env is missing"),
        (RULE + ACTION + "url = 'http://x.example/'", "toml: alert 'few': webhook: url: http to x.example can be read"),
        (RULE + ACTION + "ur = 'x'", r"webhook: there is no 'ur': write type, url, .*did you mean 'url'\?"),
        (RULE + ACTION + "secret = 'x'", "webhook: secret does not belong into a file: write secret_env"),
        (
            RULE + ACTION + "url = 'https://x.example/'\nsecret_env = 'NOT_SET'",
            "secret_env: the environment variable NOT_SET is not set",
        ),
        (
            RULE + ACTION + "url = 'https://x.example/'\nsecret_env = 7",
            "secret_env is the name of an environment variable",
        ),
        (RULE + ACTION + "url = 'https://x.example/'\nsecret_env = 'SHORT'", "webhook: secret is at least 16 bytes"),
        (RULE + ACTION + "url = 'x'\nurl_env = 'X'", "url is given twice: write url or url_env"),
        (RULE + "[[alert.action]]\ntype = 'command'", "toml: alert 'few': command: arguments is missing"),
        (RULE + "[[alert.action]]\ntype = 'command'\narguments = 'rm -r'", "command: a command is a list of texts"),
        (
            RULE + "[[alert.action]]\ntype = 'log'\nlevel = 'eror'",
            r"log: level: 'eror' is none of .*did you mean 'error'\?",
        ),
        ("[action]\nops = 1", "toml: action 'ops': an action is a table"),
        ("action = 1", r"toml: write \[action.NAME\], a table"),
        ("every = '5 minuts'", "toml: every='5 minuts' is no span of time"),
        ("every = 0.1", "toml: every is from a second to a day"),
        ("every = 1e300", "toml: every is from a second to a day"),
        ("a = " + "[" * 5_000, "toml: it is too deep"),
        ("[action.a]\ntype = ['log']", "toml: action 'a': type of an action is one of webhook, log, command"),
        (
            "[action.a]\ntype = 'command'\narguments = {a = 1}",
            "toml: action 'a': command: a command is a list of texts",
        ),
        (
            "[action.a]\ntype = 'webhook'\nurl = 'http://ops.example.org/'\ninsecure = 'false'",
            "toml: action 'a': webhook: insecure is true or false, not 'false'",
        ),
        ("[action.a]\ntype = 'webhook'\nurl = 'https://[::1'", "toml: action 'a': webhook: url is a URL such as"),
    ],
)
def test_errors_tell_where_and_what(alerts: Alerts, text: str, match: str) -> None:
    """D3: the file, the alert's name, the key, and what can be written; nothing of the file counts then."""
    good = RULE.replace("few", "good") if text.startswith("[[alert]]\n") else ""
    with pytest.raises(SettingsError, match=match) as refusal:
        alerts.from_toml(good + text, environ={"SHORT": "tooshort"})
    assert "tooshort" not in str(refusal.value)
    assert alerts.list() == []
    assert [*alerts.actions] == ["log"]
    assert alerts.every == 15.0


def test_files_that_cannot_be_read(alerts: Alerts, tmp_path: Path) -> None:
    """D3: the error names the file, as it does whatever is wrong in it."""
    with pytest.raises(SettingsError, match=r"nowhere\.toml: it cannot be read \(No such file or directory\)"):
        alerts.load(tmp_path / "nowhere.toml")
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe4'")
    with pytest.raises(SettingsError, match=r"latin\.toml: it is no UTF-8 text"):
        alerts.load(tmp_path / "latin.toml")
    (tmp_path / "alerts.toml").write_text(RULE + "windw = 1", "utf-8")
    with pytest.raises(SettingsError, match=rf"^{tmp_path}/alerts\.toml: alert 'few': there is no 'windw'"):
        alerts.load(tmp_path / "alerts.toml")
    (tmp_path / "alerts.toml").write_text(RULE, "utf-8")
    assert [rule.name for rule in alerts.load(tmp_path / "alerts.toml")] == ["few"]
    with pytest.raises(SettingsError, match=r"alerts\.toml: alert 'few': there is one of that name already"):
        alerts.load(tmp_path / "alerts.toml")


def test_variables_are_the_environments(alerts: Alerts, monkeypatch: pytest.MonkeyPatch) -> None:
    """D3: unless others are given."""
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    assert len(alerts.load(EXAMPLE)) == 4


def test_the_example_can_be_tried() -> None:
    """D3: a file of rules is tested without a cache, a server or a secret."""
    tester = AlertTester(EXAMPLE)
    tester.run("20m", domain="search", hits_memory=90, misses=10)
    assert tester.told == []
    tester.run("20m", domain="search", hits_memory=10, misses=90, dollars_spent=0.5)
    assert tester.told == [("few hits in search", "firing")]
    assert tester.firing == ["few hits in search"]
    tester.run("1m", complete=False, layers={"redis": LayerCounts(down_seconds=60.0)})
    assert tester.told[1:] == [("Redis is down", "firing")]
    tester.run("30m", domain="search", hits_memory=90, misses=10)
    assert sorted(tester.told[2:]) == [("Redis is down", "resolved"), ("few hits in search", "resolved")]


def test_a_tester_counts_and_waits_as_it_is_told(alerts: Alerts) -> None:
    """D3: its clock is that of the states; a single judgement by metrics of one's own will do, too."""
    rule = alerts.create("few hits", metric="hit_rate", condition="< 0.5", for_="1m")
    tester = AlertTester([rule], every="30s")
    begun = tester.clock.time()
    tester.judge(FEW)
    tester.clock.advance(60)
    tester.judge(FEW)
    assert tester.told == [("few hits", "firing")]
    assert tester.states["few hits"].fired_at == begun + 60
    tester.judge(MANY)
    assert tester.told[1:] == [("few hits", "resolved")]
    tester.run("30s", misses=900, complete=False)
    assert "what others have counted" in tester.states["few hits"].unjudged
    tester.rules, tester.clock = [rule._replace(agent="faq")], FakeClock(begun + 600)
    begun += 540
    tester.run("1m", agent="faq", tool="t", model="m", hits_memory=60)
    assert tester.clock.time() == begun + 120
    assert tester.states["few hits"].value == 1.0


async def test_a_tester_agrees_with_the_alerts_themselves(opened: Any, fleet: Fleet) -> None:
    """D3: what is tried is what is judged."""
    one: Watcher = await opened()
    one.create()
    tester = AlertTester(one.alerts.list(), clock=one.cache._parts.clock)  # type: ignore[arg-type]  # it is a fake one
    for metrics in (MANY, FEW, FEW, MANY, FEW):
        fleet.metrics = metrics
        await one.judge()
        tester.judge(metrics)
    assert [(alert.name, alert.status) for alert in one.told] == tester.told
    assert tester.told
