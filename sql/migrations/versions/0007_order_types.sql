-- Orders of every type, legs and replacements; a decision stands only under the limits in force, and
-- the mode has the last word before the bytes leave.
SET LOCAL search_path = ledger, pg_catalog;

-- ------------------------------------------------------------------ terms
ALTER TABLE orders
  ADD COLUMN stop_price numeric(24, 6), ADD COLUMN trail_percent numeric(24, 6), ADD COLUMN trail_price numeric(24, 6),
  ADD COLUMN order_class varchar NOT NULL DEFAULT 'simple',
  ADD COLUMN parent_client_order_id varchar(48) REFERENCES orders (client_order_id),
  ADD COLUMN extended_hours boolean NOT NULL DEFAULT false,
  ADD COLUMN replaces_client_order_id varchar(48) REFERENCES orders (client_order_id),
  ADD COLUMN worst_price numeric(24, 6),
  ADD COLUMN strategy varchar NOT NULL DEFAULT '',
  ALTER COLUMN limit_price DROP NOT NULL,
  DROP CONSTRAINT a_signal_or_an_exit, DROP CONSTRAINT positive_terms;
ALTER TABLE orders DISABLE TRIGGER USER;               -- a new column is filled, no term changes
UPDATE orders SET worst_price = limit_price;
ALTER TABLE orders ENABLE TRIGGER USER;
ALTER TABLE orders ALTER COLUMN worst_price SET NOT NULL,
  ADD CONSTRAINT purpose CHECK (purpose IN ('target', 'flatten', 'stop', 'take_profit')),
  ADD CONSTRAINT order_class CHECK (order_class IN ('simple', 'bracket', 'oco', 'oto')),
  ADD CONSTRAINT a_signal_or_an_exit CHECK (purpose <> 'target' OR signal_id IS NOT NULL),
  ADD CONSTRAINT positive_terms CHECK (qty > 0 AND worst_price > 0 AND limit_price > 0 AND stop_price > 0
                                       AND trail_percent > 0 AND trail_price > 0),
  ADD CONSTRAINT bounded CHECK (worst_price >= limit_price AND worst_price >= stop_price);

-- Which prices belong to an order type, as data: a type that is not here is refused.
CREATE TABLE order_terms (
  order_type text PRIMARY KEY, takes_limit boolean NOT NULL, takes_stop boolean NOT NULL, takes_trail boolean NOT NULL);
INSERT INTO order_terms VALUES ('market', false, false, false), ('limit', true, false, false), ('stop', false, true, false),
  ('stop_limit', true, true, false), ('trailing_stop', false, false, true);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON order_terms FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON order_terms FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

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
  IF NEW.filled_qty < OLD.filled_qty THEN
    RAISE EXCEPTION 'order %: fills only grow', OLD.client_order_id USING ERRCODE = 'LF002';
  END IF;
  RETURN NEW;
END $$;

-- ------------------------------------------------------------------ reservations of orders that belong together
-- Orders of one root and one side exclude each other at the broker (legs of a bracket or oco, an exit and
-- its replacement): together they reserve what the largest of them may still do. A leg on the other side of
-- its parent reserves only what the parent has filled: it can undo that and no more.
ALTER TABLE reservation ADD COLUMN root varchar(48);
UPDATE reservation SET root = client_order_id;
ALTER TABLE reservation ALTER COLUMN root SET NOT NULL;
CREATE INDEX reservation_legs ON reservation (root) WHERE root <> client_order_id;

CREATE FUNCTION share_reservation(p_root text) RETURNS void
LANGUAGE sql SET search_path = ledger, pg_catalog, pg_temp AS $$
  WITH leg AS (
    SELECT o.client_order_id, o.qty, o.filled_qty, o.side = e.side AS with_root, e.filled_qty AS entered
    FROM orders e JOIN reservation r ON r.root = e.client_order_id JOIN orders o ON o.client_order_id = r.client_order_id
    WHERE e.client_order_id = p_root),
  room AS (
    SELECT with_root, CASE WHEN with_root THEN max(qty) ELSE max(entered) END - sum(filled_qty) AS qty FROM leg GROUP BY 1)
  UPDATE reservation r SET qty = greatest(0, least(leg.qty - leg.filled_qty, room.qty))
    FROM leg JOIN room USING (with_root) WHERE r.client_order_id = leg.client_order_id $$;

CREATE OR REPLACE FUNCTION track_reservation() RETURNS trigger LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE final boolean := NEW.state IN ('DONE', 'REJECTED', 'VOID', 'EXPIRED_UNSENT'); v_root text := NEW.client_order_id; BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.parent_client_order_id IS NOT NULL THEN
      SELECT root INTO STRICT v_root FROM reservation WHERE client_order_id = NEW.parent_client_order_id;
    ELSIF NEW.replaces_client_order_id IS NOT NULL AND NEW.purpose <> 'target' THEN
      SELECT root INTO STRICT v_root FROM reservation WHERE client_order_id = NEW.replaces_client_order_id;
    END IF;
    INSERT INTO reservation (client_order_id, symbol, side, qty, price, reserved_at, released_at, released_as, root)
      VALUES (NEW.client_order_id, NEW.symbol, NEW.side, NEW.qty - NEW.filled_qty, NEW.worst_price, NEW.created_at,
              CASE WHEN final THEN clock_timestamp() END, CASE WHEN final THEN NEW.state END, v_root);
    IF v_root <> NEW.client_order_id THEN PERFORM share_reservation(v_root); END IF;
  ELSIF NEW.state <> OLD.state OR NEW.filled_qty <> OLD.filled_qty THEN
    IF NOT final AND NEW.filled_qty = OLD.filled_qty THEN RETURN NULL; END IF;
    UPDATE reservation SET qty = NEW.qty - NEW.filled_qty,
      released_at = CASE WHEN final THEN coalesce(released_at, clock_timestamp()) END,
      released_as = CASE WHEN final THEN NEW.state END
      WHERE client_order_id = NEW.client_order_id RETURNING root INTO v_root;
    IF v_root <> NEW.client_order_id OR EXISTS (SELECT 1 FROM reservation WHERE root = v_root AND root <> client_order_id) THEN
      PERFORM share_reservation(v_root);
    END IF;
  END IF;
  RETURN NULL;
END $$;

-- Worst case over every subset of the open and unknown orders filling: all buys, at the highest price
-- they or the mark allow, or all sells.
CREATE OR REPLACE VIEW exposure AS
  SELECT symbol, sum(q) AS position, sum(b) AS open_buys, sum(s) AS open_sells, max(px) AS price,
         greatest(abs(sum(q) + sum(b)) * max(px) FILTER (WHERE s = 0),
                  abs(sum(q) - sum(s)) * max(px) FILTER (WHERE b = 0)) AS worst_notional,
         max(px) FILTER (WHERE s = 0) AS buy_price, max(px) FILTER (WHERE b = 0) AS sell_price
  FROM (SELECT symbol, qty AS q, 0 AS b, 0 AS s, coalesce(mark_price, average_price) AS px FROM position WHERE qty <> 0
        UNION ALL
        SELECT symbol, 0, CASE side WHEN 'buy' THEN max(qty) ELSE 0 END, CASE side WHEN 'sell' THEN max(qty) ELSE 0 END,
               max(price)
        FROM reservation WHERE released_at IS NULL AND qty > 0 GROUP BY symbol, side, root) parts
  GROUP BY symbol;

-- ------------------------------------------------------------------ how much capital this stage may use
-- An optional limit that is not set bounds nothing, so setting it tightens and leaving it out loosens.
ALTER TABLE limit_direction ADD COLUMN optional boolean NOT NULL DEFAULT false;
INSERT INTO limit_direction (name, tighter, optional) VALUES ('capital_usd', 'lower', true);

CREATE OR REPLACE FUNCTION loosened(p_before jsonb, p_after jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = ledger, pg_catalog, pg_temp AS $$
  SELECT string_agg(k, ', ' ORDER BY k)
  FROM (SELECT n.k, d.tighter, coalesce((p_before ->> n.k)::numeric, CASE WHEN d.optional THEN 'Infinity'::numeric END) AS was,
               coalesce((p_after ->> n.k)::numeric, CASE WHEN d.optional THEN 'Infinity'::numeric END) AS becomes
        FROM (SELECT jsonb_object_keys(p_after) UNION SELECT name FROM limit_direction WHERE optional) n (k)
        LEFT JOIN limit_direction d ON d.name = n.k) c
  WHERE becomes IS DISTINCT FROM was
    AND NOT coalesce(CASE tighter WHEN 'lower' THEN becomes < was WHEN 'higher' THEN becomes > was END, false) $$;

-- ------------------------------------------------------------------ who may pass in which mode
CREATE FUNCTION mode_refusal(p_mode text, p_killed boolean, p_reducing boolean) RETURNS text
IMMUTABLE LANGUAGE sql AS $$
  SELECT CASE WHEN p_killed AND NOT (p_mode = 'FLATTENING' AND p_reducing) THEN 'killed'
              WHEN p_mode = 'HALTED' THEN 'mode HALTED'
              WHEN p_mode IN ('CLOSE_ONLY', 'FLATTENING') AND NOT p_reducing
                THEN 'mode ' || p_mode || ' takes only reducing orders' END $$;

-- Whether an order of this size, beside what is open on its side, can only bring the position nearer to
-- zero. p_root: the group it belongs to, which counts once; p_cover: what its parent may still add.
CREATE FUNCTION only_reduces(p_symbol text, p_side text, p_qty numeric, p_root text, p_cover numeric) RETURNS boolean
LANGUAGE sql STABLE SET search_path = ledger, pg_catalog, pg_temp AS $$
  SELECT greatest(p_qty, coalesce(max(g.qty) FILTER (WHERE g.root = p_root), 0))
           + coalesce(sum(g.qty) FILTER (WHERE g.root IS DISTINCT FROM p_root), 0)
         <= coalesce((SELECT qty FROM position WHERE symbol = p_symbol), 0) * CASE p_side WHEN 'sell' THEN 1 ELSE -1 END + p_cover
  FROM (SELECT root, max(qty) AS qty FROM reservation
        WHERE symbol = p_symbol AND side = p_side AND released_at IS NULL GROUP BY root) g $$;

CREATE OR REPLACE FUNCTION place(p_epoch int, p jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE
  b book%ROWTYPE; batch signal_batch%ROWTYPE; kin orders%ROWTYPE; v_terms order_terms%ROWTYPE;
  cid text := p ->> 'client_order_id'; why text; s bigint;
  v_symbol text := p ->> 'symbol'; v_side text := p ->> 'side'; v_qty numeric := (p ->> 'qty')::numeric;
  v_type text := p ->> 'order_type'; v_purpose text := p ->> 'purpose'; v_class text := coalesce(nullif(p ->> 'order_class', ''), 'simple');
  v_limit numeric := (p ->> 'limit_price')::numeric; v_stop numeric := (p ->> 'stop_price')::numeric;
  v_percent numeric := (p ->> 'trail_percent')::numeric; v_trail numeric := (p ->> 'trail_price')::numeric;
  v_worst numeric; v_root text; v_cover numeric := 0; reducing boolean;
  v_equity numeric; gross numeric; name_after numeric; v_now timestamptz := clock_timestamp(); t timestamptz;
  lim jsonb; v_version int; cap numeric;
BEGIN
  SELECT * INTO STRICT b FROM book FOR UPDATE;               -- one decision at a time
  IF b.epoch <> p_epoch THEN
    RAISE EXCEPTION 'fenced: epoch % has been taken over by epoch %', p_epoch, b.epoch USING ERRCODE = 'LF001';
  END IF;
  SELECT decision_seq INTO s FROM orders WHERE client_order_id = cid;
  IF FOUND THEN RETURN jsonb_build_object('ok', true, 'reason', 'already placed', 'seq', s); END IF;
  -- Anywhere but in a replay the database's own clock decides, whatever the caller says.
  t := CASE WHEN b.environment = 'replay' THEN (p ->> 'market_time')::timestamptz ELSE clock_timestamp() END;

  -- What the order may cost: its limit, or the collar its maker put around it.
  v_worst := greatest((p ->> 'worst_price')::numeric, v_limit, v_stop);
  SELECT * INTO v_terms FROM order_terms WHERE order_type = v_type;
  IF NOT FOUND OR v_terms.takes_limit <> (v_limit IS NOT NULL) OR v_terms.takes_stop <> (v_stop IS NOT NULL)
     OR v_terms.takes_trail <> ((v_percent IS NULL) <> (v_trail IS NULL)) OR (v_percent IS NOT NULL AND v_trail IS NOT NULL) THEN
    why := format('the prices do not fit the order type %s', v_type);
  ELSIF v_limit IS NULL AND p ->> 'worst_price' IS NULL THEN why := format('no worst_price bounds this %s order', v_type);
  ELSIF v_purpose IS NULL OR v_purpose NOT IN ('target', 'flatten', 'stop', 'take_profit') THEN
    why := format('purpose %s is unknown', v_purpose);
  ELSIF v_class NOT IN ('simple', 'bracket', 'oco', 'oto') THEN why := format('order class %s is unknown', v_class);
  END IF;

  IF why IS NULL AND p ->> 'parent_client_order_id' IS NOT NULL THEN
    SELECT * INTO kin FROM orders WHERE client_order_id = p ->> 'parent_client_order_id';
    IF NOT FOUND OR kin.symbol <> v_symbol OR kin.state IN ('REJECTED', 'VOID', 'EXPIRED_UNSENT') OR v_qty > kin.qty
       OR v_purpose = 'target' THEN
      why := format('no leg of %s: it is unknown, of another symbol, smaller, dead, or this is no exit', p ->> 'parent_client_order_id');
    ELSE
      v_root := (SELECT root FROM reservation WHERE client_order_id = kin.client_order_id);
      IF kin.side <> v_side AND kin.state <> 'DONE' THEN v_cover := kin.qty - kin.filled_qty; END IF;
    END IF;
  END IF;
  IF why IS NULL AND p ->> 'replaces_client_order_id' IS NOT NULL THEN
    SELECT * INTO kin FROM orders WHERE client_order_id = p ->> 'replaces_client_order_id';
    IF NOT FOUND OR kin.symbol <> v_symbol OR kin.side <> v_side THEN
      why := format('%s is no order of this symbol and side to replace', p ->> 'replaces_client_order_id');
    ELSIF v_root IS NULL AND v_purpose <> 'target' THEN
      v_root := (SELECT root FROM reservation WHERE client_order_id = kin.client_order_id);
    END IF;
  END IF;

  reducing := only_reduces(v_symbol, v_side, v_qty, v_root, v_cover);
  why := coalesce(why, mode_refusal(b.mode, b.killed, reducing));
  IF why IS NULL AND v_purpose <> 'target' AND NOT reducing THEN why := format('a %s order must reduce', v_purpose); END IF;
  IF why IS NULL AND v_purpose = 'target' THEN
    SELECT sb.* INTO batch FROM signal_batch sb JOIN signal g ON g.batch_id = sb.id
      WHERE g.id = (p ->> 'signal_id')::uuid AND g.symbol = v_symbol;
    IF NOT FOUND THEN why := 'no such signal for ' || v_symbol;
    ELSIF batch.state <> 'CLAIMED' THEN why := 'batch is ' || batch.state || ', not CLAIMED';
    ELSIF NOT EXISTS (SELECT 1 FROM approval a LEFT JOIN approver_key k ON k.key_id = a.key_id
                      WHERE a.batch_id = batch.id AND a.verdict = 'approved' AND a.content_hash = batch.content_hash
                        AND k.revoked_at IS NULL AND (b.environment <> 'live' OR a.signature IS NOT NULL)) THEN
      why := 'batch is not approved';
    ELSIF batch.environment <> b.environment THEN why := 'batch is for environment ' || batch.environment;
    ELSIF t < batch.valid_from OR t >= batch.valid_until THEN
      why := format('batch is valid from %s to %s, market time is %s', batch.valid_from, batch.valid_until, t);
    ELSIF nullif(p ->> 'strategy', '') <> batch.strategy THEN
      why := format('the signal is of strategy %s, not %s', batch.strategy, p ->> 'strategy');
    END IF;
  END IF;

  IF why IS NULL AND NOT reducing THEN
    SELECT limits, version INTO lim, v_version FROM limit_version WHERE effective_from <= v_now ORDER BY version DESC LIMIT 1;
    cap := limit_of(lim, 'order_notional_usd');
    IF (p ->> 'limit_version')::int IS DISTINCT FROM v_version THEN
      why := format('limits changed: decided under version %s, version %s is in force', p ->> 'limit_version', v_version);
    ELSIF v_qty * v_worst > cap THEN
      why := format('order notional %s over %s', v_qty * v_worst, cap);
    ELSE
      SELECT e.equity INTO v_equity FROM equity_mark e ORDER BY id DESC LIMIT 1;
      IF v_equity IS NULL OR v_equity <= 0 THEN why := 'equity is unknown';
      ELSE
        -- Exactly what the view will say once this order is reserved: no order leaves it above a cap.
        SELECT coalesce(sum(worst_notional) FILTER (WHERE symbol <> v_symbol), 0),
               greatest(abs(coalesce(sum(position + open_buys) FILTER (WHERE symbol = v_symbol), 0)
                            + CASE v_side WHEN 'buy' THEN v_qty ELSE 0 END)
                        * greatest(CASE v_side WHEN 'buy' THEN v_worst END, max(buy_price) FILTER (WHERE symbol = v_symbol)),
                        abs(coalesce(sum(position - open_sells) FILTER (WHERE symbol = v_symbol), 0)
                            - CASE v_side WHEN 'sell' THEN v_qty ELSE 0 END)
                        * greatest(CASE v_side WHEN 'sell' THEN v_worst END, max(sell_price) FILTER (WHERE symbol = v_symbol)))
          INTO gross, name_after FROM exposure;
        gross := gross + name_after;
        cap := limit_of(lim, 'gross') * v_equity;
        IF gross > cap THEN why := format('worst-case gross %s over %s', gross, cap);
        ELSIF gross > (lim ->> 'capital_usd')::numeric THEN
          why := format('worst-case gross %s over the capital of this stage, %s', gross, lim ->> 'capital_usd');
        ELSE
          cap := limit_of(lim, 'single_name') * v_equity;
          IF name_after > cap THEN why := format('worst-case %s %s over %s', v_symbol, name_after, cap); END IF;
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
      cost_estimate, created_at, updated_at, market_time, stop_price, trail_percent, trail_price, order_class,
      parent_client_order_id, extended_hours, replaces_client_order_id, worst_price, strategy)
    VALUES (cid, (p ->> 'signal_id')::uuid, (p ->> 'leg')::int, (p ->> 'batch_id')::uuid, v_purpose, s,
      p_epoch, v_symbol, v_side, v_qty, v_type, v_limit, p ->> 'time_in_force', 'INTENT', 0, 0, '',
      (p ->> 'arrival_price')::numeric, p -> 'cost_estimate', v_now, v_now, (p ->> 'market_time')::timestamptz,
      v_stop, v_percent, v_trail, v_class, p ->> 'parent_client_order_id', coalesce((p ->> 'extended_hours')::boolean, false),
      p ->> 'replaces_client_order_id', v_worst, coalesce(nullif(p ->> 'strategy', ''), batch.strategy, ''));
  RETURN jsonb_build_object('ok', true, 'reason', '', 'seq', s);
END $$;

-- A leg that the broker made of a bracket, oto or oco and names itself: it is there, so it is recorded whatever
-- the mode; its parent's decision carries it. Returns false if it was known.
CREATE FUNCTION record_leg(p_epoch int, p jsonb) RETURNS boolean
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE kin orders%ROWTYPE; cid text := p ->> 'client_order_id'; s bigint; t timestamptz := clock_timestamp(); BEGIN
  PERFORM fence(p_epoch);
  IF EXISTS (SELECT 1 FROM orders WHERE client_order_id = cid) THEN RETURN false; END IF;
  SELECT * INTO kin FROM orders WHERE client_order_id = p ->> 'parent_client_order_id';
  IF NOT FOUND OR kin.order_class = 'simple' OR kin.symbol <> p ->> 'symbol' OR (p ->> 'qty')::numeric > kin.qty
     OR (kin.side = p ->> 'side') <> (kin.order_class = 'oco') THEN
    RAISE EXCEPTION 'order % is no leg of %', cid, p ->> 'parent_client_order_id' USING ERRCODE = 'LF002';
  END IF;
  s := record_decision(p_epoch, jsonb_build_object('inputs', '{}'::jsonb, 'checks', '{}'::jsonb, 'limit_version',
    (SELECT limit_version FROM decision WHERE seq = kin.decision_seq)) || p, 'accepted', 'leg of ' || kin.client_order_id);
  INSERT INTO orders (client_order_id, signal_id, leg, batch_id, purpose, decision_seq, epoch, symbol, side, qty,
      order_type, limit_price, time_in_force, state, filled_qty, filled_notional, reason, arrival_price,
      cost_estimate, created_at, updated_at, market_time, stop_price, order_class, parent_client_order_id, extended_hours,
      worst_price, strategy, broker_order_id, broker_status)
    VALUES (cid, NULL, (p ->> 'leg')::int, kin.batch_id, p ->> 'purpose', s, p_epoch, kin.symbol, p ->> 'side',
      (p ->> 'qty')::numeric, p ->> 'order_type', (p ->> 'limit_price')::numeric, p ->> 'time_in_force', 'LIVE', 0, 0, '',
      kin.arrival_price, '{}', t, t, (p ->> 'market_time')::timestamptz, (p ->> 'stop_price')::numeric, kin.order_class,
      kin.client_order_id, kin.extended_hours,
      greatest((p ->> 'limit_price')::numeric, (p ->> 'stop_price')::numeric, (p ->> 'worst_price')::numeric),
      kin.strategy, p ->> 'broker_order_id', p ->> 'broker_status');
  PERFORM audit('STATE', cid, jsonb_build_object('from', 'INTENT', 'to', 'LIVE', 'broker_id', p ->> 'broker_order_id',
    'broker_status', p ->> 'broker_status', 'reason', 'leg of ' || kin.client_order_id)::text);
  RETURN true;
END $$;

CREATE OR REPLACE FUNCTION set_state(p_epoch int, p_cid text, p_state text, p_broker_id text, p_broker_status text,
                          p_reason text) RETURNS text
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE b book%ROWTYPE; o orders%ROWTYPE; parent orders%ROWTYPE; v_cover numeric := 0; why text; BEGIN
  SELECT * INTO STRICT b FROM book FOR UPDATE;
  IF b.epoch <> p_epoch THEN
    RAISE EXCEPTION 'fenced: epoch % has been taken over by epoch %', p_epoch, b.epoch USING ERRCODE = 'LF001';
  END IF;
  SELECT * INTO o FROM orders WHERE client_order_id = p_cid FOR UPDATE;
  IF NOT FOUND THEN RAISE EXCEPTION 'no order %', p_cid USING ERRCODE = 'LF002'; END IF;
  -- Last look before the bytes leave: a kill or a tighter mode since the decision withdraws the intent.
  IF p_state = 'SENDING' AND o.state <> 'SENDING' AND (b.killed OR b.mode NOT IN ('READY', 'REDUCING')) THEN
    SELECT * INTO parent FROM orders WHERE client_order_id = o.parent_client_order_id;
    IF parent.side <> o.side AND parent.state NOT IN ('DONE', 'REJECTED', 'VOID', 'EXPIRED_UNSENT') THEN
      v_cover := parent.qty - parent.filled_qty;
    END IF;
    why := mode_refusal(b.mode, b.killed, only_reduces(o.symbol, o.side, o.qty - o.filled_qty,
      (SELECT root FROM reservation WHERE client_order_id = p_cid), v_cover));
    IF why IS NOT NULL AND o.state = 'INTENT' THEN
      p_state := 'VOID'; p_reason := why || ' before it was sent';
    ELSIF why IS NOT NULL THEN
      RAISE EXCEPTION 'order % is not sent again: %', p_cid, why USING ERRCODE = 'LF002';
    END IF;
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

-- ------------------------------------------------------------------ views, longer at their ends
CREATE OR REPLACE VIEW v_orders AS
  SELECT o.client_order_id, o.signal_id, o.batch_id, o.leg, o.purpose, o.epoch, o.symbol, o.side, o.qty,
         o.order_type, o.limit_price, o.time_in_force, o.state, o.filled_qty,
         CASE WHEN o.filled_qty > 0 THEN round(o.filled_notional / o.filled_qty, 6) END AS average_fill_price,
         o.broker_order_id, o.broker_status, o.reason, o.arrival_price,
         (o.cost_estimate ->> 'total')::numeric AS expected_cost_usd, o.decision_seq, o.created_at, o.updated_at,
         o.market_time, (o.state NOT IN ('DONE', 'REJECTED', 'VOID', 'EXPIRED_UNSENT')) AS is_open,
         coalesce(r.qty * r.price, 0) * (r.released_at IS NULL)::int AS reserved_usd,
         o.strategy, o.order_class, o.stop_price, o.trail_percent, o.trail_price, o.worst_price, o.extended_hours,
         o.parent_client_order_id, o.replaces_client_order_id
  FROM orders o LEFT JOIN reservation r USING (client_order_id);
