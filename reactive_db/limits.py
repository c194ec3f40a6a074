"""The named limits: past each one comes a clear error or slower delivery, never lost data or unbounded memory.

The figures follow Convex where it has one, because notebooks that move between the two should not be surprised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """What one transaction may use. Pass another to `rdb.connect(limits=…)`.

    Past `retries_max` lost races a mutation that runs away from its store gets a turn of its own; beside the store it
    does so after the first.
    """

    function_seconds: float = 10.0
    documents_read_max: int = 32_000
    documents_written_max: int = 16_000
    bytes_written_max: int = 16 * 2**20
    key_ranges_max: int = 4_096
    retries_max: int = 5


# Documents and schemas.
DOCUMENT_BYTES_MAX: Final = 2**20
NESTING_MAX: Final = 16
ARRAY_LENGTH_MAX: Final = 8_192
OBJECT_FIELDS_MAX: Final = 1_024
FIELD_NAME_LENGTH_MAX: Final = 64
RECORD_KEY_LENGTH_MAX: Final = 1_024
NAME_LENGTH_MAX: Final = 64
INDEXES_PER_TABLE_MAX: Final = 32
INDEX_FIELDS_MAX: Final = 16
POLICY_RULES_MAX: Final = 16
TABLES_MAX: Final = 1_000
DEFINITION_PARTS_MAX: Final = 20_000
DEFINITION_PATTERN_BYTES_MAX: Final = 2_048
OFFENDERS_NAMED_MAX: Final = 5

# The engine: recent commits kept for validation, and documents waiting for the columns.
WRITE_LOG_COMMITS_MAX: Final = 10_000
UNFLUSHED_WRITES_MAX: Final = 200_000
FLUSH_INTERVAL_SECONDS: Final = 0.5
HISTORY_ROWS_MAX: Final = 5_000_000

# Reactivity.
CACHED_QUERIES_MAX: Final = 1_000
OBSERVER_ROUNDS_MAX: Final = 1_000
PAGE_ITEMS_MAX: Final = 8_192

# What `db.inspect()` shows.
INSPECTED_DOCUMENTS_MAX: Final = 200
INSPECTED_QUERIES_MAX: Final = 1_000
INSPECTED_COMMITS_MAX: Final = 200
LOST_RACES_MAX: Final = 200

# Live outputs of a notebook. The server drops a kernel's messages above 1,000 a second, whoever sent them.
LIVE_OUTPUTS_MAX: Final = 200
LIVE_READS_MAX: Final = 10_000
LIVE_PARTS_MAX: Final = 1_000
LIVE_TEXT_CHARACTERS_MAX: Final = 1_000_000
LIVE_ROUNDS_MAX: Final = 100
LIVE_SETTLE_SECONDS_MAX: Final = 10.0
LIVE_UPDATES_PER_SECOND_MAX: Final = 400
LIVE_UPDATE_INTERVAL_SECONDS: Final = 0.05

# Widgets, and what the notebook's pages are told by number.
PUSH_INTERVAL_SECONDS: Final = 0.05
TAIL_SECONDS: Final = (1.0, 5.0, 20.0)
CHART_ROWS_MAX: Final = 5_000
PAGER_PAGES_MAX: Final = 100
PRESENT_SHOWN_MAX: Final = 100

# Tables. Past 500,000 rows of 28 pixels, browsers cannot scroll any more.
TABLE_ROWS_MAX: Final = 500_000
TABLE_FIRST_ROWS: Final = 30
TABLE_WINDOW_ROWS_MAX: Final = 200
TABLE_VIEWS_MAX: Final = 16
TABLE_NUMBERED_ROWS_MAX: Final = 10_000
TABLE_SAMPLE_ROWS: Final = 500
TABLE_CELL_CHARACTERS_MAX: Final = 1_000
TABLE_FILTER_CHARACTERS_MAX: Final = 200
TABLE_SELECTED_MAX: Final = 10_000

# Forms. A page sends its files as base64 text.
FORM_FIELDS_MAX: Final = 500
FORM_CHOICES_MAX: Final = 1_000
FORM_FILE_BYTES_MAX: Final = 2**20

# SQL from clients. It runs in processes of its own; each may hold the memory twice: DuckDB does not count everything.
CLIENT_SQL_AT_ONCE_MAX: Final = 2
CLIENT_SQL_SECONDS_MAX: Final = 10.0
CLIENT_SQL_MEMORY_BYTES_MAX: Final = 512 * 2**20
CLIENT_SQL_READ_BYTES_MAX: Final = 256 * 2**20
CLIENT_SQL_RESULT_BYTES_MAX: Final = 16 * 2**20
CLIENT_SQL_CHARACTERS_MAX: Final = 100_000
CLIENT_SQL_START_SECONDS_MAX: Final = 60.0

# Sync: what one connection may ask for, and what waits for it. Servers close a connection whose message is larger than
# 10 MiB, unless they are told otherwise.
MESSAGE_BYTES: Final = 4 * 2**20
CONNECT_SECONDS_MAX: Final = 15.0
RECONNECT_SECONDS_MAX: Final = 5.0
READ_DOCUMENTS_MAX: Final = 1_024
SESSIONS_MAX: Final = 2_000
SESSION_DAYS_MAX: Final = 14
SESSION_RANGES_MAX: Final = 20_000
REPLICA_RANGES_MAX: Final = 10_000
REPLICA_DOCUMENTS_MAX: Final = 200_000
OUTBOX_MUTATIONS_MAX: Final = 1_000
REBASES_MAX: Final = 2_000
OPTIMISTIC_COMMITS_MAX: Final = 200
SESSION_REQUESTS_MAX: Final = 256
SESSION_REQUESTS_BYTES_MAX: Final = 64 * 2**20
SESSION_UNSENT_MAX: Final = 2
SESSION_UNSENT_BYTES_MAX: Final = 64 * 2**20
FLUSHED_AT_ONCE_MAX: Final = 4
FLUSHED_IN_A_ROW_MAX: Final = 50
SHARED_FRAMES_MAX: Final = 8
TRANSITION_DOCUMENTS_MAX: Final = 20_000
TURN_SECONDS_MAX: Final = 1.0
BROWSE_TRIES_MAX: Final = 5
LOAD_DOCUMENTS_MAX: Final = 2_000_000
LOAD_BYTES_MAX: Final = 2**30
SQL_RESULTS_MAX: Final = 100
SQL_TRIES_MAX: Final = 5

# Servers: of one connection, and of one server. JupyterHub is asked anew so often what those who are connected may.
FRAME_BYTES_MAX: Final = 32 * 2**20
PROOF_SECONDS_MAX: Final = 10.0
PROOF_BYTES_MAX: Final = 1_024
LOGIN_DAYS_MAX: Final = 1.0
CONNECTIONS_MAX: Final = 2_000
STORES_OPEN_MAX: Final = 100
STORE_NAME_LENGTH_MAX: Final = 60
HUB_RECHECK_SECONDS: Final = 60.0
SHUTDOWN_SECONDS_MAX: Final = 5.0

# What a server remembers of each store, to be looked at.
FAILURES_KEPT_MAX: Final = 100
FAILURE_CHARACTERS_MAX: Final = 500
SOURCES_COUNTED_MAX: Final = 500
SESSIONS_SHOWN_MAX: Final = 200
