-- Files that came with a message: a JSON list of what is known of each. The bytes lie in the group's folder.
ALTER TABLE inbound ADD COLUMN attachments TEXT;
