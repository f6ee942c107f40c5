-- Messages of the broker as the bytes they were, found by every order they tell of; and the indexes by which
-- the story of one order is read in a ledger of millions.
SET LOCAL search_path = ledger, pg_catalog;

-- ------------------------------------------------------------------ messages
-- Until here a body was text (what the SDK had parsed, written again); its bytes and their hash stay the same.
DROP FUNCTION record_raw(text, text, text, text);
DROP INDEX raw_message_ref_idx;
ALTER TABLE raw_message
  ALTER COLUMN body TYPE bytea USING convert_to(body, 'UTF8'),
  ALTER COLUMN ref TYPE text[] USING array_remove(ARRAY[ref], ''),
  ADD COLUMN message_id uuid NOT NULL DEFAULT gen_random_uuid(),
  ADD COLUMN request text NOT NULL DEFAULT '',
  ADD COLUMN status int,
  ADD COLUMN headers jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN failure text NOT NULL DEFAULT '';
ALTER TABLE raw_message RENAME COLUMN ref TO refs;
CREATE UNIQUE INDEX raw_message_once ON raw_message (message_id, received_at);
CREATE INDEX raw_message_refs ON raw_message USING gin (refs);

-- Keep one message, once by its id: a message that comes again from the spool file changes nothing.
CREATE FUNCTION record_raw(
  p_channel text, p_direction text, p_refs text[], p_body bytea, p_request text DEFAULT '', p_status int DEFAULT NULL,
  p_headers jsonb DEFAULT '{}', p_failure text DEFAULT '', p_received_at timestamptz DEFAULT clock_timestamp(),
  p_message_id uuid DEFAULT gen_random_uuid()) RETURNS bigint
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE v bigint; h bytea := sha256(p_body); BEGIN
  INSERT INTO raw_message (received_at, channel, direction, refs, body, sha256, message_id, request, status, headers, failure)
    VALUES (p_received_at, p_channel, p_direction, p_refs, p_body, h, p_message_id, p_request, p_status, p_headers, p_failure)
    ON CONFLICT (message_id, received_at) DO NOTHING RETURNING id INTO v;
  IF NOT FOUND THEN
    SELECT id INTO STRICT v FROM raw_message WHERE message_id = p_message_id AND received_at = p_received_at;
    RETURN v;
  END IF;
  PERFORM audit('RAW', v::text, jsonb_build_object('channel', p_channel, 'direction', p_direction, 'refs', p_refs,
    'request', p_request, 'status', p_status, 'headers', p_headers, 'failure', p_failure,
    'received_at', p_received_at, 'sha256', encode(h, 'hex'))::text);
  RETURN v;
END $$;

CREATE VIEW v_messages AS
  SELECT id AS message, received_at, channel, direction, request, status, headers, failure, refs, octet_length(body) AS bytes,
         body, encode(sha256, 'hex') AS sha256
  FROM raw_message;

-- ------------------------------------------------------------------ the way to one order's story
CREATE INDEX orders_client_order_id_prefix ON orders (client_order_id varchar_pattern_ops);
CREATE INDEX orders_broker_order_id_prefix ON orders (broker_order_id varchar_pattern_ops);
CREATE INDEX orders_symbol_day ON orders (symbol, market_time);
CREATE INDEX fill_execution_id_prefix ON fill (execution_id varchar_pattern_ops);
CREATE INDEX decision_signal_id ON decision (signal_id);
CREATE INDEX signal_batch_session ON signal_batch (session);
CREATE INDEX lot_txn ON lot (txn);
CREATE INDEX lot_close_txn ON lot_close (txn);
CREATE INDEX posting_fees ON posting (txn) WHERE account = 'fees';
CREATE INDEX alert_ref ON alert (ref);
CREATE INDEX reconciliation_run_at ON reconciliation_run (at);
