"""Alerts: what is watched, who judges it, and what is done when it fires and when it is over."""

from toolcache.alerts.actions import Log
from toolcache.alerts.alert import Alert
from toolcache.alerts.alerts import Alerts
from toolcache.alerts.command import Command, CommandError
from toolcache.alerts.rounds import Evaluation
from toolcache.alerts.rule import AlertRule
from toolcache.alerts.sheet import Notice
from toolcache.alerts.signature import verify
from toolcache.alerts.state import AlertState
from toolcache.alerts.watched import METRICS
from toolcache.alerts.webhook import Webhook, WebhookError

__all__ = [
    "METRICS",
    "Alert",
    "AlertRule",
    "AlertState",
    "Alerts",
    "Command",
    "CommandError",
    "Evaluation",
    "Log",
    "Notice",
    "Webhook",
    "WebhookError",
    "verify",
]
