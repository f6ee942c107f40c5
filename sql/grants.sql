-- Roles with least privilege; idempotent, applied after every migration and every restore.
-- The roles cannot log in: an administrator gives people and processes logins that are members.

DO $$ DECLARE r text; BEGIN
  FOREACH r IN ARRAY ARRAY['owner', 'executor', 'flow_writer', 'approver', 'risk_admin', 'sentinel', 'auditor'] LOOP
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN', 'sallyport_' || r);
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;   -- roles belong to the cluster: another ledger made it
    END;
    IF NOT pg_has_role(current_user, 'sallyport_' || r, 'MEMBER') THEN
      EXECUTE format('GRANT %I TO CURRENT_USER', 'sallyport_' || r);
    END IF;
  END LOOP;
END $$;

-- Everything belongs to a role that nobody logs in as.
GRANT USAGE, CREATE ON SCHEMA ledger TO sallyport_owner;
DO $$ DECLARE r record; BEGIN
  IF EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'ledger' AND pg_get_userbyid(nspowner) <> 'sallyport_owner') THEN
    EXECUTE format('GRANT CREATE ON DATABASE %I TO sallyport_owner', current_database());
    ALTER SCHEMA ledger OWNER TO sallyport_owner;
  END IF;
  FOR r IN SELECT c.oid::regclass AS name, c.relkind AS kind FROM pg_class c
           WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
             AND pg_get_userbyid(c.relowner) <> 'sallyport_owner'
             AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('a', 'i') AND c.relkind = 'S') LOOP
    EXECUTE format('ALTER %s %s OWNER TO sallyport_owner',
                   CASE r.kind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, r.name);
  END LOOP;
  FOR r IN SELECT p.oid::regprocedure AS name FROM pg_proc p WHERE p.pronamespace = 'ledger'::regnamespace
           AND pg_get_userbyid(p.proowner) <> 'sallyport_owner' LOOP
    EXECUTE format('ALTER FUNCTION %s OWNER TO sallyport_owner', r.name);
  END LOOP;
END $$;

GRANT USAGE ON SCHEMA ledger TO sallyport_executor, sallyport_flow_writer, sallyport_approver, sallyport_risk_admin,
  sallyport_sentinel, sallyport_auditor;
GRANT SELECT ON ALL TABLES IN SCHEMA ledger TO sallyport_executor, sallyport_flow_writer, sallyport_approver,
  sallyport_risk_admin, sallyport_sentinel, sallyport_auditor;
GRANT EXECUTE ON FUNCTION ledger.raise_alert(text, text, text, text, text) TO sallyport_executor, sallyport_flow_writer,
  sallyport_approver, sallyport_risk_admin, sallyport_sentinel, sallyport_auditor;
GRANT EXECUTE ON FUNCTION ledger.record_anchor(bigint, bytea, text, text, text) TO sallyport_executor, sallyport_auditor,
  sallyport_risk_admin, sallyport_sentinel;

GRANT EXECUTE ON FUNCTION
  ledger.take_over(text, text), ledger.heartbeat(int, timestamptz, int), ledger.tighten(int, text, text),
  ledger.kill(text, text, boolean), ledger.claim_batch(int, timestamptz), ledger.finish_batch(int, uuid, text),
  ledger.place(int, jsonb), ledger.record_leg(int, jsonb), ledger.refuse(int, jsonb, text), ledger.set_state(int, text, text, text, text, text),
  ledger.record_fill(int, text, text, numeric, numeric, timestamptz, text, text),
  ledger.reverse_fill(int, text, text, text), ledger.correct_fill(int, text, text, numeric, numeric, text), ledger.keep_raw(text),
 
  ledger.record_cash(int, text, text, numeric, text),
  ledger.record_corporate_action(int, text, text, numeric, numeric, text), ledger.open_book(int, numeric, jsonb),
  ledger.mark_equity(int, jsonb), ledger.record_reconciliation(int, jsonb),
  ledger.record_raw(text, text, text[], bytea, text, int, jsonb, text, timestamptz, uuid), ledger.record_clock_sample(text, numeric, numeric),
  ledger.record_release(text, text, text, jsonb)
  TO sallyport_executor;

GRANT INSERT ON ledger.data_set, ledger.validation_run, ledger.model_version, ledger.risk_snapshot,
  ledger.signal_batch, ledger.signal, ledger.finding TO sallyport_flow_writer;
GRANT INSERT, UPDATE ON ledger.instrument TO sallyport_flow_writer;
GRANT UPDATE (metrics, walk_forward_path) ON ledger.model_version TO sallyport_flow_writer;
GRANT UPDATE (delivered_at, attempts, last_error) ON ledger.alert TO sallyport_flow_writer;
GRANT EXECUTE ON FUNCTION ledger.append_audit(text, text, text), ledger.append_audit_many(text, text[], text[]) TO sallyport_flow_writer, sallyport_approver;

GRANT INSERT ON ledger.approval TO sallyport_approver;
GRANT EXECUTE ON FUNCTION ledger.overrule_finding(text, text, text, boolean) TO sallyport_approver;
GRANT UPDATE (state) ON ledger.signal_batch TO sallyport_approver;

GRANT EXECUTE ON FUNCTION ledger.kill(text, text, boolean) TO sallyport_risk_admin, sallyport_sentinel;
GRANT EXECUTE ON FUNCTION ledger.rearm(text, text), ledger.set_limits(text, text, jsonb),
  ledger.propose_limits(text, text, jsonb), ledger.confirm_limits(uuid, text, text),
  ledger.register_approver(text, text, text), ledger.revoke_approver(text, text, text),
  ledger.record_adjustment(text, text, numeric), ledger.record_drill(text, text, boolean, jsonb),
  ledger.set_retention(text, int), ledger.raw_to_drop(int), ledger.keep_raw(text)
  TO sallyport_risk_admin;
GRANT EXECUTE ON FUNCTION ledger.verify_chain(), ledger.audit_hash(bigint, timestamptz, text, text, text, text, bytea)
  TO sallyport_auditor;
