"""rgnn doctor: versions, devices, threads, and a self-test of a few seconds."""

from __future__ import annotations

from rgnn_cli.session import options


def doctor(as_json: options.Json = False) -> None:
    """Check that this installation computes what it should, and how fast.

    Example: rgnn doctor
    """
    from rgnn.base.errors import BrokenRunError
    from rgnn.doctor import Environment, run_checks
    from rgnn_cli.session.session import Session
    from rgnn_cli.show import doctor as show

    session = Session(as_json=as_json)
    environment = Environment.here()
    show.environment(session.report, environment)
    checks = run_checks()
    show.checks(session.report, checks)
    session.result({"environment": environment.to_mapping(), "checks": [check.to_mapping() for check in checks]})
    failed = [check.name for check in checks if not check.passed]
    if failed:
        raise BrokenRunError(f"failed: {', '.join(failed)}; reinstall rgnn, and report it with the lines above.")
    session.report.say("All is well. Next: rgnn demo")
