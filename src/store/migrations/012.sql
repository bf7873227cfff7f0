-- What a platform calls the parts of a text that have arrived there: for quotes of them, for edits and reactions.
CREATE TABLE receipts (
  delivery TEXT NOT NULL,
  part INTEGER NOT NULL,
  jid TEXT NOT NULL,
  platform_id TEXT NOT NULL,
  PRIMARY KEY (delivery, part)
);
CREATE INDEX receipts_platform ON receipts (jid, platform_id);
