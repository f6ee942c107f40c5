-- The second door again: the same rules as in 0002, with one look at the book, the limits and the exposure.
SET LOCAL search_path = ledger, pg_catalog;

-- A limit out of a version's JSON; a missing one refuses every order.
CREATE FUNCTION limit_of(p_limits jsonb, p_name text) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE SET search_path = ledger, pg_catalog, pg_temp AS $$
BEGIN
  IF p_limits ->> p_name IS NULL THEN
    RAISE EXCEPTION 'limit % is not set: no order can be placed', p_name USING ERRCODE = 'LF002';
  END IF;
  RETURN (p_limits ->> p_name)::numeric;
END $$;

CREATE OR REPLACE FUNCTION place(p_epoch int, p jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE
  b book%ROWTYPE; batch signal_batch%ROWTYPE; cid text := p ->> 'client_order_id'; why text; s bigint;
  v_symbol text := p ->> 'symbol'; v_side text := p ->> 'side'; v_qty numeric := (p ->> 'qty')::numeric;
  v_limit numeric := (p ->> 'limit_price')::numeric; held numeric; same_side numeric; reducing boolean;
  v_equity numeric; gross numeric; name_after numeric; v_now timestamptz := clock_timestamp(); t timestamptz;
  lim jsonb; cap numeric;
BEGIN
  SELECT * INTO STRICT b FROM book FOR UPDATE;               -- one decision at a time
  IF b.epoch <> p_epoch THEN
    RAISE EXCEPTION 'fenced: epoch % has been taken over by epoch %', p_epoch, b.epoch USING ERRCODE = 'LF001';
  END IF;
  SELECT decision_seq INTO s FROM orders WHERE client_order_id = cid;
  IF FOUND THEN RETURN jsonb_build_object('ok', true, 'reason', 'already placed', 'seq', s); END IF;
  -- Anywhere but in a replay the database's own clock decides, whatever the caller says.
  t := CASE WHEN b.environment = 'replay' THEN (p ->> 'market_time')::timestamptz ELSE clock_timestamp() END;

  SELECT coalesce((SELECT qty FROM position WHERE symbol = v_symbol), 0),
         coalesce((SELECT sum(qty) FROM reservation WHERE symbol = v_symbol AND side = v_side AND released_at IS NULL), 0)
    INTO held, same_side;
  reducing := CASE v_side WHEN 'sell' THEN held > 0 AND v_qty + same_side <= held
                          ELSE held < 0 AND v_qty + same_side <= -held END;

  IF b.killed AND NOT (b.mode = 'FLATTENING' AND reducing) THEN why := 'killed';
  ELSIF b.mode = 'HALTED' THEN why := 'mode HALTED';
  ELSIF b.mode IN ('CLOSE_ONLY', 'FLATTENING') AND NOT reducing THEN why := 'mode ' || b.mode || ' takes only reducing orders';
  END IF;

  IF why IS NULL AND (p ->> 'purpose') = 'flatten' AND NOT reducing THEN why := 'a flatten order must reduce'; END IF;
  IF why IS NULL AND (p ->> 'purpose') IS DISTINCT FROM 'flatten' THEN
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
    END IF;
  END IF;

  IF why IS NULL AND NOT reducing THEN
    SELECT limits INTO lim FROM limit_version WHERE effective_from <= v_now ORDER BY version DESC LIMIT 1;
    cap := limit_of(lim, 'order_notional_usd');
    IF v_qty * v_limit > cap THEN
      why := format('order notional %s over %s', v_qty * v_limit, cap);
    ELSE
      SELECT e.equity INTO v_equity FROM equity_mark e ORDER BY id DESC LIMIT 1;
      IF v_equity IS NULL OR v_equity <= 0 THEN why := 'equity is unknown';
      ELSE
        -- Exactly what the view will say once this order is reserved: no order leaves it above a cap.
        SELECT coalesce(sum(worst_notional) FILTER (WHERE symbol <> v_symbol), 0),
               greatest(abs(coalesce(sum(position + open_buys) FILTER (WHERE symbol = v_symbol), 0)
                            + CASE v_side WHEN 'buy' THEN v_qty ELSE 0 END),
                        abs(coalesce(sum(position - open_sells) FILTER (WHERE symbol = v_symbol), 0)
                            - CASE v_side WHEN 'sell' THEN v_qty ELSE 0 END))
               * greatest(v_limit, max(price) FILTER (WHERE symbol = v_symbol))
          INTO gross, name_after FROM exposure;
        gross := gross + name_after;
        cap := limit_of(lim, 'gross') * v_equity;
        IF gross > cap THEN
          why := format('worst-case gross %s over %s', gross, cap);
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
      cost_estimate, created_at, updated_at, market_time)
    VALUES (cid, (p ->> 'signal_id')::uuid, (p ->> 'leg')::int, (p ->> 'batch_id')::uuid, p ->> 'purpose', s,
      p_epoch, v_symbol, v_side, v_qty, p ->> 'order_type', v_limit, p ->> 'time_in_force', 'INTENT', 0, 0, '',
      (p ->> 'arrival_price')::numeric, p -> 'cost_estimate', v_now, v_now, (p ->> 'market_time')::timestamptz);
  RETURN jsonb_build_object('ok', true, 'reason', '', 'seq', s);
END $$;
