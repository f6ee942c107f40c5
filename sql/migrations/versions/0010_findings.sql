-- Findings of the validation as rows, a person's word on one of them, and what may only be reduced.
SET LOCAL search_path = ledger, pg_catalog;

CREATE TABLE finding (
  run_id uuid NOT NULL REFERENCES validation_run (id),
  place int NOT NULL,                             -- worst first
  key varchar(16) NOT NULL,                       -- names what is seen: fault, symbol, range and number
  fault varchar NOT NULL,
  severity varchar NOT NULL CONSTRAINT severity CHECK (severity IN ('block', 'quarantine', 'note')),
  symbol varchar(16),                             -- null: the whole delivery
  first_session date, last_session date,
  value double precision, confidence double precision NOT NULL CHECK (confidence BETWEEN 0 AND 1),
  action varchar NOT NULL, detail varchar NOT NULL, evidence jsonb NOT NULL DEFAULT '{}',
  overruled varchar NOT NULL DEFAULT '',          -- who and why, if a person's word made it a note in this run
  PRIMARY KEY (run_id, place));
CREATE INDEX ON finding (key);

-- A person's word on a finding; the newest row of a key stands.
CREATE TABLE finding_overrule (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL,
  key varchar(16) NOT NULL,
  standing boolean NOT NULL,                      -- false: withdrawn
  person varchar NOT NULL CHECK (length(btrim(person)) > 0),
  reason varchar NOT NULL CONSTRAINT reason_given CHECK (length(btrim(reason)) > 0),
  seen jsonb NOT NULL);                           -- the finding as it was when the person looked
CREATE INDEX ON finding_overrule (key, id);

DO $$ DECLARE t text; BEGIN
  FOREACH t IN ARRAY ARRAY['finding', 'finding_overrule'] LOOP
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION refuse_change()', t);
    EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', t);
  END LOOP;
END $$;

CREATE VIEW v_overrules AS
  SELECT key, at, person, reason, seen FROM (
    SELECT DISTINCT ON (key) key, at, person, reason, seen, standing FROM finding_overrule ORDER BY key, id DESC) newest
  WHERE standing;

-- Symbols a person or the executor may sell out of and not buy into: in quarantine by the newest validation, but for
-- what was overruled since. One row a symbol.
CREATE VIEW v_reduce_only AS
  SELECT f.symbol, r.as_of, r.id AS run_id, count(*)::int AS findings,
         (array_agg(f.fault ORDER BY f.place))[1] AS fault, (array_agg(f.detail ORDER BY f.place))[1] AS detail
  FROM (SELECT id, as_of FROM validation_run WHERE suite = 'prices' ORDER BY as_of DESC, finished_at DESC LIMIT 1) r
  JOIN finding f ON f.run_id = r.id
  WHERE f.symbol IS NOT NULL AND f.severity <> 'note' AND NOT EXISTS (SELECT 1 FROM v_overrules o WHERE o.key = f.key)
  GROUP BY f.symbol, r.as_of, r.id;

CREATE FUNCTION overrule_finding(p_key text, p_person text, p_reason text, p_standing boolean) RETURNS bigint
LANGUAGE plpgsql SET search_path = ledger, pg_catalog, pg_temp AS $$
DECLARE
  seen finding%ROWTYPE; stands boolean; entry jsonb;
BEGIN
  SELECT f.* INTO seen FROM finding f JOIN validation_run r ON r.id = f.run_id
    WHERE f.key = p_key ORDER BY r.as_of DESC, r.finished_at DESC LIMIT 1;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no finding % in the ledger; list them with: sallyport data findings', p_key USING ERRCODE = 'LF002';
  END IF;
  IF length(btrim(coalesce(p_person, ''))) = 0 OR length(btrim(coalesce(p_reason, ''))) = 0 THEN
    RAISE EXCEPTION 'finding %: a person and a reason are needed', p_key USING ERRCODE = 'LF002';
  END IF;
  SELECT EXISTS (SELECT 1 FROM v_overrules o WHERE o.key = p_key) INTO stands;
  IF stands = p_standing THEN
    RAISE EXCEPTION 'finding % is %', p_key, CASE WHEN stands THEN 'overruled already' ELSE 'not overruled' END USING ERRCODE = 'LF002';
  END IF;
  entry := jsonb_build_object('key', p_key, 'standing', p_standing, 'person', p_person, 'reason', p_reason,
    'fault', seen.fault, 'severity', seen.severity, 'symbol', seen.symbol, 'first', seen.first_session,
    'last', seen.last_session, 'value', seen.value, 'detail', seen.detail, 'run', seen.run_id);
  INSERT INTO finding_overrule (at, key, standing, person, reason, seen)
    VALUES (clock_timestamp(), p_key, p_standing, p_person, p_reason, entry);
  RETURN audit(CASE WHEN p_standing THEN 'OVERRULE' ELSE 'OVERRULE_WITHDRAWN' END, p_key, entry::text);
END $$;
