-- The model of the day's last turn that nobody knows the price of.
ALTER TABLE usage ADD COLUMN unpriced TEXT;

-- Who of a group's providers cannot answer, and until when nobody asks again.
CREATE TABLE outages (
  folder TEXT NOT NULL COLLATE NOCASE,
  choice TEXT NOT NULL,
  until INTEGER NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (folder, choice)
) STRICT, WITHOUT ROWID;

-- Who answers instead of the group's own, as far as the chat knows.
CREATE TABLE stand_ins (
  folder TEXT PRIMARY KEY COLLATE NOCASE,
  choice TEXT NOT NULL
) STRICT, WITHOUT ROWID;
