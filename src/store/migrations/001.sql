-- Ids are ULIDs as text, times are milliseconds since 1970 (UTC), order is always a sequence number.

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- Every chat that ever wrote, registered or not.
CREATE TABLE chats (
  jid TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  last_activity INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE groups (
  folder TEXT PRIMARY KEY COLLATE NOCASE,
  jid TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  trigger_word TEXT,
  requires_trigger INTEGER NOT NULL DEFAULT 1,
  is_main INTEGER NOT NULL DEFAULT 0,
  container_config TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  paused_until INTEGER,
  pause_reason TEXT
) STRICT;
CREATE UNIQUE INDEX groups_one_main ON groups (is_main) WHERE is_main = 1;

-- Messages in, and how far each has come. AUTOINCREMENT: a seq is never used twice.
CREATE TABLE inbound (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  jid TEXT NOT NULL,
  platform_id TEXT NOT NULL,
  sender TEXT NOT NULL,
  sender_name TEXT NOT NULL,
  text TEXT NOT NULL,
  sent_at INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  role TEXT NOT NULL,
  state TEXT NOT NULL,
  run_id TEXT,
  input_name TEXT,
  tries INTEGER NOT NULL DEFAULT 0,
  UNIQUE (jid, platform_id)
) STRICT;
CREATE INDEX inbound_open ON inbound (jid, seq) WHERE state IN ('pending', 'in_flight');
CREATE INDEX inbound_work ON inbound (jid, seq) WHERE state = 'pending' AND role IN ('trigger', 'command');
CREATE INDEX inbound_failed ON inbound (jid, seq) WHERE state = 'failed';

CREATE TABLE sessions (
  folder TEXT PRIMARY KEY COLLATE NOCASE,
  session_id TEXT NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
  id TEXT PRIMARY KEY,
  folder TEXT NOT NULL,
  jid TEXT NOT NULL,
  lane TEXT NOT NULL,
  task_id TEXT,
  due INTEGER,
  state TEXT NOT NULL,
  container TEXT NOT NULL,
  session_id TEXT,
  started_at INTEGER NOT NULL,
  ended_at INTEGER,
  exit_code INTEGER,
  error TEXT,
  outputs INTEGER NOT NULL DEFAULT 0,
  cost_usd REAL
) STRICT, WITHOUT ROWID;
CREATE INDEX runs_live ON runs (folder) WHERE state IN ('starting', 'running');
CREATE INDEX runs_by_folder ON runs (folder, id);

CREATE TABLE tasks (
  id TEXT PRIMARY KEY,
  folder TEXT NOT NULL COLLATE NOCASE,
  jid TEXT NOT NULL,
  prompt TEXT NOT NULL,
  schedule_type TEXT NOT NULL,
  schedule_value TEXT NOT NULL,
  timezone TEXT,
  context_mode TEXT NOT NULL,
  missed TEXT NOT NULL,
  status TEXT NOT NULL,
  next_due INTEGER,
  anchor INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tasks_due ON tasks (next_due) WHERE status = 'active' AND next_due IS NOT NULL;
CREATE INDEX tasks_by_folder ON tasks (folder, status);

-- Claims and history in one: the key makes a second firing for one due time impossible.
CREATE TABLE fires (
  task_id TEXT NOT NULL,
  due INTEGER NOT NULL,
  folder TEXT NOT NULL COLLATE NOCASE,
  state TEXT NOT NULL,
  run_id TEXT,
  claimed_at INTEGER NOT NULL,
  ended_at INTEGER,
  tries INTEGER NOT NULL DEFAULT 0,
  result TEXT,
  error TEXT,
  PRIMARY KEY (task_id, due)
) STRICT, WITHOUT ROWID;
CREATE INDEX fires_open ON fires (folder, due) WHERE state IN ('claimed', 'running');

CREATE TABLE outbox (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  jid TEXT NOT NULL,
  text TEXT NOT NULL,
  sender TEXT,
  reply_to TEXT,
  kind TEXT NOT NULL,
  run_id TEXT,
  turn_open INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL,
  parts_done INTEGER NOT NULL DEFAULT 0,
  tries INTEGER NOT NULL DEFAULT 0,
  next_try INTEGER,
  last_error TEXT,
  created_at INTEGER NOT NULL,
  ended_at INTEGER
) STRICT;
CREATE INDEX outbox_open ON outbox (jid, seq) WHERE state = 'pending';
CREATE INDEX outbox_turn ON outbox (run_id, seq) WHERE turn_open = 1;
CREATE INDEX outbox_failed ON outbox (seq) WHERE state = 'failed';

-- The local API's stream. A message's text stays in the outbox and is joined when read.
CREATE TABLE events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  jid TEXT NOT NULL,
  body TEXT NOT NULL,
  outbox_id TEXT UNIQUE,
  at INTEGER NOT NULL
) STRICT;

-- IPC files already acted on: the claim's id is written in the transaction of its effect.
CREATE TABLE ipc_files (
  id TEXT PRIMARY KEY,
  folder TEXT NOT NULL,
  name TEXT NOT NULL,
  result TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE refusals (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  folder TEXT NOT NULL,
  what TEXT NOT NULL,
  why TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
