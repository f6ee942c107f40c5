-- The same rules with less work between the lock and the commit.
SET LOCAL search_path = ledger, pg_catalog;

-- ------------------------------------------------------------------ the chain
-- Everything but the number, the time and the predecessor is put together before the head is locked.
CREATE OR REPLACE FUNCTION audit(p_kind text, p_ref text, p_body text) RETURNS bigint
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE
  s bigint; previous bytea; link bytea; t timestamptz;
  who text := CASE WHEN current_setting('role') IN ('none', session_user::text) THEN session_user::text
                   ELSE session_user || '/' || current_setting('role') END;
  fields text := concat_ws('|', octet_length(who), who, octet_length(p_kind), p_kind, octet_length(p_ref), p_ref,
                           octet_length(p_body), p_body);
BEGIN
  SELECT seq + 1, hash INTO STRICT s, previous FROM audit_head FOR UPDATE;
  t := clock_timestamp();                        -- after the lock, so that times do not run backwards
  link := sha256(previous || convert_to(concat_ws('|', s, (extract(epoch FROM t) * 1000000)::bigint, fields), 'UTF8'));
  INSERT INTO audit_log (seq, at, actor, kind, ref, body, prev_hash, hash)
    VALUES (s, t, who, p_kind, p_ref, p_body, previous, link);
  UPDATE audit_head SET seq = s, hash = link;
  RETURN s;
END $$;

-- Many entries of one kind in one transaction. One by one they would be quadratic: each reads the head
-- through the versions that its predecessors in the same transaction left. Returns the last number.
CREATE FUNCTION audit_many(p_kind text, p_refs text[], p_bodies text[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE s bigint; previous bytea; link bytea; t timestamptz; who text := acting(); prefix text; BEGIN
  IF cardinality(p_refs) <> cardinality(p_bodies) THEN
    RAISE EXCEPTION '% references for % entries', cardinality(p_refs), cardinality(p_bodies) USING ERRCODE = 'LF002';
  END IF;
  prefix := concat_ws('|', octet_length(who), who, octet_length(p_kind), p_kind);
  SELECT seq, hash INTO STRICT s, previous FROM audit_head FOR UPDATE;
  FOR i IN 1 .. cardinality(p_refs) LOOP
    s := s + 1;
    t := clock_timestamp();
    link := sha256(previous || convert_to(concat_ws('|', s, (extract(epoch FROM t) * 1000000)::bigint, prefix,
      octet_length(p_refs[i]), p_refs[i], octet_length(p_bodies[i]), p_bodies[i]), 'UTF8'));
    INSERT INTO audit_log (seq, at, actor, kind, ref, body, prev_hash, hash)
      VALUES (s, t, who, p_kind, p_refs[i], p_bodies[i], previous, link);
    previous := link;
  END LOOP;
  UPDATE audit_head SET seq = s, hash = previous;
  RETURN s;
END $$;

CREATE FUNCTION may_append(p_kind text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE
  invoker text := CASE current_setting('role') WHEN 'none' THEN session_user::text ELSE current_setting('role') END;
BEGIN
  IF NOT pg_has_role(invoker, (SELECT nspowner FROM pg_namespace WHERE nspname = 'ledger'), 'MEMBER')
     AND NOT EXISTS (SELECT 1 FROM recordable r JOIN pg_roles o ON o.rolname = r.role
                     WHERE r.kind = p_kind AND pg_has_role(invoker, o.oid, 'MEMBER')) THEN
    RAISE EXCEPTION '% may not append entries of kind %', invoker, p_kind USING ERRCODE = 'LF005';
  END IF;
END $$;

CREATE OR REPLACE FUNCTION append_audit(p_kind text, p_ref text, p_body text) RETURNS bigint
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
BEGIN
  PERFORM may_append(p_kind);
  RETURN audit(p_kind, p_ref, p_body);
END $$;

-- The same for whoever may append entries of this kind by himself.
CREATE FUNCTION append_audit_many(p_kind text, p_refs text[], p_bodies text[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
BEGIN
  PERFORM may_append(p_kind);
  RETURN audit_many(p_kind, p_refs, p_bodies);
END $$;

-- ------------------------------------------------------------------ rows that stay in one page
ALTER TABLE audit_log SET (toast_tuple_target = 8160);
ALTER TABLE decision SET (toast_tuple_target = 8160);
-- Indexes that another one covers, and one on the state, which kept every change of state from being hot.
DROP INDEX ix_ledger_orders_signal_id, orders_open, orders_broker_order_id;

CREATE OR REPLACE FUNCTION place(p_epoch int, p jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE
  b book%ROWTYPE; batch record; v_strategy text := nullif(p ->> 'strategy', ''); kin orders%ROWTYPE;
  cid text := p ->> 'client_order_id'; why text; s bigint;
  v_symbol text := p ->> 'symbol'; v_side text := p ->> 'side'; v_qty numeric := (p ->> 'qty')::numeric;
  v_type text := p ->> 'order_type'; v_purpose text := p ->> 'purpose'; v_class text := coalesce(nullif(p ->> 'order_class', ''), 'simple');
  v_limit numeric := (p ->> 'limit_price')::numeric; v_stop numeric := (p ->> 'stop_price')::numeric;
  v_percent numeric := (p ->> 'trail_percent')::numeric; v_trail numeric := (p ->> 'trail_price')::numeric;
  v_worst numeric; v_root text; v_cover numeric := 0; reducing boolean;
  x record; gross numeric; name_after numeric; v_now timestamptz := clock_timestamp(); t timestamptz; cap numeric;
BEGIN
  SELECT * INTO STRICT b FROM book FOR UPDATE;               -- one decision at a time
  IF b.epoch <> p_epoch THEN
    RAISE EXCEPTION 'fenced: epoch % has been taken over by epoch %', p_epoch, b.epoch USING ERRCODE = 'LF001';
  END IF;
  -- One look at everything the decision needs, after the lock: the limits, the equity, and the worst case of
  -- this name and of all others.
  SELECT (SELECT o.decision_seq FROM orders o WHERE o.client_order_id = cid) AS placed, k.*, l.limits, l.version,
         (SELECT e.equity FROM equity_mark e ORDER BY e.id DESC LIMIT 1) AS equity, g.*
    INTO x
    FROM (SELECT coalesce(sum(worst_notional) FILTER (WHERE symbol <> v_symbol), 0) AS others,
                 coalesce(sum(position) FILTER (WHERE symbol = v_symbol), 0) AS held,
                 coalesce(sum(open_buys) FILTER (WHERE symbol = v_symbol), 0) AS buys,
                 coalesce(sum(open_sells) FILTER (WHERE symbol = v_symbol), 0) AS sells,
                 max(buy_price) FILTER (WHERE symbol = v_symbol) AS buy_price,
                 max(sell_price) FILTER (WHERE symbol = v_symbol) AS sell_price FROM exposure) g
    LEFT JOIN (SELECT limits, version FROM limit_version WHERE effective_from <= v_now ORDER BY version DESC LIMIT 1) l ON true
    LEFT JOIN order_terms k ON k.order_type = v_type;
  IF x.placed IS NOT NULL THEN RETURN jsonb_build_object('ok', true, 'reason', 'already placed', 'seq', x.placed); END IF;
  -- Anywhere but in a replay the database's own clock decides, whatever the caller says.
  t := CASE WHEN b.environment = 'replay' THEN (p ->> 'market_time')::timestamptz ELSE clock_timestamp() END;

  -- What the order may cost: its limit, or the collar its maker put around it.
  v_worst := greatest((p ->> 'worst_price')::numeric, v_limit, v_stop);
  IF x.order_type IS NULL OR x.takes_limit <> (v_limit IS NOT NULL) OR x.takes_stop <> (v_stop IS NOT NULL)
     OR x.takes_trail <> ((v_percent IS NULL) <> (v_trail IS NULL)) OR (v_percent IS NOT NULL AND v_trail IS NOT NULL) THEN
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

  reducing := CASE WHEN v_root IS NOT NULL THEN only_reduces(v_symbol, v_side, v_qty, v_root, v_cover)
                   WHEN v_side = 'sell' THEN v_qty + x.sells <= x.held ELSE v_qty + x.buys <= -x.held END;
  IF why IS NULL AND (b.killed OR b.mode NOT IN ('READY', 'REDUCING')) THEN why := mode_refusal(b.mode, b.killed, reducing); END IF;
  IF why IS NULL AND v_purpose <> 'target' AND NOT reducing THEN why := format('a %s order must reduce', v_purpose); END IF;
  IF why IS NULL AND v_purpose = 'target' THEN
    SELECT sb.*, EXISTS (SELECT 1 FROM approval a LEFT JOIN approver_key k ON k.key_id = a.key_id
                         WHERE a.batch_id = sb.id AND a.verdict = 'approved' AND a.content_hash = sb.content_hash
                           AND k.revoked_at IS NULL AND (b.environment <> 'live' OR a.signature IS NOT NULL)) AS approved
      INTO batch FROM signal g JOIN signal_batch sb ON sb.id = g.batch_id
      WHERE g.id = (p ->> 'signal_id')::uuid AND g.symbol = v_symbol;
    IF NOT FOUND THEN why := 'no such signal for ' || v_symbol;
    ELSIF batch.state <> 'CLAIMED' THEN why := 'batch is ' || batch.state || ', not CLAIMED';
    ELSIF NOT batch.approved THEN why := 'batch is not approved';
    ELSIF batch.environment <> b.environment THEN why := 'batch is for environment ' || batch.environment;
    ELSIF t < batch.valid_from OR t >= batch.valid_until THEN
      why := format('batch is valid from %s to %s, market time is %s', batch.valid_from, batch.valid_until, t);
    ELSIF v_strategy <> batch.strategy THEN
      why := format('the signal is of strategy %s, not %s', batch.strategy, p ->> 'strategy');
    END IF;
    v_strategy := coalesce(v_strategy, batch.strategy);
  END IF;

  IF why IS NULL AND NOT reducing THEN
    cap := coalesce((x.limits ->> 'order_notional_usd')::numeric, limit_of(x.limits, 'order_notional_usd'));
    IF (p ->> 'limit_version')::int IS DISTINCT FROM x.version THEN
      why := format('limits changed: decided under version %s, version %s is in force', p ->> 'limit_version', x.version);
    ELSIF v_qty * v_worst > cap THEN
      why := format('order notional %s over %s', v_qty * v_worst, cap);
    ELSE
      IF x.equity IS NULL OR x.equity <= 0 THEN why := 'equity is unknown';
      ELSE
        -- Exactly what the view will say once this order is reserved: no order leaves it above a cap.
        IF v_side = 'buy' THEN
          name_after := greatest(abs(x.held + x.buys + v_qty) * greatest(v_worst, x.buy_price), abs(x.held - x.sells) * x.sell_price);
        ELSE
          name_after := greatest(abs(x.held - x.sells - v_qty) * greatest(v_worst, x.sell_price), abs(x.held + x.buys) * x.buy_price);
        END IF;
        gross := x.others + name_after;
        cap := coalesce((x.limits ->> 'gross')::numeric, limit_of(x.limits, 'gross')) * x.equity;
        IF gross > cap THEN why := format('worst-case gross %s over %s', gross, cap);
        ELSIF gross > (x.limits ->> 'capital_usd')::numeric THEN
          why := format('worst-case gross %s over the capital of this stage, %s', gross, x.limits ->> 'capital_usd');
        ELSE
          cap := coalesce((x.limits ->> 'single_name')::numeric, limit_of(x.limits, 'single_name')) * x.equity;
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
      p ->> 'replaces_client_order_id', v_worst, coalesce(v_strategy, ''));
  RETURN jsonb_build_object('ok', true, 'reason', '', 'seq', s);
END $$;


-- ------------------------------------------------------------------ guards that are called only where they may refuse
DROP TRIGGER reservation ON orders;
CREATE TRIGGER reserve AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION track_reservation();
CREATE TRIGGER release AFTER UPDATE ON orders FOR EACH ROW
  WHEN (NEW.filled_qty <> OLD.filled_qty OR NEW.state IN ('DONE', 'REJECTED', 'VOID', 'EXPIRED_UNSENT') AND NEW.state <> OLD.state)
  EXECUTE FUNCTION track_reservation();
