-- Evidence beside the chain (anchors, raw messages, epochs, drills, releases, clock samples), the
-- book's finer grain (reservations, lots), signed approvals, and limits that two persons loosen.
SET LOCAL search_path = ledger, pg_catalog;

-- ------------------------------------------------------------------ who this ledger is
CREATE TABLE identity (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  ledger_id uuid NOT NULL DEFAULT gen_random_uuid(),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp());
INSERT INTO identity DEFAULT VALUES;

-- Whoever acts: the login, and the role it put on. SECURITY DEFINER changes neither of the two.
CREATE FUNCTION acting() RETURNS text LANGUAGE sql STABLE SET search_path = ledger, pg_catalog, pg_temp AS $$
  SELECT CASE WHEN current_setting('role') IN ('none', session_user::text) THEN session_user::text
              ELSE session_user || '/' || current_setting('role') END $$;

CREATE OR REPLACE FUNCTION audit(p_kind text, p_ref text, p_body text) RETURNS bigint
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE s bigint; previous bytea; link bytea; t timestamptz; who text := acting();
BEGIN
  SELECT seq + 1, hash INTO STRICT s, previous FROM audit_head FOR UPDATE;
  t := clock_timestamp();                        -- after the lock, so that times do not run backwards
  link := audit_hash(s, t, who, p_kind, p_ref, p_body, previous);
  INSERT INTO audit_log (seq, at, actor, kind, ref, body, prev_hash, hash)
    VALUES (s, t, who, p_kind, p_ref, p_body, previous, link);
  UPDATE audit_head SET seq = s, hash = link;
  RETURN s;
END $$;

-- Which kinds a role may append by itself; every other entry is written by the function it describes.
CREATE TABLE recordable (kind text, role text, PRIMARY KEY (kind, role));
INSERT INTO recordable (kind, role) VALUES
  ('DATA_SET', 'sallyport_flow_writer'), ('VALIDATION', 'sallyport_flow_writer'), ('MODEL', 'sallyport_flow_writer'),
  ('WALK_FORWARD', 'sallyport_flow_writer'), ('RISK_SNAPSHOT', 'sallyport_flow_writer'),
  ('PROPOSAL', 'sallyport_flow_writer'), ('APPROVAL', 'sallyport_approver');

CREATE FUNCTION append_audit(p_kind text, p_ref text, p_body text) RETURNS bigint
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE
  invoker text := CASE current_setting('role') WHEN 'none' THEN session_user::text ELSE current_setting('role') END;
BEGIN
  IF NOT pg_has_role(invoker, (SELECT nspowner FROM pg_namespace WHERE nspname = 'ledger'), 'MEMBER')
     AND NOT EXISTS (SELECT 1 FROM recordable r JOIN pg_roles o ON o.rolname = r.role
                     WHERE r.kind = p_kind AND pg_has_role(invoker, o.oid, 'MEMBER')) THEN
    RAISE EXCEPTION '% may not append entries of kind %', invoker, p_kind USING ERRCODE = 'LF005';
  END IF;
  RETURN audit(p_kind, p_ref, p_body);
END $$;

CREATE FUNCTION verify_chain(OUT rows_checked bigint, OUT first_bad bigint, OUT head_ok boolean)
LANGUAGE plpgsql STABLE SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE r record; previous bytea := sha256(convert_to('sallyport:genesis', 'UTF8')); n bigint := 0; BEGIN
  rows_checked := 0;
  FOR r IN SELECT * FROM audit_log ORDER BY seq LOOP
    n := n + 1;
    IF r.seq <> n OR r.prev_hash <> previous
       OR r.hash <> audit_hash(r.seq, r.at, r.actor, r.kind, r.ref, r.body, previous) THEN
      first_bad := n; EXIT;
    END IF;
    previous := r.hash; rows_checked := n;
  END LOOP;
  SELECT seq = n AND hash = previous INTO head_ok FROM audit_head;
END $$;

-- ------------------------------------------------------------------ evidence tables
CREATE TABLE anchor (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL, seq bigint NOT NULL, hash bytea NOT NULL,
  occasion text NOT NULL, place text NOT NULL, error text NOT NULL DEFAULT '');
CREATE TABLE epoch (
  number int PRIMARY KEY, account text NOT NULL, holder text NOT NULL, at timestamptz NOT NULL);
CREATE TABLE drill (
  id uuid PRIMARY KEY, at timestamptz NOT NULL, kind text NOT NULL, who text NOT NULL,
  passed boolean NOT NULL, detail jsonb NOT NULL DEFAULT '{}');
CREATE TABLE release (
  id uuid PRIMARY KEY, at timestamptz NOT NULL, build text NOT NULL, settings_hash text NOT NULL,
  who text NOT NULL, detail jsonb NOT NULL DEFAULT '{}');
CREATE TABLE clock_sample (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL, source text NOT NULL,
  offset_ms numeric(12, 3) NOT NULL, round_trip_ms numeric(12, 3));
CREATE TABLE alert_delivery (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, alert_id uuid NOT NULL REFERENCES alert (id),
  at timestamptz NOT NULL, attempt int NOT NULL, delivered boolean NOT NULL, error text NOT NULL);
CREATE INDEX ON alert_delivery (alert_id);

-- What the broker sent, byte for byte, before anything parsed it. The only table with partitions and
-- retention: its hash stays in the chain when its month is dropped.
CREATE SEQUENCE raw_message_id;
CREATE TABLE raw_message (
  id bigint NOT NULL DEFAULT nextval('ledger.raw_message_id'),
  received_at timestamptz NOT NULL, channel text NOT NULL,
  direction text NOT NULL CHECK (direction IN ('in', 'out')), ref text NOT NULL,
  body text NOT NULL, sha256 bytea NOT NULL, PRIMARY KEY (received_at, id)
) PARTITION BY RANGE (received_at);
CREATE TABLE raw_message_default PARTITION OF raw_message DEFAULT;
CREATE INDEX ON raw_message (ref);
CREATE INDEX ON raw_message (id);

CREATE FUNCTION open_raw_partitions(p_from date, p_months int) RETURNS int
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE m date; name text; made int := 0; BEGIN
  FOR i IN 0 .. p_months - 1 LOOP
    m := (date_trunc('month', p_from) + make_interval(months => i))::date;
    name := 'raw_message_' || to_char(m, 'YYYYMM');
    CONTINUE WHEN to_regclass('ledger.' || name) IS NOT NULL;
    BEGIN
      EXECUTE format('CREATE TABLE %I PARTITION OF raw_message FOR VALUES FROM (%L) TO (%L)', name,
                     m::timestamp AT TIME ZONE 'UTC', (m + interval '1 month') AT TIME ZONE 'UTC');
      made := made + 1;
    EXCEPTION WHEN check_violation THEN NULL;   -- the default partition already holds rows of that month: it keeps them
    END;
  END LOOP;
  RETURN made;
END $$;
SELECT open_raw_partitions(clock_timestamp()::date, 2);

-- Drop whole months older than the retention; what was dropped stands in the chain.
CREATE FUNCTION drop_raw_before(p_who text, p_month date) RETURNS int
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE r record; n bigint; dropped int := 0; BEGIN
  FOR r IN SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
           WHERE i.inhparent = 'ledger.raw_message'::regclass AND c.relname ~ '^raw_message_\d{6}$'
             AND to_date(right(c.relname, 6), 'YYYYMM') < date_trunc('month', p_month) ORDER BY 1 LOOP
    EXECUTE format('SELECT count(*) FROM %I', r.name) INTO n;
    PERFORM audit('RETENTION', r.name, jsonb_build_object('who', p_who, 'rows', n)::text);
    EXECUTE format('DROP TABLE %I', r.name);
    dropped := dropped + 1;
  END LOOP;
  RETURN dropped;
END $$;

CREATE FUNCTION record_raw(p_channel text, p_direction text, p_ref text, p_body text) RETURNS bigint
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE v bigint; h bytea := sha256(convert_to(p_body, 'UTF8')); BEGIN
  INSERT INTO raw_message (received_at, channel, direction, ref, body, sha256)
    VALUES (clock_timestamp(), p_channel, p_direction, p_ref, p_body, h) RETURNING id INTO v;
  PERFORM audit('RAW', v::text, jsonb_build_object('channel', p_channel, 'direction', p_direction, 'ref', p_ref,
    'sha256', encode(h, 'hex'))::text);
  RETURN v;
END $$;

CREATE FUNCTION record_anchor(p_seq bigint, p_hash bytea, p_occasion text, p_place text, p_error text) RETURNS void
LANGUAGE sql SET search_path = ledger, pg_catalog, pg_temp AS $$
  INSERT INTO anchor (at, seq, hash, occasion, place, error)
    VALUES (clock_timestamp(), p_seq, p_hash, p_occasion, p_place, p_error) $$;

CREATE FUNCTION record_clock_sample(p_source text, p_offset_ms numeric, p_round_trip_ms numeric) RETURNS void
LANGUAGE sql SET search_path = ledger, pg_catalog, pg_temp AS $$
  INSERT INTO clock_sample (at, source, offset_ms, round_trip_ms)
    VALUES (clock_timestamp(), p_source, p_offset_ms, p_round_trip_ms) $$;

CREATE FUNCTION record_drill(p_kind text, p_who text, p_passed boolean, p_detail jsonb) RETURNS uuid
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE v uuid := gen_random_uuid(); BEGIN
  INSERT INTO drill (id, at, kind, who, passed, detail) VALUES (v, clock_timestamp(), p_kind, p_who, p_passed, p_detail);
  PERFORM audit('DRILL', p_kind, jsonb_build_object('who', p_who, 'passed', p_passed, 'detail', p_detail)::text);
  RETURN v;
END $$;

CREATE FUNCTION record_release(p_build text, p_settings_hash text, p_who text, p_detail jsonb) RETURNS uuid
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE v uuid; BEGIN
  SELECT id INTO v FROM release WHERE build = p_build AND settings_hash = p_settings_hash ORDER BY at DESC LIMIT 1;
  IF FOUND THEN RETURN v; END IF;
  v := gen_random_uuid();
  INSERT INTO release (id, at, build, settings_hash, who, detail)
    VALUES (v, clock_timestamp(), p_build, p_settings_hash, p_who, p_detail);
  PERFORM audit('RELEASE', p_build, jsonb_build_object('settings_hash', p_settings_hash, 'who', p_who, 'detail', p_detail)::text);
  RETURN v;
END $$;

CREATE FUNCTION track_delivery() RETURNS trigger LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
BEGIN
  IF NEW.attempts <> OLD.attempts THEN
    INSERT INTO alert_delivery (alert_id, at, attempt, delivered, error)
      VALUES (NEW.id, clock_timestamp(), NEW.attempts, NEW.delivered_at IS NOT NULL, NEW.last_error);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER delivery AFTER UPDATE ON alert FOR EACH ROW EXECUTE FUNCTION track_delivery();

-- A restored ledger says where it was cut, and trades only after a person has looked.
CREATE FUNCTION declare_restored(p_who text, p_detail jsonb) RETURNS bigint
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
BEGIN
  UPDATE book SET mode = 'HALTED', mode_since = clock_timestamp(),
    mode_reason = 'restored from a backup: reconcile with the broker, then re-arm';
  INSERT INTO alert (id, at, severity, kind, title, body, ref, attempts, last_error)
    VALUES (gen_random_uuid(), clock_timestamp(), 'critical', 'ledger_restored', 'Ledger restored from a backup',
            p_detail::text, '', 0, '');
  RETURN audit('RESTORE', p_who, p_detail::text);
END $$;

-- ------------------------------------------------------------------ reservations
-- One row an order: what it may still do to the book, held until terminal evidence releases it.
CREATE TABLE reservation (
  client_order_id varchar(48) PRIMARY KEY REFERENCES orders (client_order_id),
  symbol varchar NOT NULL, side varchar NOT NULL, qty numeric(24, 6) NOT NULL CHECK (qty >= 0),
  price numeric(24, 6) NOT NULL, reserved_at timestamptz NOT NULL,
  released_at timestamptz, released_as varchar);
CREATE INDEX reservation_open ON reservation (symbol) WHERE released_at IS NULL;
CREATE INDEX orders_open ON orders (symbol) WHERE state NOT IN ('DONE', 'REJECTED', 'VOID', 'EXPIRED_UNSENT');
CREATE INDEX orders_broker_order_id ON orders (broker_order_id);
CREATE INDEX decision_client_order_id ON decision (client_order_id);

CREATE FUNCTION track_reservation() RETURNS trigger LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE final boolean := NEW.state IN ('DONE', 'REJECTED', 'VOID', 'EXPIRED_UNSENT'); BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO reservation (client_order_id, symbol, side, qty, price, reserved_at, released_at, released_as)
      VALUES (NEW.client_order_id, NEW.symbol, NEW.side, NEW.qty - NEW.filled_qty, NEW.limit_price, NEW.created_at,
              CASE WHEN final THEN clock_timestamp() END, CASE WHEN final THEN NEW.state END);
  ELSIF NEW.state <> OLD.state OR NEW.filled_qty <> OLD.filled_qty THEN
    IF NOT final AND NEW.filled_qty = OLD.filled_qty THEN RETURN NULL; END IF;
    UPDATE reservation SET qty = NEW.qty - NEW.filled_qty,
      released_at = CASE WHEN final THEN coalesce(released_at, clock_timestamp()) END,
      released_as = CASE WHEN final THEN NEW.state END
      WHERE client_order_id = NEW.client_order_id;
  END IF;
  RETURN NULL;
END $$;
INSERT INTO reservation (client_order_id, symbol, side, qty, price, reserved_at, released_at, released_as)
  SELECT client_order_id, symbol, side, qty - filled_qty, limit_price, created_at,
         CASE WHEN state IN ('DONE', 'REJECTED', 'VOID', 'EXPIRED_UNSENT') THEN updated_at END,
         CASE WHEN state IN ('DONE', 'REJECTED', 'VOID', 'EXPIRED_UNSENT') THEN state END FROM orders;
CREATE TRIGGER reservation AFTER INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION track_reservation();

CREATE OR REPLACE VIEW exposure AS
  SELECT symbol, sum(q) AS position, sum(b) AS open_buys, sum(s) AS open_sells, max(px) AS price,
         greatest(abs(sum(q) + sum(b)), abs(sum(q) - sum(s))) * max(px) AS worst_notional
  FROM (SELECT symbol, qty AS q, 0 AS b, 0 AS s, coalesce(mark_price, average_price) AS px FROM position WHERE qty <> 0
        UNION ALL
        SELECT symbol, 0, CASE side WHEN 'buy' THEN qty ELSE 0 END, CASE side WHEN 'sell' THEN qty ELSE 0 END, price
        FROM reservation WHERE released_at IS NULL) parts
  GROUP BY symbol;

-- ------------------------------------------------------------------ lots, first in first out
CREATE TABLE lot (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, symbol varchar NOT NULL, txn varchar NOT NULL,
  opened_at timestamptz NOT NULL, qty numeric(24, 9) NOT NULL, price numeric(24, 9) NOT NULL,
  remaining numeric(24, 9) NOT NULL, CHECK (qty <> 0 AND qty * remaining >= 0));
CREATE INDEX lot_open ON lot (symbol, id) WHERE remaining <> 0;
CREATE TABLE lot_close (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, lot_id bigint NOT NULL REFERENCES lot (id),
  txn varchar NOT NULL, at timestamptz NOT NULL, qty numeric(24, 9) NOT NULL, price numeric(24, 9) NOT NULL,
  pnl numeric(24, 6) NOT NULL);
CREATE INDEX ON lot_close (lot_id);

-- Signed shares: positive lots are long, negative ones short.
CREATE FUNCTION move_lots(p_txn text, p_symbol text, p_delta numeric, p_price numeric, p_at timestamptz) RETURNS numeric
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE l record; left_over numeric := p_delta; taken numeric; pnl numeric := 0; BEGIN
  FOR l IN SELECT id, remaining, price FROM lot WHERE symbol = p_symbol AND remaining <> 0
             AND sign(remaining) <> sign(p_delta) ORDER BY id FOR UPDATE LOOP
    EXIT WHEN left_over = 0;
    taken := least(abs(l.remaining), abs(left_over)) * sign(l.remaining);
    UPDATE lot SET remaining = remaining - taken WHERE id = l.id;
    INSERT INTO lot_close (lot_id, txn, at, qty, price, pnl)
      VALUES (l.id, p_txn, p_at, taken, p_price, taken * (p_price - l.price));
    pnl := pnl + taken * (p_price - l.price);
    left_over := left_over + taken;
  END LOOP;
  IF left_over <> 0 THEN
    INSERT INTO lot (symbol, txn, opened_at, qty, price, remaining)
      VALUES (p_symbol, p_txn, p_at, left_over, p_price, left_over);
  END IF;
  RETURN pnl;
END $$;
-- Positions of a ledger from before lots: one lot each, at its average price.
INSERT INTO lot (symbol, txn, opened_at, qty, price, remaining)
  SELECT symbol, 'carried', updated_at, qty, average_price, qty FROM position WHERE qty <> 0;

-- ------------------------------------------------------------------ functions that now do more
CREATE OR REPLACE FUNCTION take_over(p_account text, p_holder text) RETURNS int
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE b book%ROWTYPE; BEGIN
  SELECT * INTO STRICT b FROM book FOR UPDATE;
  IF b.account IS NOT NULL AND b.account <> p_account THEN
    RAISE EXCEPTION 'this ledger belongs to account %, the broker key to account %', b.account, p_account
      USING ERRCODE = 'LF002';
  END IF;
  UPDATE book SET epoch = book.epoch + 1, holder = p_holder, account = p_account,
    heartbeat_at = clock_timestamp() RETURNING * INTO b;
  INSERT INTO epoch (number, account, holder, at) VALUES (b.epoch, p_account, p_holder, clock_timestamp());
  PERFORM open_raw_partitions(clock_timestamp()::date, 2);
  PERFORM audit('EPOCH', b.epoch::text, jsonb_build_object('account', p_account, 'holder', p_holder)::text);
  RETURN b.epoch;
END $$;

CREATE OR REPLACE FUNCTION set_state(p_epoch int, p_cid text, p_state text, p_broker_id text, p_broker_status text,
                          p_reason text) RETURNS text
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
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
  -- An ambiguous outcome is resolved by evidence only: what the broker said, or why it cannot have it.
  IF o.state = 'UNKNOWN' AND p_state <> 'UNKNOWN' AND coalesce(p_broker_id, p_broker_status, nullif(p_reason, '')) IS NULL THEN
    RAISE EXCEPTION 'order %: leaves UNKNOWN only with evidence; name the broker''s answer or the reason', p_cid
      USING ERRCODE = 'LF002';
  END IF;
  UPDATE orders SET state = p_state, broker_order_id = coalesce(p_broker_id, broker_order_id),
    broker_status = coalesce(p_broker_status, broker_status), reason = p_reason, updated_at = clock_timestamp()
    WHERE client_order_id = p_cid;
  PERFORM audit('STATE', p_cid, jsonb_build_object('from', o.state, 'to', p_state, 'broker_id', p_broker_id,
    'broker_status', p_broker_status, 'reason', p_reason)::text);
  RETURN p_state;
END $$;

CREATE OR REPLACE FUNCTION record_fill(p_epoch int, p_execution text, p_cid text, p_qty numeric, p_price numeric,
                            p_filled_at timestamptz, p_source text) RETURNS boolean
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE o orders%ROWTYPE; d int; t timestamptz := clock_timestamp(); present text; BEGIN
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
  PERFORM move_lots('fill:' || p_execution, o.symbol, d * p_qty, p_price, t);
  PERFORM audit('FILL', p_cid, jsonb_build_object('execution_id', p_execution, 'qty', p_qty, 'price', p_price,
    'filled_at', p_filled_at, 'source', p_source)::text);
  -- A fill of an order we held for never sent or refused: book it, but our proof was wrong.
  IF o.state IN ('VOID', 'REJECTED', 'EXPIRED_UNSENT') THEN
    SELECT mode INTO present FROM book;
    IF mode_rank('HALTED') > mode_rank(present) THEN
      UPDATE book SET mode = 'HALTED', mode_reason = format('fill of %s order %s', o.state, p_cid), mode_since = t;
      PERFORM audit('MODE', 'HALTED', jsonb_build_object('from', present, 'reason', format('fill of %s order %s', o.state, p_cid))::text);
    END IF;
    PERFORM raise_alert('critical', 'late_fill', format('Fill of an order that was %s', o.state),
      format('Order %s: %s %s %s at %s was filled although the ledger had it as %s; trading halted.',
             p_cid, o.side, p_qty, o.symbol, p_price, o.state), p_cid);
  END IF;
  RETURN true;
END $$;

CREATE OR REPLACE FUNCTION open_book(p_epoch int, p_cash numeric, p_positions jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
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
    PERFORM move_lots('opening', r.symbol, r.qty, r.price, t);
  END LOOP;
  PERFORM audit('OPENING', 'book', jsonb_build_object('cash', p_cash, 'positions', p_positions)::text);
END $$;

-- A split, a stock dividend, a merger's shares: shares and cash move by the broker's activity, booked once.
CREATE FUNCTION record_corporate_action(p_epoch int, p_activity text, p_symbol text, p_shares numeric, p_cash numeric,
                                        p_memo text) RETURNS boolean
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE t timestamptz := clock_timestamp(); tx text := 'activity:' || p_activity; h position%ROWTYPE; ratio numeric; BEGIN
  PERFORM fence(p_epoch);
  IF EXISTS (SELECT 1 FROM posting WHERE txn = tx) THEN RETURN false; END IF;
  IF p_shares <> 0 THEN
    SELECT * INTO h FROM position WHERE symbol = p_symbol FOR UPDATE;
    IF NOT FOUND OR h.qty = 0 OR sign(h.qty + p_shares) <> sign(h.qty) THEN
      RAISE EXCEPTION 'corporate action % of % moves % shares, but % are held', p_activity, p_symbol, p_shares, coalesce(h.qty, 0)
        USING ERRCODE = 'LF002';
    END IF;
    ratio := (h.qty + p_shares) / h.qty;
    INSERT INTO posting (txn, line, account, asset, amount, at, memo) VALUES
      (tx, 1, 'inventory', p_symbol, p_shares, t, p_memo), (tx, 2, 'corporate_action', p_symbol, -p_shares, t, p_memo);
    UPDATE position SET qty = qty + p_shares, average_price = average_price / ratio, mark_price = mark_price / ratio,
      updated_at = t WHERE symbol = p_symbol;
    UPDATE lot SET remaining = remaining * ratio, qty = qty * ratio, price = price / ratio
      WHERE symbol = p_symbol AND remaining <> 0;
  END IF;
  IF p_cash <> 0 THEN
    INSERT INTO posting (txn, line, account, asset, amount, at, memo) VALUES
      (tx, 3, 'cash', 'USD', p_cash, t, p_memo), (tx, 4, 'corporate_action', 'USD', -p_cash, t, p_memo);
  END IF;
  PERFORM audit('CORPORATE_ACTION', p_activity, jsonb_build_object('symbol', p_symbol, 'shares', p_shares, 'cash', p_cash,
    'memo', p_memo)::text);
  RETURN true;
END $$;

-- A person's correction of cash after a break has been understood; never the executor's act.
CREATE FUNCTION record_adjustment(p_who text, p_reason text, p_amount numeric) RETURNS bigint
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE t timestamptz := clock_timestamp(); tx text := 'adjustment:' || gen_random_uuid(); BEGIN
  IF p_reason = '' OR p_amount = 0 THEN
    RAISE EXCEPTION 'an adjustment needs a reason and an amount' USING ERRCODE = 'LF002';
  END IF;
  PERFORM 1 FROM book FOR UPDATE;
  INSERT INTO posting (txn, line, account, asset, amount, at, memo) VALUES
    (tx, 1, 'cash', 'USD', p_amount, t, p_reason), (tx, 2, 'adjustment', 'USD', -p_amount, t, p_reason);
  RETURN audit('ADJUSTMENT', tx, jsonb_build_object('who', p_who, 'reason', p_reason, 'amount', p_amount)::text);
END $$;

-- ------------------------------------------------------------------ limits: tighten alone, loosen with two
CREATE TABLE limit_direction (name text PRIMARY KEY, tighter text NOT NULL CHECK (tighter IN ('lower', 'higher')));
INSERT INTO limit_direction (name, tighter) VALUES
  ('risk_per_trade', 'lower'), ('risk_volatilities', 'higher'), ('single_name', 'lower'), ('sector', 'lower'),
  ('gross', 'lower'), ('order_notional_usd', 'lower'), ('price_collar', 'lower'), ('quote_age_s', 'lower'),
  ('participation', 'lower'), ('daily_loss', 'lower'), ('drawdown', 'lower'), ('drawdown_scale', 'lower'),
  ('value_at_risk', 'lower'), ('expected_shortfall', 'lower'), ('orders_per_day', 'lower');
CREATE TABLE limit_proposal (
  id uuid PRIMARY KEY, at timestamptz NOT NULL, author text NOT NULL, reason text NOT NULL, limits jsonb NOT NULL,
  base_version int NOT NULL, state text NOT NULL DEFAULT 'OPEN' CHECK (state IN ('OPEN', 'CONFIRMED', 'WITHDRAWN')),
  decided_by text, decided_at timestamptz, version int);

CREATE FUNCTION check_limits(p_limits jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE r record; v numeric; BEGIN
  FOR r IN SELECT * FROM jsonb_each_text(p_limits) LOOP
    BEGIN v := r.value::numeric; EXCEPTION WHEN OTHERS THEN v := 'NaN'; END;
    IF v IS NULL OR v = 'NaN' OR v < 0 OR v > 1e15 THEN
      RAISE EXCEPTION 'limit % is %; expected a number from 0 up', r.key, coalesce(r.value, 'null') USING ERRCODE = 'LF002';
    END IF;
  END LOOP;
END $$;

-- Names of the limits that a change loosens. Leaving one out tightens: a missing limit refuses every order.
CREATE FUNCTION loosened(p_before jsonb, p_after jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = ledger, pg_catalog, pg_temp AS $$
  SELECT string_agg(k, ', ' ORDER BY k) FROM jsonb_object_keys(p_after) k LEFT JOIN limit_direction d ON d.name = k
  WHERE (p_after ->> k)::numeric IS DISTINCT FROM (p_before ->> k)::numeric
    AND NOT coalesce(CASE d.tighter WHEN 'lower' THEN (p_after ->> k)::numeric < (p_before ->> k)::numeric
                                    WHEN 'higher' THEN (p_after ->> k)::numeric > (p_before ->> k)::numeric END, false) $$;

CREATE FUNCTION add_limit_version(p_author text, p_reason text, p_limits jsonb) RETURNS int
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE v int; BEGIN
  SELECT coalesce(max(version), 0) + 1 INTO v FROM limit_version;
  INSERT INTO limit_version (version, effective_from, author, reason, limits)
    VALUES (v, clock_timestamp(), p_author, p_reason, p_limits);
  PERFORM audit('LIMITS', v::text, jsonb_build_object('author', p_author, 'reason', p_reason, 'limits', p_limits)::text);
  RETURN v;
END $$;

CREATE OR REPLACE FUNCTION set_limits(p_author text, p_reason text, p_limits jsonb) RETURNS int
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE present jsonb; loose text; BEGIN
  PERFORM 1 FROM book FOR UPDATE;                 -- one change at a time, never in the middle of a decision
  PERFORM check_limits(p_limits);
  SELECT limits INTO present FROM limit_version ORDER BY version DESC LIMIT 1;
  IF FOUND THEN loose := loosened(present, p_limits); END IF;
  IF loose IS NOT NULL THEN
    RAISE EXCEPTION 'this loosens %: one person may tighten, loosening needs a second (executor limits propose, then confirm by someone else)', loose
      USING ERRCODE = 'LF004';
  END IF;
  RETURN add_limit_version(p_author, p_reason, p_limits);
END $$;

CREATE FUNCTION propose_limits(p_author text, p_reason text, p_limits jsonb) RETURNS uuid
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE v uuid := gen_random_uuid(); BEGIN
  IF p_reason = '' THEN RAISE EXCEPTION 'a change of limits needs a reason' USING ERRCODE = 'LF002'; END IF;
  PERFORM check_limits(p_limits);
  INSERT INTO limit_proposal (id, at, author, reason, limits, base_version)
    VALUES (v, clock_timestamp(), p_author, p_reason, p_limits, (SELECT coalesce(max(version), 0) FROM limit_version));
  PERFORM audit('LIMITS_PROPOSED', v::text, jsonb_build_object('author', p_author, 'reason', p_reason, 'limits', p_limits)::text);
  RETURN v;
END $$;

CREATE FUNCTION confirm_limits(p_proposal uuid, p_who text, p_reason text) RETURNS int
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE l limit_proposal%ROWTYPE; v int; BEGIN
  PERFORM 1 FROM book FOR UPDATE;
  SELECT * INTO l FROM limit_proposal WHERE id = p_proposal FOR UPDATE;
  IF NOT FOUND THEN RAISE EXCEPTION 'no proposal of limits %', p_proposal USING ERRCODE = 'LF002'; END IF;
  IF l.state <> 'OPEN' THEN RAISE EXCEPTION 'proposal % is %', p_proposal, l.state USING ERRCODE = 'LF002'; END IF;
  IF p_who = l.author THEN
    RAISE EXCEPTION '% proposed these limits and cannot confirm them; someone else must', p_who USING ERRCODE = 'LF004';
  END IF;
  IF l.base_version <> (SELECT coalesce(max(version), 0) FROM limit_version) THEN
    RAISE EXCEPTION 'the limits changed since this was proposed (version %); propose again', l.base_version USING ERRCODE = 'LF002';
  END IF;
  v := add_limit_version(l.author || ' and ' || p_who, l.reason || '; ' || p_reason, l.limits);
  UPDATE limit_proposal SET state = 'CONFIRMED', decided_by = p_who, decided_at = clock_timestamp(), version = v
    WHERE id = p_proposal;
  RETURN v;
END $$;

-- ------------------------------------------------------------------ approvals that can be checked
CREATE TABLE approver_key (
  key_id varchar(16) PRIMARY KEY, approver varchar NOT NULL, public_key varchar(64) NOT NULL,
  registered_at timestamptz NOT NULL, registered_by varchar NOT NULL, revoked_at timestamptz, revoked_by varchar,
  CHECK (public_key ~ '^[0-9a-f]{64}$'));
ALTER TABLE approval ADD COLUMN key_id varchar(16) REFERENCES approver_key (key_id), ADD COLUMN signature varchar(128);

CREATE FUNCTION register_approver(p_by text, p_approver text, p_public_key text) RETURNS text
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE k text := left(encode(sha256(decode(p_public_key, 'hex')), 'hex'), 16); BEGIN
  INSERT INTO approver_key (key_id, approver, public_key, registered_at, registered_by)
    VALUES (k, p_approver, p_public_key, clock_timestamp(), p_by) ON CONFLICT (key_id) DO NOTHING;
  IF FOUND THEN
    PERFORM audit('APPROVER', k, jsonb_build_object('approver', p_approver, 'public_key', p_public_key, 'by', p_by)::text);
  END IF;
  RETURN k;
END $$;

CREATE FUNCTION revoke_approver(p_by text, p_key_id text, p_reason text) RETURNS void
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
BEGIN
  UPDATE approver_key SET revoked_at = clock_timestamp(), revoked_by = p_by WHERE key_id = p_key_id AND revoked_at IS NULL;
  IF NOT FOUND THEN RAISE EXCEPTION 'no key % in force', p_key_id USING ERRCODE = 'LF002'; END IF;
  PERFORM audit('APPROVER_REVOKED', p_key_id, jsonb_build_object('by', p_by, 'reason', p_reason)::text);
END $$;

-- The rules of the first door, for whoever inserts the row and by whatever program.
CREATE FUNCTION guard_approval() RETURNS trigger LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE b signal_batch%ROWTYPE; env text; BEGIN
  SELECT * INTO STRICT b FROM signal_batch WHERE id = NEW.batch_id;
  SELECT environment INTO STRICT env FROM book;
  IF b.state <> 'PROPOSED' THEN RAISE EXCEPTION 'batch % is %, not PROPOSED', b.id, b.state USING ERRCODE = 'LF002'; END IF;
  IF NEW.content_hash <> b.content_hash OR NEW.environment <> b.environment OR b.environment <> env THEN
    RAISE EXCEPTION 'the approval is of another content or environment than batch %', b.id USING ERRCODE = 'LF002';
  END IF;
  IF NEW.verdict = 'approved' THEN
    IF NEW.approver = b.proposer THEN
      RAISE EXCEPTION '% proposed batch % and cannot approve it', NEW.approver, b.id USING ERRCODE = 'LF002';
    END IF;
    IF env <> 'replay' AND b.valid_until <= clock_timestamp() THEN
      RAISE EXCEPTION 'batch % expired at %', b.id, b.valid_until USING ERRCODE = 'LF002';
    END IF;
    IF env = 'live' AND NEW.signature IS NULL THEN
      RAISE EXCEPTION 'a live batch needs a signed approval' USING ERRCODE = 'LF002';
    END IF;
  END IF;
  IF (NEW.signature IS NULL) <> (NEW.key_id IS NULL) THEN
    RAISE EXCEPTION 'a signature and its key come together' USING ERRCODE = 'LF002';
  END IF;
  IF NEW.key_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM approver_key k WHERE k.key_id = NEW.key_id
       AND k.approver = NEW.approver AND k.revoked_at IS NULL) THEN
    RAISE EXCEPTION 'key % is not in force for %', NEW.key_id, NEW.approver USING ERRCODE = 'LF002';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE INSERT ON approval FOR EACH ROW EXECUTE FUNCTION guard_approval();

-- What was proposed stays what was proposed: only a batch's state and note may change.
CREATE FUNCTION guard_batch() RETURNS trigger LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
BEGIN
  IF to_jsonb(NEW) - 'state' - 'note' IS DISTINCT FROM to_jsonb(OLD) - 'state' - 'note' THEN
    RAISE EXCEPTION 'batch %: its terms never change', OLD.id USING ERRCODE = 'LF002';
  END IF;
  IF NEW.state = 'APPROVED' AND OLD.state <> 'APPROVED' THEN
    PERFORM pg_notify('sallyport_batch', NEW.id::text);   -- wakes earlier; the poll is the contract
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE ON signal_batch FOR EACH ROW EXECUTE FUNCTION guard_batch();

CREATE FUNCTION guard_signal() RETURNS trigger LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
BEGIN
  IF (SELECT state FROM signal_batch WHERE id = NEW.batch_id) <> 'PROPOSED' THEN
    RAISE EXCEPTION 'batch % has been decided on; nothing can be added', NEW.batch_id USING ERRCODE = 'LF002';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE INSERT ON signal FOR EACH ROW EXECUTE FUNCTION guard_signal();

-- ------------------------------------------------------------------ what is recorded stays
DO $$ DECLARE t text; BEGIN
  FOREACH t IN ARRAY ARRAY['anchor', 'epoch', 'drill', 'release', 'clock_sample', 'alert_delivery', 'raw_message',
                           'lot_close', 'identity', 'limit_direction', 'recordable', 'order_edge'] LOOP
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION refuse_change()', t);
    EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', t);
  END LOOP;
  FOREACH t IN ARRAY ARRAY['reservation', 'lot', 'limit_proposal', 'approver_key', 'alert', 'position'] LOOP
    EXECUTE format('CREATE TRIGGER keep_rows BEFORE DELETE ON %I FOR EACH ROW EXECUTE FUNCTION refuse_change()', t);
  END LOOP;
END $$;
