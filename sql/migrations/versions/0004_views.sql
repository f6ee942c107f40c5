-- Read views for people and outside tools. Their columns are a promise: they may gain columns at the
-- end, never lose, rename or reorder one (docs/ledger.md describes each).
SET LOCAL search_path = ledger, pg_catalog;

CREATE VIEW v_orders AS
  SELECT o.client_order_id, o.signal_id, o.batch_id, o.leg, o.purpose, o.epoch, o.symbol, o.side, o.qty,
         o.order_type, o.limit_price, o.time_in_force, o.state, o.filled_qty,
         CASE WHEN o.filled_qty > 0 THEN round(o.filled_notional / o.filled_qty, 6) END AS average_fill_price,
         o.broker_order_id, o.broker_status, o.reason, o.arrival_price,
         (o.cost_estimate ->> 'total')::numeric AS expected_cost_usd, o.decision_seq, o.created_at, o.updated_at,
         o.market_time, (o.state NOT IN ('DONE', 'REJECTED', 'VOID', 'EXPIRED_UNSENT')) AS is_open,
         coalesce(r.qty * r.price, 0) * (r.released_at IS NULL)::int AS reserved_usd
  FROM orders o LEFT JOIN reservation r USING (client_order_id);

CREATE VIEW v_fills AS
  SELECT f.execution_id, f.client_order_id, f.symbol, f.side, f.qty, f.price, f.qty * f.price AS notional_usd,
         f.filled_at, f.booked_at, f.source, o.signal_id, o.batch_id, o.arrival_price,
         CASE f.side WHEN 'buy' THEN 1 ELSE -1 END * (f.price - o.arrival_price) * f.qty AS shortfall_usd
  FROM fill f JOIN orders o USING (client_order_id);

CREATE VIEW v_positions AS
  SELECT p.symbol, p.qty, p.average_price, p.mark_price, p.qty * coalesce(p.mark_price, p.average_price) AS value_usd,
         p.qty * (coalesce(p.mark_price, p.average_price) - p.average_price) AS unrealised_usd,
         p.realised_pnl AS realised_average_usd,
         coalesce((SELECT sum(c.pnl) FROM lot_close c JOIN lot l ON l.id = c.lot_id WHERE l.symbol = p.symbol), 0)
           AS realised_fifo_usd,
         (SELECT count(*) FROM lot l WHERE l.symbol = p.symbol AND l.remaining <> 0) AS open_lots, p.updated_at
  FROM position p;

CREATE VIEW v_cash AS
  SELECT txn, at, amount AS amount_usd, sum(amount) OVER (ORDER BY at, txn, line) AS balance_usd, memo,
         (SELECT string_agg(DISTINCT q.account, ', ') FROM posting q WHERE q.txn = p.txn AND q.account <> 'cash') AS against
  FROM posting p WHERE account = 'cash' AND asset = 'USD';

CREATE VIEW v_equity AS
  SELECT id, at, market_time, session, cash, long_value, short_value, equity, day_open_equity, high_water_mark,
         equity / nullif(day_open_equity, 0) - 1 AS day_return, 1 - equity / nullif(high_water_mark, 0) AS drawdown,
         value_at_risk, expected_shortfall
  FROM equity_mark;

CREATE VIEW v_decisions AS
  SELECT d.seq, d.at, d.market_time, d.epoch, d.batch_id, d.signal_id, d.client_order_id, d.symbol, d.verdict, d.reason,
         d.limit_version, d.inputs, d.checks -> 'limits' AS limits, a.approver, a.decided_at AS approved_at,
         a.signature IS NOT NULL AS approval_signed, b.model_version_id, b.data_set_id, b.risk_snapshot_id
  FROM decision d LEFT JOIN signal_batch b ON b.id = d.batch_id LEFT JOIN approval a ON a.batch_id = d.batch_id;

CREATE VIEW v_audit AS
  SELECT seq, at, actor, kind, ref, body, encode(prev_hash, 'hex') AS prev_hash, encode(hash, 'hex') AS hash FROM audit_log;

CREATE VIEW v_mode AS
  SELECT environment, account, epoch, holder, mode, mode_reason, mode_since, killed, flatten, heartbeat_at,
         market_time, feed_age_ms, extract(epoch FROM clock_timestamp() - heartbeat_at) AS silent_s,
         (SELECT max(version) FROM limit_version) AS limit_version, (SELECT seq FROM audit_head) AS audit_seq,
         (SELECT ledger_id FROM identity) AS ledger_id
  FROM book;

CREATE VIEW v_signals AS
  SELECT g.id AS signal_id, g.batch_id, b.strategy, b.session, b.as_of, g.symbol, g.target_weight, g.score,
         g.contributions, b.state AS batch_state, b.proposer, b.proposed_at, b.valid_from, b.valid_until,
         a.verdict, a.approver, a.decided_at, b.model_version_id, b.data_set_id, b.validation_run_id,
         b.risk_snapshot_id, b.content_hash, a.key_id, a.signature
  FROM signal g JOIN signal_batch b ON b.id = g.batch_id LEFT JOIN approval a ON a.batch_id = b.id;

CREATE VIEW v_limits AS
  SELECT v.version, v.effective_from, v.author, v.reason, l.key AS name, l.value::numeric AS value, d.tighter,
         v.version = (SELECT max(version) FROM limit_version WHERE effective_from <= clock_timestamp()) AS in_force
  FROM limit_version v CROSS JOIN LATERAL jsonb_each_text(v.limits) l LEFT JOIN limit_direction d ON d.name = l.key;

CREATE VIEW v_exposure AS
  SELECT x.symbol, x.position, x.open_buys, x.open_sells, x.price, x.worst_notional AS worst_usd,
         m.equity, x.worst_notional / nullif(m.equity, 0) AS worst_weight,
         (SELECT value FROM v_limits WHERE in_force AND name = 'single_name') AS single_name_limit,
         sum(x.worst_notional) OVER () / nullif(m.equity, 0) AS gross_weight,
         (SELECT value FROM v_limits WHERE in_force AND name = 'gross') AS gross_limit
  FROM exposure x LEFT JOIN LATERAL (SELECT equity FROM equity_mark ORDER BY id DESC LIMIT 1) m ON true;

CREATE VIEW v_breaks AS
  SELECT k.id, k.run_id, r.at, r.market_time, r.occasion, k.kind, k.ref, k.ledger_value, k.broker_value, k.explanation,
         r.id = (SELECT id FROM reconciliation_run ORDER BY at DESC LIMIT 1) AS is_open
  FROM reconciliation_break k JOIN reconciliation_run r ON r.id = k.run_id;
