"""rgnn doctor: versions, devices, threads, and a self-test of a few seconds."""

from __future__ import annotations

from rgnn_cli.session import options


def doctor(as_json: options.Json = False) -> None:
    """Check of this installation: whether it computes what it should, and how fast.

    Example: rgnn doctor
    """
    from rgnn.base.errors import BrokenRunError
    from rgnn.doctor import environment, run_checks
    from rgnn_cli.session.session import Session

    session = Session(as_json=as_json)
    report = session.report
    facts = environment()
    report.facts("Environment", facts)
    checks = run_checks()
    shown = {c.name: f"{'[green]passed[/]' if c.passed else '[red]failed[/]'}  {c.detail}" for c in checks}
    report.facts("\nSelf-test", shown)
    session.result({"environment": facts, "checks": [vars(c) for c in checks]})
    failed = [c.name for c in checks if not c.passed]
    if failed:
        raise BrokenRunError(f"failed: {', '.join(failed)}; reinstall rgnn, and report it with the lines above.")
    report.say("All is well. Next: rgnn demo")
