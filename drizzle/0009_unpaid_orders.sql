DROP INDEX "orders_unpaid";--> statement-breakpoint
CREATE INDEX "orders_unpaid" ON "orders" USING btree ("shard","id") WHERE "orders"."order_status" = 'pre-payment';--> statement-breakpoint
-- An order that was paid before its product moved must not seem to have been paid after the other shard was rebuilt.
UPDATE "shards" SET "epoch" = (SELECT max("epoch") FROM "shards") WHERE "shard" IN (SELECT "to_shard" FROM "product_moves");
