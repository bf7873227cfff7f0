-- An answer is compared with what its turn sent before: few rows, whatever the chat's history.
CREATE INDEX outbox_said ON outbox (jid, seq) WHERE turn_open = 1;
