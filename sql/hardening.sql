-- What any owner of the ledger can close, roles or not; idempotent, applied before the grants.
-- Definer's rights with a pinned path; pg_temp last, or a caller's temporary table would shadow ours.
DO $$ DECLARE r record; BEGIN
  FOR r IN SELECT p.oid::regprocedure AS name FROM pg_proc p WHERE p.pronamespace = 'ledger'::regnamespace LOOP
    EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET search_path = ledger, pg_catalog, pg_temp', r.name);
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', r.name);
  END LOOP;
END $$;
REVOKE ALL ON SCHEMA ledger FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA ledger FROM PUBLIC;
