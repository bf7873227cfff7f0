-- What turns used, by group and day of the host's zone.
CREATE TABLE usage (
  folder TEXT NOT NULL COLLATE NOCASE,
  -- YYYY-MM-DD
  day TEXT NOT NULL,
  turns INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  cache_read_tokens INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL,
  cost_usd REAL NOT NULL,
  -- The chat knows that the day's budget is used up.
  told INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (folder, day)
) STRICT, WITHOUT ROWID;

ALTER TABLE runs ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0;
