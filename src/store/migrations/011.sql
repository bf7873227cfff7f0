-- What waits is found without a walk through a chat's history. An index over the chat's rows in order (009) is worth as
-- much to the planner as one over the few that wait, as long as both begin with the same column and go on with none that
-- the query names. These begin with all that it names.
DROP INDEX inbound_open;
CREATE INDEX inbound_open ON inbound (jid, state, seq) WHERE state IN ('pending', 'in_flight');
DROP INDEX inbound_work;
CREATE INDEX inbound_work ON inbound (jid, role, seq) WHERE state = 'pending';
DROP INDEX inbound_failed;
CREATE INDEX inbound_failed ON inbound (jid, state, seq) WHERE state = 'failed';
DROP INDEX outbox_open;
CREATE INDEX outbox_open ON outbox (jid, state, seq) WHERE state = 'pending';
DROP INDEX outbox_failed;
CREATE INDEX outbox_failed ON outbox (jid, state, seq) WHERE state = 'failed';
DROP INDEX outbox_files;
CREATE INDEX outbox_files ON outbox (jid, file_size) WHERE file_name IS NOT NULL;
DROP INDEX runs_live;
CREATE INDEX runs_live ON runs (folder, state) WHERE state IN ('starting', 'running');
-- Answers of a long turn are not walked through either: an answer is compared with what tools sent.
DROP INDEX outbox_said;
CREATE INDEX outbox_said ON outbox (jid, kind, seq) WHERE turn_open = 1 AND kind = 'message' AND file_name IS NULL;
DROP INDEX fires_open;
CREATE INDEX fires_open ON fires (folder, state, due) WHERE state IN ('claimed', 'running');
