"""What runs on the cluster's head for `trialsim submit`: `python -m trialsim_cli.job P.yaml --out PLACE …`.

It is `trialsim run`, whose options these are, with its results put into the log of the job.
"""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

from trialsim_cli.console import say


def main(arguments: list[str]) -> int:
    """Runs, delivers what there is, and returns the exit code of the run."""
    from trialsim_cli.main import app

    import trialsim
    from trialsim.execution.cluster.delivery import BEGIN, FILES, packed
    from trialsim.execution.storage import open_storage

    say(f"trialsim from {Path(trialsim.__file__).parent}")
    sys.argv = ["trialsim", "run", *arguments]
    said, code = io.StringIO(), 0
    try:
        with contextlib.redirect_stdout(said):
            app(sys.argv[1:], prog_name="trialsim")
    except SystemExit as exit:
        code = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
    storage = open_storage(arguments[arguments.index("--out") + 1])
    if code in (0, 5) and storage.exists("results.json"):
        files = {name: storage.read(name) for name in FILES if storage.exists(name)}
        print(f"{BEGIN}\n{said.getvalue()}{packed(files)}", end="", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
