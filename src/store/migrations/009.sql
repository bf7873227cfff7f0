-- What a message answers, as JSON.
ALTER TABLE inbound ADD COLUMN quoted TEXT;
-- Both directions of a conversation are read by chat.
CREATE INDEX inbound_by_chat ON inbound (jid, seq);
CREATE INDEX outbox_by_chat ON outbox (jid, seq);
-- Up to where a chat's agent knows what was said there outside its session.
CREATE TABLE told (jid TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO told (jid, seq) SELECT jid, max(seq) FROM outbox GROUP BY jid;
