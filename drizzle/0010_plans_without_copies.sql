-- While there is one order, a plan that reads all orders once for a batch and goes through that copy for each of its rows costs no more
-- than a look at the index. A connection would keep it while the orders grow by the thousand.
ALTER FUNCTION commit_inserted_items() SET enable_material = off;
--> statement-breakpoint
ALTER FUNCTION commit_updated_orders() SET enable_material = off;
