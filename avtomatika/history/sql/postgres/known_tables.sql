-- What an unqualified name would mean: tables that another schema of the search path hides do not count.
SELECT relname
FROM pg_catalog.pg_class
WHERE relname IN ('history_schema', 'job_history', 'worker_history') AND pg_catalog.pg_table_is_visible(oid)
ORDER BY relname
