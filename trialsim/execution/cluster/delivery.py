"""How results come back from a job: in its log, the one thing that every client of a cluster can read.

    -----BEGIN TRIALSIM RESULTS-----
    (what `trialsim run` has printed: for whoever reads the log)
    -----BEGIN FILES-----
    <base64 of a gzipped tar of the small files of the run's directory>
    -----END FILES <sha256 of that>-----

The simulated trials themselves stay where the job stored them.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import tarfile
import textwrap
from collections.abc import Mapping

from trialsim.errors import TrialsimError

BEGIN = "-----BEGIN TRIALSIM RESULTS-----"
FILES = ("results.json", "results.parquet", "report.html", "protocol.yaml")
_BLOCK = re.compile(r"-----BEGIN FILES-----\n([A-Za-z0-9+/=\s]*)-----END FILES ([0-9a-f]{64})-----")


def packed(files: Mapping[str, bytes]) -> str:
    """The block of lines that carries these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    content = buffer.getvalue()
    lines = "\n".join(textwrap.wrap(base64.b64encode(content).decode(), 4000))
    return f"-----BEGIN FILES-----\n{lines}\n-----END FILES {hashlib.sha256(content).hexdigest()}-----\n"


def unpacked(log: str) -> dict[str, bytes]:
    """The files a log carries; empty where it carries none. TrialsimError where they did not arrive as they were sent."""
    blocks = _BLOCK.findall(log)
    if not blocks:
        return {}
    text, sha256 = blocks[-1]
    content = base64.b64decode(text)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise TrialsimError("the results in the job's log are damaged (their checksum does not match)")
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        found = {name: archive.extractfile(name) for name in FILES if name in archive.getnames()}
        return {name: file.read() for name, file in found.items() if file is not None}
