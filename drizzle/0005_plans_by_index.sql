-- A connection keeps its plan of these functions while the tables grow. One that was made while they were small may go through
-- all orders or products, for each batch or even for each of its rows. So no plan does here: outer joins begin with the batch, rows are
-- looked up by index, and the products of a batch are an array.
CREATE OR REPLACE FUNCTION commit_inserted_items() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
	ids bigint[] := ARRAY(SELECT DISTINCT product_id FROM inserted);
	locked integer;
BEGIN
	PERFORM 1 FROM products WHERE id = ANY (ids) ORDER BY id FOR NO KEY UPDATE;
	GET DIAGNOSTICS locked = ROW_COUNT;
	IF locked < cardinality(ids) OR EXISTS (
		SELECT FROM inserted LEFT JOIN orders ON orders.id = inserted.order_id WHERE orders.id IS NULL
	) THEN
		RAISE EXCEPTION 'an item has no order or no product' USING ERRCODE = 'foreign_key_violation';
	END IF;
	UPDATE products SET committed = committed + change.qty
	FROM (
		SELECT inserted.product_id, sum(inserted.qty) FILTER (WHERE orders.order_status <> 'cancelled') AS qty
		FROM inserted LEFT JOIN orders ON orders.id = inserted.order_id
		GROUP BY inserted.product_id
	) AS change
	WHERE products.id = change.product_id AND products.id = ANY (ids) AND change.qty > 0;
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE OR REPLACE FUNCTION commit_updated_orders() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
	-- Orders that were cancelled in this statement, or are not any more.
	changed text[] := ARRAY(
		SELECT id FROM (SELECT id, order_status FROM before UNION ALL SELECT id, order_status FROM after) AS seen
		GROUP BY id HAVING bool_or(order_status = 'cancelled') AND bool_or(order_status <> 'cancelled')
	);
	ids bigint[];
BEGIN
	IF changed = '{}' THEN
		RETURN NULL;
	END IF;
	ids := ARRAY(SELECT DISTINCT product_id FROM order_items WHERE order_id = ANY (changed));
	PERFORM 1 FROM products WHERE id = ANY (ids) ORDER BY id FOR NO KEY UPDATE;
	UPDATE products SET committed = committed + change.qty
	FROM (
		SELECT order_items.product_id,
			sum(CASE WHEN orders.order_status = 'cancelled' THEN -order_items.qty ELSE order_items.qty END) AS qty
		FROM order_items LEFT JOIN orders ON orders.id = order_items.order_id
		WHERE order_items.order_id = ANY (changed)
		GROUP BY order_items.product_id
	) AS change
	WHERE products.id = change.product_id AND products.id = ANY (ids);
	RETURN NULL;
END $$;
