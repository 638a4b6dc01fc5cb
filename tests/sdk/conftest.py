"""The official SDKs need an environment of their own, so the ordinary suite leaves them out: run make test-sdk."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("HEADROOM_SDK_PYTHON") else ["test_*.py"]
