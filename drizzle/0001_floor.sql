-- The floor of last resort: products.committed is the number of units in orders that are not cancelled, and the check
-- products_floor keeps it between 0 and total. Statement-level triggers with transition tables, so that a batch costs
-- one update a product; product rows are locked in the order of their ids, so that batches can not deadlock.
CREATE FUNCTION commit_inserted_items() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM 1 FROM products WHERE id IN (SELECT product_id FROM inserted) ORDER BY id FOR NO KEY UPDATE;
	UPDATE products SET committed = committed + change.qty
	FROM (
		SELECT inserted.product_id, sum(inserted.qty) AS qty
		FROM inserted JOIN orders ON orders.id = inserted.order_id
		WHERE orders.order_status <> 'cancelled'
		GROUP BY inserted.product_id
	) AS change
	WHERE products.id = change.product_id;
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER order_items_commit AFTER INSERT ON order_items
REFERENCING NEW TABLE AS inserted
FOR EACH STATEMENT EXECUTE FUNCTION commit_inserted_items();
--> statement-breakpoint
CREATE FUNCTION commit_updated_orders() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM 1 FROM products WHERE id IN (
		SELECT order_items.product_id
		FROM before JOIN after ON after.id = before.id JOIN order_items ON order_items.order_id = after.id
		WHERE (before.order_status <> 'cancelled') <> (after.order_status <> 'cancelled')
	) ORDER BY id FOR NO KEY UPDATE;
	UPDATE products SET committed = committed + change.qty
	FROM (
		SELECT order_items.product_id,
			sum(CASE WHEN after.order_status = 'cancelled' THEN -order_items.qty ELSE order_items.qty END) AS qty
		FROM before JOIN after ON after.id = before.id JOIN order_items ON order_items.order_id = after.id
		WHERE (before.order_status <> 'cancelled') <> (after.order_status <> 'cancelled')
		GROUP BY order_items.product_id
	) AS change
	WHERE products.id = change.product_id;
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER orders_commit AFTER UPDATE ON orders
REFERENCING OLD TABLE AS before NEW TABLE AS after
FOR EACH STATEMENT EXECUTE FUNCTION commit_updated_orders();
