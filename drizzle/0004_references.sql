-- An item without its order or its product is refused as by a foreign key, but once a statement: a foreign key asks once a row.
CREATE OR REPLACE FUNCTION commit_inserted_items() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM 1 FROM products WHERE id IN (SELECT product_id FROM inserted) ORDER BY id FOR NO KEY UPDATE;
	IF EXISTS (
		SELECT FROM inserted LEFT JOIN orders ON orders.id = inserted.order_id LEFT JOIN products ON products.id = inserted.product_id
		WHERE orders.id IS NULL OR products.id IS NULL
	) THEN
		RAISE EXCEPTION 'an item has no order or no product' USING ERRCODE = 'foreign_key_violation';
	END IF;
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
CREATE FUNCTION keep_what_has_items() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (
		SELECT FROM gone JOIN order_items
		ON (TG_TABLE_NAME = 'orders' AND order_items.order_id = gone.id::text)
		OR (TG_TABLE_NAME = 'products' AND order_items.product_id::text = gone.id::text)
	) THEN
		RAISE EXCEPTION '% of order items can not be deleted', TG_TABLE_NAME USING ERRCODE = 'foreign_key_violation';
	END IF;
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER orders_keep AFTER DELETE ON orders
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION keep_what_has_items();
--> statement-breakpoint
CREATE TRIGGER products_keep AFTER DELETE ON products
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION keep_what_has_items();
