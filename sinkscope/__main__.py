"""The installed command: `sinkscope` starts the dashboard, `sinkscope VERB …` is `python -m analysis VERB …`."""

import argparse
import sys

from sinkscope import ROOT

DASHBOARD = "dashboard"


def main() -> int:
    """Start the dashboard, or run one verb. Returns the exit code of the verb."""
    words = sys.argv[1:]
    if not words or words[0] == DASHBOARD:
        return _serve(words[1:])
    from analysis.__main__ import main as run_verb

    return run_verb(words)


def _serve(words: list[str]) -> int:
    """Serve the dashboard until it is interrupted."""
    parser = argparse.ArgumentParser(
        prog=f"sinkscope {DASHBOARD}",
        description="Start the dashboard and print its address. Further flags are those of `streamlit run`.",
    )
    parser.add_argument("--port", type=int, default=8501, help="Default: 8501.")
    options, others = parser.parse_known_args(words)
    from streamlit.web import cli

    command = ["run", str(ROOT / "app.py"), f"--server.port={options.port}", *others]
    code: int = cli.main(command, standalone_mode=False) or 0
    return code


if __name__ == "__main__":
    sys.exit(main())
