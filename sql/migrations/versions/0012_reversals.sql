-- Executions that the broker takes back or corrects, and fills that were inferred until the true one came:
-- reversing transactions, never edits. Wake-ups for listeners. A policy for how long raw messages are kept.
SET LOCAL search_path = ledger, pg_catalog;

-- ------------------------------------------------------------------ fills
ALTER TABLE fill ADD COLUMN broker_execution_id varchar, ADD COLUMN replaces_execution_id varchar REFERENCES fill (execution_id),
  ADD COLUMN seq bigint, ADD COLUMN ordered_seq bigint;
ALTER TABLE fill DISABLE TRIGGER USER;                  -- new columns are filled, no fact changes
UPDATE fill f SET seq = a.seq, ordered_seq = a.seq FROM audit_log a
  WHERE a.kind = 'FILL' AND a.ref = f.client_order_id AND a.body::jsonb ->> 'execution_id' = f.execution_id;
ALTER TABLE fill ENABLE TRIGGER USER;
CREATE UNIQUE INDEX fill_broker_execution_id ON fill (broker_execution_id);
CREATE UNIQUE INDEX fill_replaces ON fill (replaces_execution_id, execution_id);
CREATE INDEX fill_symbol ON fill (symbol);

CREATE TABLE fill_reversal (
  id varchar PRIMARY KEY, execution_id varchar NOT NULL UNIQUE REFERENCES fill (execution_id),
  kind varchar NOT NULL CHECK (kind IN ('bust', 'correct', 'inferred')), reason varchar NOT NULL,
  at timestamptz NOT NULL, seq bigint NOT NULL);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON fill_reversal FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON fill_reversal FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What an order has filled grows, or falls to exactly what its standing executions say.
CREATE OR REPLACE FUNCTION guard_order() RETURNS trigger LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
BEGIN
  IF NEW.state <> OLD.state
     AND NOT EXISTS (SELECT 1 FROM order_edge WHERE before = OLD.state AND after = NEW.state) THEN
    RAISE EXCEPTION 'order %: transition % -> % is not allowed', OLD.client_order_id, OLD.state, NEW.state
      USING ERRCODE = 'LF002';
  END IF;
  IF (NEW.client_order_id, NEW.signal_id, NEW.leg, NEW.symbol, NEW.side, NEW.qty, NEW.limit_price,
      NEW.order_type, NEW.time_in_force, NEW.decision_seq, NEW.stop_price, NEW.trail_percent, NEW.trail_price, NEW.order_class,
      NEW.parent_client_order_id, NEW.extended_hours, NEW.replaces_client_order_id, NEW.worst_price, NEW.strategy, NEW.purpose)
     IS DISTINCT FROM (OLD.client_order_id, OLD.signal_id, OLD.leg, OLD.symbol, OLD.side, OLD.qty,
      OLD.limit_price, OLD.order_type, OLD.time_in_force, OLD.decision_seq, OLD.stop_price, OLD.trail_percent, OLD.trail_price,
      OLD.order_class, OLD.parent_client_order_id, OLD.extended_hours, OLD.replaces_client_order_id, OLD.worst_price,
      OLD.strategy, OLD.purpose) THEN
    RAISE EXCEPTION 'order %: its terms never change', OLD.client_order_id USING ERRCODE = 'LF002';
  END IF;
  IF NEW.filled_qty < OLD.filled_qty AND NEW.filled_qty <> (
       SELECT coalesce(sum(f.qty), 0) FROM fill f WHERE f.client_order_id = NEW.client_order_id
         AND NOT EXISTS (SELECT 1 FROM fill_reversal r WHERE r.execution_id = f.execution_id)) THEN
    RAISE EXCEPTION 'order %: fills only grow, or fall with a reversal', OLD.client_order_id USING ERRCODE = 'LF002';
  END IF;
  RETURN NEW;
END $$;

-- Shares, average price, lots and realised profit of one symbol once more, from what stands: the opening,
-- executions in the order they were booked (a correction in the place of what it corrects), corporate actions.
-- Lots are closed at cost and opened anew; what that changes of the realised profit is one entry of its own.
CREATE FUNCTION replay_symbol(p_symbol text, p_txn text) RETURNS void
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE
  m record; t timestamptz := clock_timestamp(); v_qty numeric := 0; v_average numeric := 0; v_realised numeric := 0; v_fifo numeric := 0;
  lots numeric[] := '{}'; prices numeric[] := '{}'; txns text[] := '{}'; opened timestamptz[] := '{}'; first int := 1;
  after numeric; taken numeric; rest numeric; ratio numeric; booked numeric; BEGIN
  FOR m IN
    SELECT a.seq AS place, a.seq, x.qty AS delta, x.price, 'opening' AS txn, a.at, false AS scales
      FROM audit_log a, jsonb_to_recordset(a.body::jsonb -> 'positions') AS x (symbol text, qty numeric, price numeric)
      WHERE a.kind = 'OPENING' AND a.ref = 'book' AND x.symbol = p_symbol
    UNION ALL
    SELECT f.ordered_seq, f.seq, CASE f.side WHEN 'buy' THEN f.qty ELSE -f.qty END, f.price, 'fill:' || f.execution_id, f.booked_at, false
      FROM fill f WHERE f.symbol = p_symbol AND NOT EXISTS (SELECT 1 FROM fill_reversal r WHERE r.execution_id = f.execution_id)
    UNION ALL
    SELECT a.seq, a.seq, p.amount, 0, p.txn, a.at, true
      FROM posting p JOIN audit_log a ON a.ref = substr(p.txn, 10) AND a.kind = 'CORPORATE_ACTION'
      WHERE p.account = 'inventory' AND p.asset = p_symbol AND p.txn LIKE 'activity:%'
    ORDER BY 1, 2
  LOOP
    IF m.scales THEN
      CONTINUE WHEN v_qty = 0;
      ratio := (v_qty + m.delta) / v_qty;
      v_qty := v_qty + m.delta; v_average := v_average / ratio;
      FOR i IN first .. cardinality(lots) LOOP lots[i] := lots[i] * ratio; prices[i] := prices[i] / ratio; END LOOP;
      CONTINUE;
    END IF;
    after := v_qty + m.delta;
    IF v_qty * m.delta >= 0 THEN
      v_average := (abs(v_qty) * v_average + abs(m.delta) * m.price) / abs(after);
    ELSE
      v_realised := v_realised + least(abs(v_qty), abs(m.delta)) * sign(v_qty) * (m.price - v_average);
      IF after = 0 THEN v_average := 0; ELSIF sign(after) <> sign(v_qty) THEN v_average := m.price; END IF;
    END IF;
    v_qty := after; rest := m.delta;
    WHILE rest <> 0 AND first <= cardinality(lots) AND sign(lots[first]) <> sign(rest) LOOP
      taken := least(abs(lots[first]), abs(rest)) * sign(lots[first]);
      v_fifo := v_fifo + taken * (m.price - prices[first]);
      rest := rest + taken; lots[first] := lots[first] - taken;
      IF lots[first] = 0 THEN first := first + 1; END IF;
    END LOOP;
    IF rest <> 0 THEN
      lots := lots || rest; prices := prices || m.price; txns := txns || m.txn; opened := opened || m.at;
    END IF;
  END LOOP;

  UPDATE position SET qty = v_qty, average_price = v_average, realised_pnl = v_realised, updated_at = t WHERE symbol = p_symbol;
  WITH closed AS (UPDATE lot l SET remaining = 0 FROM (SELECT id, remaining FROM lot WHERE symbol = p_symbol AND remaining <> 0) o
                  WHERE l.id = o.id RETURNING l.id, o.remaining, l.price)
    INSERT INTO lot_close (lot_id, txn, at, qty, price, pnl) SELECT id, p_txn, t, remaining, price, 0 FROM closed;
  FOR i IN first .. cardinality(lots) LOOP
    INSERT INTO lot (symbol, txn, opened_at, qty, price, remaining) VALUES (p_symbol, txns[i], opened[i], lots[i], prices[i], lots[i]);
  END LOOP;
  SELECT coalesce(sum(c.pnl), 0) INTO booked FROM lot_close c JOIN lot l ON l.id = c.lot_id WHERE l.symbol = p_symbol;
  IF booked <> v_fifo THEN
    INSERT INTO lot_close (lot_id, txn, at, qty, price, pnl)
      SELECT max(id), p_txn, t, 0, 0, v_fifo - booked FROM lot WHERE symbol = p_symbol;
  END IF;
END $$;

-- Take one standing execution back: reversing lines, the order's sums, an entry of the chain. The caller replays.
CREATE FUNCTION take_back(p_reversal text, f fill, p_kind text, p_reason text, p_by text) RETURNS void
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE t timestamptz := clock_timestamp(); s bigint; BEGIN
  s := audit('REVERSAL', f.client_order_id, jsonb_build_object('id', p_reversal, 'execution_id', f.execution_id, 'kind', p_kind,
    'reason', p_reason, 'replaced_by', p_by)::text);
  INSERT INTO fill_reversal (id, execution_id, kind, reason, at, seq) VALUES (p_reversal, f.execution_id, p_kind, p_reason, t, s);
  INSERT INTO posting (txn, line, account, asset, amount, at, memo)
    SELECT 'reversal:' || p_reversal, line, account, asset, -amount, t, p_kind || ' of ' || f.execution_id
    FROM posting WHERE txn = 'fill:' || f.execution_id;
END $$;

-- Book a fill: lines, an entry, and its place in the order of executions.
CREATE FUNCTION book_fill(o orders, p_execution text, p_qty numeric, p_price numeric, p_filled_at timestamptz, p_source text,
                          p_broker_execution text, p_replaces text, p_place bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE d int := CASE o.side WHEN 'buy' THEN 1 ELSE -1 END; t timestamptz := clock_timestamp(); s bigint; BEGIN
  IF EXISTS (SELECT 1 FROM fill WHERE execution_id = p_execution OR broker_execution_id = p_broker_execution) THEN RETURN false; END IF;
  s := audit('FILL', o.client_order_id, jsonb_strip_nulls(jsonb_build_object('execution_id', p_execution, 'qty', p_qty, 'price', p_price,
    'filled_at', p_filled_at, 'source', p_source, 'broker_execution_id', p_broker_execution, 'replaces', p_replaces))::text);
  INSERT INTO fill (execution_id, client_order_id, symbol, side, qty, price, filled_at, booked_at, source, broker_execution_id,
                    replaces_execution_id, seq, ordered_seq)
    VALUES (p_execution, o.client_order_id, o.symbol, o.side, p_qty, p_price, p_filled_at, t, p_source, p_broker_execution,
            p_replaces, s, coalesce(p_place, s));
  INSERT INTO posting (txn, line, account, asset, amount, at, memo) VALUES
    ('fill:' || p_execution, 1, 'inventory', o.symbol,  d * p_qty, t, o.client_order_id),
    ('fill:' || p_execution, 2, 'street',    o.symbol, -d * p_qty, t, o.client_order_id),
    ('fill:' || p_execution, 3, 'cash',      'USD', -d * p_qty * p_price, t, o.client_order_id),
    ('fill:' || p_execution, 4, 'street',    'USD',  d * p_qty * p_price, t, o.client_order_id);
  RETURN true;
END $$;

-- The order's sums after executions were taken back or put in the place of others.
CREATE FUNCTION sum_fills(p_cid text) RETURNS void LANGUAGE sql SET search_path = ledger, pg_catalog, pg_temp AS $$
  UPDATE orders SET updated_at = clock_timestamp(), (filled_qty, filled_notional) = (
    SELECT coalesce(sum(f.qty), 0), coalesce(sum(f.qty * f.price), 0) FROM fill f
    WHERE f.client_order_id = p_cid AND NOT EXISTS (SELECT 1 FROM fill_reversal r WHERE r.execution_id = f.execution_id))
  WHERE client_order_id = p_cid $$;

-- The standing execution that carries one of our keys or the broker's id, or what has taken its place since.
CREATE FUNCTION standing_fill(p_execution text) RETURNS fill
LANGUAGE plpgsql STABLE SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE f fill; BEGIN
  SELECT * INTO f FROM fill WHERE execution_id = p_execution OR broker_execution_id = p_execution;
  IF NOT FOUND THEN RAISE EXCEPTION 'no execution % is booked', p_execution USING ERRCODE = 'LF002'; END IF;
  WHILE EXISTS (SELECT 1 FROM fill_reversal r WHERE r.execution_id = f.execution_id) LOOP
    SELECT * INTO f FROM fill WHERE replaces_execution_id = f.execution_id AND execution_id NOT LIKE 'inf:%' ORDER BY seq LIMIT 1;
    IF NOT FOUND THEN RETURN NULL; END IF;               -- taken back, and nothing came in its place
  END LOOP;
  RETURN f;
END $$;

-- The broker took an execution back. Keyed by the reversal's id; false if it was known or nothing stands of it.
CREATE FUNCTION reverse_fill(p_epoch int, p_reversal text, p_execution text, p_reason text) RETURNS boolean
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE f fill; BEGIN
  PERFORM fence(p_epoch);
  IF EXISTS (SELECT 1 FROM fill_reversal WHERE id = p_reversal) THEN RETURN false; END IF;
  f := standing_fill(p_execution);
  IF f.execution_id IS NULL THEN RETURN false; END IF;
  PERFORM take_back(p_reversal, f, 'bust', p_reason, NULL);
  PERFORM sum_fills(f.client_order_id);
  PERFORM replay_symbol(f.symbol, 'reversal:' || p_reversal);
  PERFORM raise_alert('critical', 'fill_reversed', format('The broker took back an execution of %s', f.symbol),
    format('%s %s %s at %s of order %s is void: %s. Shares, cash and profit are corrected.', f.side, f.qty, f.symbol, f.price,
           f.client_order_id, p_reason), f.client_order_id);
  RETURN true;
END $$;

-- The broker corrected quantity or price of an execution: the old one is taken back, the new one takes its place.
CREATE FUNCTION correct_fill(p_epoch int, p_reversal text, p_execution text, p_qty numeric, p_price numeric, p_reason text)
RETURNS boolean LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE f fill; o orders; BEGIN
  PERFORM fence(p_epoch);
  IF EXISTS (SELECT 1 FROM fill_reversal WHERE id = p_reversal) THEN RETURN false; END IF;
  f := standing_fill(p_execution);
  IF f.execution_id IS NULL OR (f.qty = p_qty AND f.price = p_price) THEN RETURN false; END IF;
  SELECT * INTO STRICT o FROM orders WHERE client_order_id = f.client_order_id FOR UPDATE;
  PERFORM take_back(p_reversal, f, 'correct', p_reason, p_reversal);
  PERFORM book_fill(o, p_reversal, p_qty, p_price, f.filled_at, 'correction', NULL, f.execution_id, f.ordered_seq);
  PERFORM sum_fills(o.client_order_id);
  PERFORM replay_symbol(f.symbol, 'reversal:' || p_reversal);
  PERFORM raise_alert('warning', 'fill_corrected', format('The broker corrected an execution of %s', f.symbol),
    format('%s %s %s of order %s: %s at %s is now %s at %s (%s).', f.side, f.qty, f.symbol, f.client_order_id, f.qty, f.price,
           p_qty, p_price, p_reason), f.client_order_id);
  RETURN true;
END $$;

-- A fill as before; and where fills were inferred (`inf:<order>:<cumulative>`), the true one takes their place,
-- as far as it reaches: what is left of an inferred fill stays inferred.
DROP FUNCTION record_fill(int, text, text, numeric, numeric, timestamptz, text);
CREATE FUNCTION record_fill(p_epoch int, p_execution text, p_cid text, p_qty numeric, p_price numeric,
                            p_filled_at timestamptz, p_source text, p_broker_execution text DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE
  o orders; f fill; present text; d int; rest numeric := p_qty; place bigint; replaced text; key text;
  cumulative numeric := substring(p_execution FROM ':(\d+(?:\.\d+)?)$')::numeric; BEGIN
  PERFORM fence(p_epoch);
  SELECT * INTO o FROM orders WHERE client_order_id = p_cid FOR UPDATE;
  IF NOT FOUND THEN RAISE EXCEPTION 'fill % is for unknown order %', p_execution, p_cid USING ERRCODE = 'LF002'; END IF;
  IF EXISTS (SELECT 1 FROM fill WHERE execution_id = p_execution OR broker_execution_id = p_broker_execution) THEN RETURN false; END IF;
  IF p_execution NOT LIKE 'inf:%' THEN
    FOR f IN SELECT * FROM fill i WHERE i.client_order_id = p_cid AND i.execution_id LIKE 'inf:%'
               AND NOT EXISTS (SELECT 1 FROM fill_reversal r WHERE r.execution_id = i.execution_id)
               AND (cumulative IS NULL OR cumulative - p_qty < split_part(i.execution_id, ':', 3)::numeric) ORDER BY i.seq LOOP
      EXIT WHEN rest <= 0;
      key := p_execution || '/' || f.execution_id;
      PERFORM take_back(key, f, 'inferred', 'the true execution came', p_execution);
      place := coalesce(place, f.ordered_seq); replaced := coalesce(replaced, f.execution_id);
      IF f.qty > rest THEN
        PERFORM book_fill(o, 'inf:' || p_cid || ':' || split_part(f.execution_id, ':', 3) || ':' || nextval('ledger.raw_message_id'),
                          f.qty - rest, f.price, f.filled_at, f.source, NULL, f.execution_id, f.ordered_seq);
      END IF;
      rest := rest - f.qty;
    END LOOP;
  END IF;
  PERFORM book_fill(o, p_execution, p_qty, p_price, p_filled_at, p_source, p_broker_execution, replaced, place);
  IF replaced IS NOT NULL THEN
    PERFORM sum_fills(p_cid);
    PERFORM replay_symbol(o.symbol, 'fill:' || p_execution);
    RETURN true;
  END IF;
  d := CASE o.side WHEN 'buy' THEN 1 ELSE -1 END;
  UPDATE orders SET filled_qty = filled_qty + p_qty, filled_notional = filled_notional + p_qty * p_price, updated_at = clock_timestamp()
    WHERE client_order_id = p_cid;
  PERFORM move_position(o.symbol, d * p_qty, p_price);
  PERFORM move_lots('fill:' || p_execution, o.symbol, d * p_qty, p_price, clock_timestamp());
  -- A fill of an order we held for never sent or refused: book it, but our proof was wrong.
  IF o.state IN ('VOID', 'REJECTED', 'EXPIRED_UNSENT') THEN
    SELECT mode INTO present FROM book;
    IF mode_rank('HALTED') > mode_rank(present) THEN
      UPDATE book SET mode = 'HALTED', mode_reason = format('fill of %s order %s', o.state, p_cid), mode_since = clock_timestamp();
      PERFORM audit('MODE', 'HALTED', jsonb_build_object('from', present, 'reason', format('fill of %s order %s', o.state, p_cid))::text);
    END IF;
    PERFORM raise_alert('critical', 'late_fill', format('Fill of an order that was %s', o.state),
      format('Order %s: %s %s %s at %s was filled although the ledger had it as %s; trading halted.',
             p_cid, o.side, p_qty, o.symbol, p_price, o.state), p_cid);
  END IF;
  RETURN true;
END $$;

CREATE OR REPLACE VIEW v_fills AS
  SELECT f.execution_id, f.client_order_id, f.symbol, f.side, f.qty, f.price, f.qty * f.price AS notional_usd,
         f.filled_at, f.booked_at, f.source, o.signal_id, o.batch_id, o.arrival_price,
         CASE f.side WHEN 'buy' THEN 1 ELSE -1 END * (f.price - o.arrival_price) * f.qty AS shortfall_usd,
         f.broker_execution_id, f.replaces_execution_id, f.seq AS audit_seq
  FROM fill f JOIN orders o USING (client_order_id)
  WHERE NOT EXISTS (SELECT 1 FROM fill_reversal r WHERE r.execution_id = f.execution_id);

CREATE VIEW v_reversals AS
  SELECT r.id AS reversal_id, r.kind, r.reason, r.at, r.seq AS audit_seq, f.execution_id, f.broker_execution_id, f.client_order_id, f.symbol,
         f.side, f.qty, f.price, n.execution_id AS replaced_by, n.qty AS replaced_qty, n.price AS replaced_price
  FROM fill_reversal r JOIN fill f USING (execution_id)
  LEFT JOIN LATERAL (SELECT x.execution_id, x.qty, x.price FROM fill x WHERE x.replaces_execution_id = f.execution_id
                     ORDER BY x.execution_id LIKE 'inf:%', x.seq LIMIT 1) n ON true;

-- ------------------------------------------------------------------ wake-ups; polling is the contract
CREATE FUNCTION tell_mode() RETURNS trigger LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_notify('sallyport_mode', NEW.mode || CASE WHEN NEW.killed THEN ' killed' ELSE '' END);
  RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER UPDATE ON book FOR EACH ROW
  WHEN (NEW.mode <> OLD.mode OR NEW.killed <> OLD.killed OR NEW.flatten <> OLD.flatten) EXECUTE FUNCTION tell_mode();

CREATE FUNCTION tell_limits() RETURNS trigger LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_notify('sallyport_limits', NEW.version::text);
  RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT ON limit_version FOR EACH ROW EXECUTE FUNCTION tell_limits();

-- ------------------------------------------------------------------ how long raw messages are kept
CREATE TABLE retention (
  one boolean PRIMARY KEY DEFAULT true CHECK (one), keep_months int CHECK (keep_months >= 1), set_by text NOT NULL, set_at timestamptz NOT NULL);
INSERT INTO retention (keep_months, set_by, set_at) VALUES (NULL, 'new ledger', clock_timestamp());   -- null: for ever
CREATE TRIGGER keep_rows BEFORE DELETE ON retention FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE FUNCTION set_retention(p_who text, p_keep_months int) RETURNS void
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
BEGIN
  UPDATE retention SET keep_months = p_keep_months, set_by = p_who, set_at = clock_timestamp();
  PERFORM audit('RETENTION_POLICY', p_who, jsonb_build_object('keep_months', p_keep_months)::text);
END $$;

-- Months of raw messages that the policy (or, for a rehearsal, another one) would drop.
CREATE FUNCTION raw_to_drop(p_keep_months int) RETURNS TABLE (partition text, month date, bytes bigint)
LANGUAGE sql STABLE SET search_path = ledger, pg_catalog, pg_temp AS $$
  SELECT c.relname::text, to_date(right(c.relname, 6), 'YYYYMM'), pg_total_relation_size(c.oid)
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
  WHERE i.inhparent = 'ledger.raw_message'::regclass AND c.relname ~ '^raw_message_\d{6}$'
    AND to_date(right(c.relname, 6), 'YYYYMM') < date_trunc('month', clock_timestamp()) - make_interval(months => p_keep_months)
  ORDER BY 2 $$;

-- What the executor calls each day: months ahead are there, months past the policy are dropped, and that is said.
CREATE FUNCTION keep_raw(p_who text) RETURNS int
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE n int := (SELECT keep_months FROM retention); BEGIN
  PERFORM open_raw_partitions(clock_timestamp()::date, 3);
  IF n IS NULL THEN RETURN 0; END IF;
  RETURN drop_raw_before(p_who, (date_trunc('month', clock_timestamp()) - make_interval(months => n))::date);
END $$;
