"""Logs: one JSON object a line on standard error; journald keeps them. Never a key, a token or a customer."""

import json
import logging
from typing import Any

# What logging itself puts on a record; everything else came through `extra` and is ours to print.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """A record as JSON: level, event (the stable message), its extra fields, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        entry: dict[str, Any] = {"level": record.levelname.lower(), "event": record.getMessage()}
        entry.update({key: value for key, value in vars(record).items() if key not in _OWN | entry.keys()})
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send all logs there, as JSON lines; the libraries' chatter only from WARNING up."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for ours in ("appliance", "cloud", "till"):
        logging.getLogger(ours).setLevel(level)
