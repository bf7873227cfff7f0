-- What waits for platforms, by chat. Kept by triggers: every way in which a row's state changes counts.
CREATE TABLE outbox_load (
  jid TEXT PRIMARY KEY,
  waiting INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  -- Texts refused since the chat was told that too much waits.
  left_out INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
INSERT INTO outbox_load (jid, waiting, bytes)
  SELECT jid, count(*), sum(octet_length(text)) FROM outbox WHERE state = 'pending' GROUP BY jid;

CREATE TRIGGER outbox_put AFTER INSERT ON outbox WHEN NEW.state = 'pending' BEGIN
  INSERT INTO outbox_load (jid, waiting, bytes) VALUES (NEW.jid, 1, octet_length(NEW.text))
    ON CONFLICT (jid) DO UPDATE SET waiting = waiting + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER outbox_leaves AFTER UPDATE OF state ON outbox WHEN OLD.state = 'pending' AND NEW.state <> 'pending' BEGIN
  UPDATE outbox_load SET waiting = waiting - 1, bytes = bytes - octet_length(OLD.text) WHERE jid = OLD.jid;
END;
CREATE TRIGGER outbox_waits_again AFTER UPDATE OF state ON outbox WHEN OLD.state <> 'pending' AND NEW.state = 'pending' BEGIN
  UPDATE outbox_load SET waiting = waiting + 1, bytes = bytes + octet_length(NEW.text) WHERE jid = NEW.jid;
END;
CREATE TRIGGER outbox_removed AFTER DELETE ON outbox WHEN OLD.state = 'pending' BEGIN
  UPDATE outbox_load SET waiting = waiting - 1, bytes = bytes - octet_length(OLD.text) WHERE jid = OLD.jid;
END;
