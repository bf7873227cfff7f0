-- A session belongs to the provider that made it; '' is one of before, which any provider may try.
CREATE TABLE sessions_by_provider (
  folder TEXT NOT NULL COLLATE NOCASE,
  provider TEXT NOT NULL,
  session_id TEXT NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (folder, provider)
) STRICT, WITHOUT ROWID;
INSERT INTO sessions_by_provider (folder, provider, session_id, updated_at)
  SELECT folder, '', session_id, updated_at FROM sessions;
DROP TABLE sessions;
ALTER TABLE sessions_by_provider RENAME TO sessions;
