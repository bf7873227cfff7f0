-- A message that came in is an event, too; its text stays in its own row and is joined when read.
ALTER TABLE events ADD COLUMN inbound_seq INTEGER;
