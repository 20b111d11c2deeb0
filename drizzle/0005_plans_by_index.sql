-- A connection keeps its plan of these functions while the tables grow. One that reads a whole table is the cheapest as long as
-- the table is small, and costs each batch more with every order there is: so these look up rows by index from the start.
ALTER FUNCTION commit_inserted_items() SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off;
--> statement-breakpoint
ALTER FUNCTION commit_updated_orders() SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off;
