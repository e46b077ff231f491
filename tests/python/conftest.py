"""A file whose tests were all skipped ends with status 77, which ctest counts as skipped."""
import pytest


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    stats = session.config.pluginmanager.get_plugin("terminalreporter").stats
    if exitstatus in (0, 5) and stats.get("skipped") and not stats.get("passed"):
        session.exitstatus = 77
