-- Functions of the ledger: the only way its executor side is written, each with its audit entry in
-- the same transaction. All run with a pinned search_path.
SET LOCAL search_path = ledger, pg_catalog;

-- ------------------------------------------------------------------ audit chain
INSERT INTO audit_head (one, seq, hash) VALUES (true, 0, sha256(convert_to('sallyport:genesis', 'UTF8')));

-- Length-prefixed fields make the encoding injective; microseconds since the epoch keep locale and
-- time zone out of the hash; the body is hashed as stored, never re-serialised.
CREATE FUNCTION audit_hash(p_seq bigint, p_at timestamptz, p_actor text, p_kind text, p_ref text,
                           p_body text, p_prev bytea) RETURNS bytea
IMMUTABLE LANGUAGE sql SET search_path = ledger, pg_catalog AS $$
  SELECT sha256(p_prev || convert_to(concat_ws('|', p_seq, (extract(epoch FROM p_at) * 1000000)::bigint,
    octet_length(p_actor), p_actor, octet_length(p_kind), p_kind, octet_length(p_ref), p_ref,
    octet_length(p_body), p_body), 'UTF8')) $$;

CREATE FUNCTION audit(p_kind text, p_ref text, p_body text) RETURNS bigint
LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
DECLARE s bigint; previous bytea; link bytea; t timestamptz := clock_timestamp();
BEGIN
  SELECT seq + 1, hash INTO STRICT s, previous FROM audit_head FOR UPDATE;
  link := audit_hash(s, t, session_user::text, p_kind, p_ref, p_body, previous);
  INSERT INTO audit_log (seq, at, actor, kind, ref, body, prev_hash, hash)
    VALUES (s, t, session_user, p_kind, p_ref, p_body, previous, link);
  UPDATE audit_head SET seq = s, hash = link;
  RETURN s;
END $$;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
BEGIN RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'LF003'; END $$;

DO $$ DECLARE t text; BEGIN
  FOREACH t IN ARRAY ARRAY['audit_log', 'decision', 'fill', 'posting', 'approval', 'limit_version',
                           'equity_mark', 'reconciliation_run', 'reconciliation_break', 'signal',
                           'validation_run', 'data_set', 'risk_snapshot'] LOOP
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION refuse_change()', t);
    EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', t);
  END LOOP;
  FOREACH t IN ARRAY ARRAY['orders', 'book', 'audit_head', 'signal_batch', 'model_version'] LOOP
    EXECUTE format('CREATE TRIGGER keep_rows BEFORE DELETE ON %I FOR EACH ROW EXECUTE FUNCTION refuse_change()', t);
  END LOOP;
END $$;

-- ------------------------------------------------------------------ order life cycle
-- The same table as executor/core/orders.py; a test keeps the two equal.
INSERT INTO order_edge (before, after) VALUES
  ('INTENT', 'SENDING'), ('INTENT', 'VOID'),
  ('SENDING', 'LIVE'), ('SENDING', 'DONE'), ('SENDING', 'REJECTED'), ('SENDING', 'UNKNOWN'),
  ('UNKNOWN', 'LIVE'), ('UNKNOWN', 'DONE'), ('UNKNOWN', 'REJECTED'), ('UNKNOWN', 'SENDING'),
  ('UNKNOWN', 'EXPIRED_UNSENT'),
  ('LIVE', 'CANCELING'), ('LIVE', 'DONE'), ('LIVE', 'REJECTED'),
  ('CANCELING', 'LIVE'), ('CANCELING', 'DONE'), ('CANCELING', 'REJECTED');

CREATE FUNCTION guard_order() RETURNS trigger LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
BEGIN
  IF NEW.state <> OLD.state
     AND NOT EXISTS (SELECT 1 FROM order_edge WHERE before = OLD.state AND after = NEW.state) THEN
    RAISE EXCEPTION 'order %: transition % -> % is not allowed', OLD.client_order_id, OLD.state, NEW.state
      USING ERRCODE = 'LF002';
  END IF;
  IF (NEW.client_order_id, NEW.signal_id, NEW.leg, NEW.symbol, NEW.side, NEW.qty, NEW.limit_price,
      NEW.order_type, NEW.time_in_force, NEW.decision_seq)
     IS DISTINCT FROM (OLD.client_order_id, OLD.signal_id, OLD.leg, OLD.symbol, OLD.side, OLD.qty,
      OLD.limit_price, OLD.order_type, OLD.time_in_force, OLD.decision_seq) THEN
    RAISE EXCEPTION 'order %: its terms never change', OLD.client_order_id USING ERRCODE = 'LF002';
  END IF;
  IF NEW.filled_qty < OLD.filled_qty THEN
    RAISE EXCEPTION 'order %: fills only grow', OLD.client_order_id USING ERRCODE = 'LF002';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION guard_order();

CREATE FUNCTION guard_balance() RETURNS trigger LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM posting WHERE txn = NEW.txn GROUP BY asset HAVING sum(amount) <> 0) THEN
    RAISE EXCEPTION 'transaction % does not balance', NEW.txn USING ERRCODE = 'LF002';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER balanced AFTER INSERT ON posting DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION guard_balance();

-- ------------------------------------------------------------------ fencing and time
-- Session time: a replay's market clock is the replayed one; anywhere else the database's own clock
-- decides, whatever the caller says.
CREATE FUNCTION market_now(p_claimed timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = ledger, pg_catalog AS $$
  SELECT CASE WHEN environment = 'replay' THEN p_claimed ELSE clock_timestamp() END FROM book $$;

CREATE FUNCTION fence(p_epoch int) RETURNS void
LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
DECLARE e int; BEGIN
  SELECT epoch INTO STRICT e FROM book FOR UPDATE;
  IF e <> p_epoch THEN
    RAISE EXCEPTION 'fenced: epoch % has been taken over by epoch %', p_epoch, e USING ERRCODE = 'LF001';
  END IF;
END $$;

CREATE FUNCTION take_over(p_account text, p_holder text) RETURNS int
LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
DECLARE b book%ROWTYPE; BEGIN
  SELECT * INTO STRICT b FROM book FOR UPDATE;
  IF b.account IS NOT NULL AND b.account <> p_account THEN
    RAISE EXCEPTION 'this ledger belongs to account %, the broker key to account %', b.account, p_account
      USING ERRCODE = 'LF002';
  END IF;
  UPDATE book SET epoch = epoch + 1, holder = p_holder, account = p_account,
    heartbeat_at = clock_timestamp() RETURNING * INTO b;
  PERFORM audit('EPOCH', b.epoch::text, jsonb_build_object('account', p_account, 'holder', p_holder)::text);
  RETURN b.epoch;
END $$;

CREATE FUNCTION heartbeat(p_epoch int, p_market_time timestamptz, p_feed_age_ms int)
RETURNS TABLE (mode text, killed boolean, flatten boolean, limit_version int)
LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
BEGIN
  PERFORM fence(p_epoch);
  UPDATE book SET heartbeat_at = clock_timestamp(), market_time = p_market_time, feed_age_ms = p_feed_age_ms;
  RETURN QUERY SELECT b.mode::text, b.killed, b.flatten,
    (SELECT max(v.version) FROM limit_version v WHERE v.effective_from <= clock_timestamp()) FROM book b;
END $$;

-- ------------------------------------------------------------------ modes
CREATE FUNCTION mode_rank(p_mode text) RETURNS int IMMUTABLE LANGUAGE sql AS $$
  SELECT array_position(ARRAY['READY', 'REDUCING', 'CLOSE_ONLY', 'FLATTENING', 'HALTED'], p_mode) $$;

-- The executor can only tighten; loosening is rearm(), a person's act.
CREATE FUNCTION tighten(p_epoch int, p_mode text, p_reason text) RETURNS text
LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
DECLARE present text; BEGIN
  PERFORM fence(p_epoch);
  SELECT mode INTO STRICT present FROM book;
  IF mode_rank(p_mode) <= mode_rank(present) THEN RETURN present; END IF;
  UPDATE book SET mode = p_mode, mode_reason = p_reason, mode_since = clock_timestamp();
  PERFORM audit('MODE', p_mode, jsonb_build_object('from', present, 'reason', p_reason)::text);
  RETURN p_mode;
END $$;

CREATE FUNCTION kill(p_who text, p_reason text, p_flatten boolean) RETURNS bigint
LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
BEGIN
  IF p_reason = '' THEN RAISE EXCEPTION 'a kill needs a reason' USING ERRCODE = 'LF002'; END IF;
  UPDATE book SET killed = true, flatten = flatten OR p_flatten,
    mode = CASE WHEN flatten OR p_flatten THEN 'FLATTENING' ELSE 'HALTED' END,
    mode_reason = 'kill: ' || p_reason, mode_since = clock_timestamp();
  INSERT INTO alert (id, at, severity, kind, title, body, ref, attempts, last_error)
    VALUES (gen_random_uuid(), clock_timestamp(), 'critical', 'kill', 'Kill switch pressed by ' || p_who,
            p_reason || CASE WHEN p_flatten THEN ' (flatten)' ELSE '' END, '', 0, '');
  RETURN audit('KILL', p_who, jsonb_build_object('reason', p_reason, 'flatten', p_flatten)::text);
END $$;

CREATE FUNCTION rearm(p_who text, p_reason text) RETURNS bigint
LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
DECLARE b book%ROWTYPE; ok boolean; BEGIN
  IF p_reason = '' THEN RAISE EXCEPTION 'a re-arm needs a reason' USING ERRCODE = 'LF002'; END IF;
  SELECT * INTO STRICT b FROM book FOR UPDATE;
  IF NOT b.killed AND b.mode = 'READY' THEN
    RAISE EXCEPTION 'nothing to re-arm: mode is READY and not killed' USING ERRCODE = 'LF002';
  END IF;
  SELECT matched INTO ok FROM reconciliation_run ORDER BY at DESC LIMIT 1;
  IF ok IS FALSE THEN
    RAISE EXCEPTION 'the last reconciliation has open breaks; resolve them and run executor reconcile first'
      USING ERRCODE = 'LF002';
  END IF;
  UPDATE book SET killed = false, flatten = false, mode = 'READY', mode_reason = 're-armed: ' || p_reason,
    mode_since = clock_timestamp();
  RETURN audit('REARM', p_who, jsonb_build_object('reason', p_reason, 'from', b.mode, 'was_killed', b.killed)::text);
END $$;

-- ------------------------------------------------------------------ signal hand-off
CREATE FUNCTION claim_batch(p_epoch int, p_market_time timestamptz) RETURNS uuid
LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
DECLARE t timestamptz := market_now(p_market_time); b record; BEGIN
  PERFORM fence(p_epoch);
  FOR b IN SELECT s.id, s.valid_until FROM signal_batch s WHERE s.state IN ('PROPOSED', 'APPROVED') AND s.valid_until <= t
           FOR UPDATE SKIP LOCKED LOOP
    UPDATE signal_batch SET state = 'EXPIRED' WHERE id = b.id;
    PERFORM audit('BATCH', b.id::text, jsonb_build_object('state', 'EXPIRED', 'valid_until', b.valid_until)::text);
    INSERT INTO alert (id, at, severity, kind, title, body, ref, attempts, last_error)
      VALUES (gen_random_uuid(), clock_timestamp(), 'warning', 'batch_expired', 'Signal batch expired unused',
        format('Batch %s was valid until %s; propose and approve a new one.', b.id, b.valid_until), b.id::text, 0, '');
  END LOOP;
  SELECT s.id INTO b FROM signal_batch s JOIN approval a ON a.batch_id = s.id
    WHERE s.state = 'APPROVED' AND a.verdict = 'approved' AND a.content_hash = s.content_hash
      AND s.environment = (SELECT environment FROM book) AND s.valid_from <= t AND s.valid_until > t
    ORDER BY s.proposed_at LIMIT 1 FOR UPDATE OF s SKIP LOCKED;
  IF NOT FOUND THEN RETURN NULL; END IF;
  UPDATE signal_batch SET state = 'CLAIMED' WHERE id = b.id;
  PERFORM audit('BATCH', b.id::text, jsonb_build_object('state', 'CLAIMED', 'epoch', p_epoch)::text);
  RETURN b.id;
END $$;

CREATE FUNCTION finish_batch(p_epoch int, p_batch uuid, p_note text) RETURNS void
LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
BEGIN
  PERFORM fence(p_epoch);
  UPDATE signal_batch SET state = 'DONE', note = p_note WHERE id = p_batch AND state = 'CLAIMED';
  IF FOUND THEN
    PERFORM audit('BATCH', p_batch::text, jsonb_build_object('state', 'DONE', 'note', p_note)::text);
  END IF;
END $$;

-- ------------------------------------------------------------------ exposure and intent
-- Worst case over every subset of the open and unknown orders filling, symbol by symbol.
CREATE VIEW open_order AS
  SELECT client_order_id, symbol, side, qty - filled_qty AS remaining, limit_price, state FROM orders
  WHERE state NOT IN ('DONE', 'REJECTED', 'VOID', 'EXPIRED_UNSENT');

CREATE VIEW exposure AS
  SELECT symbol, sum(q) AS position, sum(b) AS open_buys, sum(s) AS open_sells, max(px) AS price,
         greatest(abs(sum(q) + sum(b)), abs(sum(q) - sum(s))) * max(px) AS worst_notional
  FROM (SELECT symbol, qty AS q, 0 AS b, 0 AS s, coalesce(mark_price, average_price) AS px FROM position WHERE qty <> 0
        UNION ALL
        SELECT symbol, 0, CASE side WHEN 'buy' THEN remaining ELSE 0 END,
               CASE side WHEN 'sell' THEN remaining ELSE 0 END, limit_price FROM open_order) parts
  GROUP BY symbol;

CREATE FUNCTION current_limit(p_name text) RETURNS numeric
LANGUAGE plpgsql STABLE SET search_path = ledger, pg_catalog AS $$
DECLARE v numeric; BEGIN
  SELECT (limits ->> p_name)::numeric INTO v FROM limit_version
    WHERE effective_from <= clock_timestamp() ORDER BY version DESC LIMIT 1;
  IF v IS NULL THEN
    RAISE EXCEPTION 'limit % is not set: no order can be placed', p_name USING ERRCODE = 'LF002';
  END IF;
  RETURN v;
END $$;

CREATE FUNCTION record_decision(p_epoch int, p jsonb, p_verdict text, p_reason text) RETURNS bigint
LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
DECLARE s bigint; body text; BEGIN
  body := (p || jsonb_build_object('verdict', p_verdict, 'reason', p_reason, 'epoch', p_epoch))::text;
  s := audit(CASE p_verdict WHEN 'accepted' THEN 'DECISION' ELSE 'REFUSAL' END,
             coalesce(p ->> 'client_order_id', p ->> 'symbol'), body);
  INSERT INTO decision (seq, at, market_time, epoch, batch_id, signal_id, client_order_id, symbol, verdict,
                        reason, limit_version, inputs, checks)
    VALUES (s, clock_timestamp(), (p ->> 'market_time')::timestamptz, p_epoch, (p ->> 'batch_id')::uuid,
            (p ->> 'signal_id')::uuid, p ->> 'client_order_id', p ->> 'symbol', p_verdict, p_reason,
            (p ->> 'limit_version')::int, p -> 'inputs', p -> 'checks');
  RETURN s;
END $$;

-- A refusal of the gate, kept with all it was decided on.
CREATE FUNCTION refuse(p_epoch int, p jsonb, p_reason text) RETURNS bigint
LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
BEGIN PERFORM fence(p_epoch); RETURN record_decision(p_epoch, p, 'refused', p_reason); END $$;

-- The second door: decision, intent and reservation in one transaction, or a refusal that is recorded.
-- Returns {"ok": bool, "reason": text, "seq": n}.
CREATE FUNCTION place(p_epoch int, p jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
DECLARE
  b book%ROWTYPE; batch signal_batch%ROWTYPE; cid text := p ->> 'client_order_id'; why text; s bigint;
  v_symbol text := p ->> 'symbol'; v_side text := p ->> 'side'; v_qty numeric := (p ->> 'qty')::numeric;
  v_limit numeric := (p ->> 'limit_price')::numeric; held numeric; same_side numeric; reducing boolean;
  v_equity numeric; gross numeric; name_after numeric; t timestamptz;
BEGIN
  PERFORM fence(p_epoch);                                    -- locks the book: one decision at a time
  SELECT * INTO STRICT b FROM book;
  SELECT decision_seq INTO s FROM orders WHERE client_order_id = cid;
  IF FOUND THEN RETURN jsonb_build_object('ok', true, 'reason', 'already placed', 'seq', s); END IF;
  t := market_now((p ->> 'market_time')::timestamptz);

  SELECT coalesce(sum(qty), 0) INTO held FROM position WHERE symbol = v_symbol;
  SELECT coalesce(sum(remaining), 0) INTO same_side FROM open_order WHERE symbol = v_symbol AND side = v_side;
  reducing := CASE v_side WHEN 'sell' THEN held > 0 AND v_qty + same_side <= held
                          ELSE held < 0 AND v_qty + same_side <= -held END;

  IF b.killed AND NOT (b.mode = 'FLATTENING' AND reducing) THEN why := 'killed';
  ELSIF b.mode = 'HALTED' THEN why := 'mode HALTED';
  ELSIF b.mode IN ('CLOSE_ONLY', 'FLATTENING') AND NOT reducing THEN why := 'mode ' || b.mode || ' takes only reducing orders';
  END IF;

  IF why IS NULL AND (p ->> 'purpose') = 'flatten' AND NOT reducing THEN why := 'a flatten order must reduce'; END IF;
  IF why IS NULL AND (p ->> 'purpose') <> 'flatten' THEN
    SELECT sb.* INTO batch FROM signal_batch sb JOIN signal g ON g.batch_id = sb.id
      WHERE g.id = (p ->> 'signal_id')::uuid AND g.symbol = v_symbol;
    IF NOT FOUND THEN why := 'no such signal for ' || v_symbol;
    ELSIF batch.state <> 'CLAIMED' THEN why := 'batch is ' || batch.state || ', not CLAIMED';
    ELSIF NOT EXISTS (SELECT 1 FROM approval a WHERE a.batch_id = batch.id AND a.verdict = 'approved'
                      AND a.content_hash = batch.content_hash) THEN why := 'batch is not approved';
    ELSIF batch.environment <> b.environment THEN why := 'batch is for environment ' || batch.environment;
    ELSIF t < batch.valid_from OR t >= batch.valid_until THEN
      why := format('batch is valid from %s to %s, market time is %s', batch.valid_from, batch.valid_until, t);
    END IF;
  END IF;

  IF why IS NULL AND NOT reducing THEN
    IF v_qty * v_limit > current_limit('order_notional_usd') THEN
      why := format('order notional %s over %s', v_qty * v_limit, current_limit('order_notional_usd'));
    ELSE
      SELECT e.equity INTO v_equity FROM equity_mark e ORDER BY id DESC LIMIT 1;
      IF v_equity IS NULL OR v_equity <= 0 THEN why := 'equity is unknown';
      ELSE
        SELECT coalesce(sum(worst_notional), 0) + v_qty * v_limit INTO gross FROM exposure;
        SELECT coalesce(max(worst_notional), 0) + v_qty * v_limit INTO name_after FROM exposure WHERE symbol = v_symbol;
        IF gross > current_limit('gross') * v_equity THEN
          why := format('worst-case gross %s over %s', gross, current_limit('gross') * v_equity);
        ELSIF name_after > current_limit('single_name') * v_equity THEN
          why := format('worst-case %s %s over %s', v_symbol, name_after, current_limit('single_name') * v_equity);
        END IF;
      END IF;
    END IF;
  END IF;

  IF why IS NOT NULL THEN
    s := record_decision(p_epoch, p, 'refused', 'ledger: ' || why);
    RETURN jsonb_build_object('ok', false, 'reason', why, 'seq', s);
  END IF;
  s := record_decision(p_epoch, p, 'accepted', coalesce(p ->> 'reason', ''));
  INSERT INTO orders (client_order_id, signal_id, leg, batch_id, purpose, decision_seq, epoch, symbol, side, qty,
      order_type, limit_price, time_in_force, state, filled_qty, filled_notional, reason, arrival_price,
      cost_estimate, created_at, updated_at, market_time)
    VALUES (cid, (p ->> 'signal_id')::uuid, (p ->> 'leg')::int, (p ->> 'batch_id')::uuid, p ->> 'purpose', s,
      p_epoch, v_symbol, v_side, v_qty, p ->> 'order_type', v_limit, p ->> 'time_in_force', 'INTENT', 0, 0, '',
      (p ->> 'arrival_price')::numeric, p -> 'cost_estimate', clock_timestamp(), clock_timestamp(),
      (p ->> 'market_time')::timestamptz);
  RETURN jsonb_build_object('ok', true, 'reason', '', 'seq', s);
END $$;

-- ------------------------------------------------------------------ evidence
CREATE FUNCTION set_state(p_epoch int, p_cid text, p_state text, p_broker_id text, p_broker_status text,
                          p_reason text) RETURNS text
LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
DECLARE o orders%ROWTYPE; BEGIN
  PERFORM fence(p_epoch);
  SELECT * INTO o FROM orders WHERE client_order_id = p_cid FOR UPDATE;
  IF NOT FOUND THEN RAISE EXCEPTION 'no order %', p_cid USING ERRCODE = 'LF002'; END IF;
  -- Last look before the bytes leave: a kill between intent and send withdraws the intent.
  IF o.state = 'INTENT' AND p_state = 'SENDING' AND o.purpose <> 'flatten' AND (SELECT killed FROM book) THEN
    p_state := 'VOID'; p_reason := 'killed before it was sent';
  END IF;
  -- The same evidence seen twice changes nothing and is not recorded twice.
  IF o.state = p_state AND o.broker_status IS NOT DISTINCT FROM coalesce(p_broker_status, o.broker_status)
     AND o.broker_order_id IS NOT DISTINCT FROM coalesce(p_broker_id, o.broker_order_id) THEN RETURN o.state; END IF;
  UPDATE orders SET state = p_state, broker_order_id = coalesce(p_broker_id, broker_order_id),
    broker_status = coalesce(p_broker_status, broker_status), reason = p_reason, updated_at = clock_timestamp()
    WHERE client_order_id = p_cid;
  PERFORM audit('STATE', p_cid, jsonb_build_object('from', o.state, 'to', p_state, 'broker_id', p_broker_id,
    'broker_status', p_broker_status, 'reason', p_reason)::text);
  RETURN p_state;
END $$;

CREATE FUNCTION move_position(p_symbol text, p_delta numeric, p_price numeric) RETURNS void
LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
DECLARE h position%ROWTYPE; closed numeric; after numeric; BEGIN
  INSERT INTO position (symbol, qty, average_price, realised_pnl, updated_at)
    VALUES (p_symbol, 0, 0, 0, clock_timestamp()) ON CONFLICT (symbol) DO NOTHING;
  SELECT * INTO STRICT h FROM position WHERE symbol = p_symbol FOR UPDATE;
  after := h.qty + p_delta;
  IF h.qty = 0 OR sign(h.qty) = sign(p_delta) THEN
    h.average_price := (abs(h.qty) * h.average_price + abs(p_delta) * p_price) / abs(after);
  ELSE
    closed := least(abs(h.qty), abs(p_delta));
    h.realised_pnl := h.realised_pnl + closed * (p_price - h.average_price) * sign(h.qty);
    IF after = 0 THEN h.average_price := 0; ELSIF sign(after) <> sign(h.qty) THEN h.average_price := p_price; END IF;
  END IF;
  UPDATE position SET qty = after, average_price = h.average_price, realised_pnl = h.realised_pnl,
    mark_price = p_price, updated_at = clock_timestamp() WHERE symbol = p_symbol;
END $$;

-- One execution, booked once by its id; false if it was known. Fills are booked in any order state.
CREATE FUNCTION record_fill(p_epoch int, p_execution text, p_cid text, p_qty numeric, p_price numeric,
                            p_filled_at timestamptz, p_source text) RETURNS boolean
LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
DECLARE o orders%ROWTYPE; d int; t timestamptz := clock_timestamp(); BEGIN
  PERFORM fence(p_epoch);
  SELECT * INTO o FROM orders WHERE client_order_id = p_cid FOR UPDATE;
  IF NOT FOUND THEN RAISE EXCEPTION 'fill % is for unknown order %', p_execution, p_cid USING ERRCODE = 'LF002'; END IF;
  INSERT INTO fill (execution_id, client_order_id, symbol, side, qty, price, filled_at, booked_at, source)
    VALUES (p_execution, p_cid, o.symbol, o.side, p_qty, p_price, p_filled_at, t, p_source)
    ON CONFLICT (execution_id) DO NOTHING;
  IF NOT FOUND THEN RETURN false; END IF;
  d := CASE o.side WHEN 'buy' THEN 1 ELSE -1 END;
  UPDATE orders SET filled_qty = filled_qty + p_qty, filled_notional = filled_notional + p_qty * p_price, updated_at = t
    WHERE client_order_id = p_cid;
  INSERT INTO posting (txn, line, account, asset, amount, at, memo) VALUES
    ('fill:' || p_execution, 1, 'inventory', o.symbol,  d * p_qty, t, p_cid),
    ('fill:' || p_execution, 2, 'street',    o.symbol, -d * p_qty, t, p_cid),
    ('fill:' || p_execution, 3, 'cash',      'USD', -d * p_qty * p_price, t, p_cid),
    ('fill:' || p_execution, 4, 'street',    'USD',  d * p_qty * p_price, t, p_cid);
  PERFORM move_position(o.symbol, d * p_qty, p_price);
  PERFORM audit('FILL', p_cid, jsonb_build_object('execution_id', p_execution, 'qty', p_qty, 'price', p_price,
    'filled_at', p_filled_at, 'source', p_source)::text);
  RETURN true;
END $$;

-- A broker activity that moves cash only (fee, dividend, interest); booked once by its id.
CREATE FUNCTION record_cash(p_epoch int, p_activity text, p_account text, p_amount numeric, p_memo text) RETURNS boolean
LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
DECLARE t timestamptz := clock_timestamp(); BEGIN
  PERFORM fence(p_epoch);
  INSERT INTO posting (txn, line, account, asset, amount, at, memo)
    VALUES ('activity:' || p_activity, 1, 'cash', 'USD', p_amount, t, p_memo) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN RETURN false; END IF;
  INSERT INTO posting (txn, line, account, asset, amount, at, memo)
    VALUES ('activity:' || p_activity, 2, p_account, 'USD', -p_amount, t, p_memo);
  PERFORM audit('CASH', p_activity, jsonb_build_object('account', p_account, 'amount', p_amount, 'memo', p_memo)::text);
  RETURN true;
END $$;

-- Opening balances of an empty ledger, taken from the broker once.
CREATE FUNCTION open_book(p_epoch int, p_cash numeric, p_positions jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
DECLARE t timestamptz := clock_timestamp(); n int := 2; r record; BEGIN
  PERFORM fence(p_epoch);
  IF EXISTS (SELECT 1 FROM posting) THEN
    RAISE EXCEPTION 'the book is already open' USING ERRCODE = 'LF002';
  END IF;
  INSERT INTO posting (txn, line, account, asset, amount, at, memo) VALUES
    ('opening', 1, 'cash', 'USD', p_cash, t, 'opening balance'), ('opening', 2, 'opening', 'USD', -p_cash, t, 'opening balance');
  FOR r IN SELECT * FROM jsonb_to_recordset(p_positions) AS x(symbol text, qty numeric, price numeric) LOOP
    INSERT INTO posting (txn, line, account, asset, amount, at, memo) VALUES
      ('opening', n + 1, 'inventory', r.symbol, r.qty, t, 'opening balance'),
      ('opening', n + 2, 'opening', r.symbol, -r.qty, t, 'opening balance');
    n := n + 2;
    PERFORM move_position(r.symbol, r.qty, r.price);
  END LOOP;
  PERFORM audit('OPENING', 'book', jsonb_build_object('cash', p_cash, 'positions', p_positions)::text);
END $$;

CREATE FUNCTION mark_equity(p_epoch int, p jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
BEGIN
  PERFORM fence(p_epoch);
  UPDATE position SET mark_price = (m.value)::numeric FROM jsonb_each_text(p -> 'marks') m WHERE symbol = m.key;
  INSERT INTO equity_mark (at, market_time, session, cash, long_value, short_value, equity, day_open_equity,
                           high_water_mark, value_at_risk, expected_shortfall)
    SELECT clock_timestamp(), x.market_time, x.session, x.cash, x.long_value, x.short_value, x.equity,
           x.day_open_equity, x.high_water_mark, x.value_at_risk, x.expected_shortfall
    FROM jsonb_to_record(p) AS x(market_time timestamptz, session date, cash numeric, long_value numeric,
      short_value numeric, equity numeric, day_open_equity numeric, high_water_mark numeric,
      value_at_risk numeric, expected_shortfall numeric);
END $$;

CREATE FUNCTION record_reconciliation(p_epoch int, p jsonb) RETURNS uuid
LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
DECLARE run uuid := gen_random_uuid(); BEGIN
  PERFORM fence(p_epoch);
  INSERT INTO reconciliation_run (id, at, market_time, occasion, matched, ledger_cash, broker_cash, compared)
    VALUES (run, clock_timestamp(), (p ->> 'market_time')::timestamptz, p ->> 'occasion', (p ->> 'matched')::boolean,
            (p ->> 'ledger_cash')::numeric, (p ->> 'broker_cash')::numeric, p -> 'compared');
  INSERT INTO reconciliation_break (id, run_id, kind, ref, ledger_value, broker_value, explanation)
    SELECT gen_random_uuid(), run, x.kind, x.ref, x.ledger_value, x.broker_value, coalesce(x.explanation, '')
    FROM jsonb_to_recordset(p -> 'breaks') AS x(kind text, ref text, ledger_value text, broker_value text, explanation text);
  PERFORM audit('RECONCILIATION', run::text, p::text);
  RETURN run;
END $$;

CREATE FUNCTION raise_alert(p_severity text, p_kind text, p_title text, p_body text, p_ref text) RETURNS uuid
LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
DECLARE v uuid := gen_random_uuid(); BEGIN
  INSERT INTO alert (id, at, severity, kind, title, body, ref, attempts, last_error)
    VALUES (v, clock_timestamp(), p_severity, p_kind, p_title, p_body, p_ref, 0, '');
  PERFORM audit('ALERT', p_kind, jsonb_build_object('id', v, 'severity', p_severity, 'title', p_title, 'body', p_body, 'ref', p_ref)::text);
  RETURN v;
END $$;

CREATE FUNCTION set_limits(p_author text, p_reason text, p_limits jsonb) RETURNS int
LANGUAGE plpgsql SET search_path = ledger, pg_catalog AS $$
DECLARE v int; BEGIN
  SELECT coalesce(max(version), 0) + 1 INTO v FROM limit_version;
  INSERT INTO limit_version (version, effective_from, author, reason, limits)
    VALUES (v, clock_timestamp(), p_author, p_reason, p_limits);
  PERFORM audit('LIMITS', v::text, jsonb_build_object('author', p_author, 'reason', p_reason, 'limits', p_limits)::text);
  RETURN v;
END $$;
