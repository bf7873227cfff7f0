-- Files that agents send: the bytes lie in data/outbox-files/<id>/.
ALTER TABLE outbox ADD COLUMN file_name TEXT;
ALTER TABLE outbox ADD COLUMN file_size INTEGER;
CREATE INDEX outbox_files ON outbox (jid) WHERE file_name IS NOT NULL;
